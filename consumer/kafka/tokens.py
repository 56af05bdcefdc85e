"""Tokens of AWS IAM, by which one logs in at Amazon MSK: `kafka.token = aws-msk-iam`.

A token is a URL that is signed here with the AWS credentials of the process, good for 15 minutes. Each client asks for
one when it is made, on a thread of its own, and again when most of that time has passed; after a failure it asks again
ten seconds later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec

from ..errors import SettingsError
from ..settings.load import refusal
from ..settings.model import both_names
from .refusals import UNSIGNED

_SIGNER = "aws_msk_iam_sasl_signer"


def check_token(token: str | None) -> None:
    """See that tokens can be asked for, without asking for one.

    Raises:
        SettingsError: what makes them is not installed, or the region is not known.
    """
    if token is None:
        return
    begin = f"{both_names('kafka.token')} is {token!r}:"
    if find_spec(_SIGNER) is None:
        raise refusal([f"{begin} what signs tokens is not installed; install offer-opt-out[aws]"])
    if _region() is None:
        raise refusal([f"{begin} the region of the cluster is not known; set AWS_REGION, such as eu-west-1"])


def aws_msk_iam(told: Callable[[str], None] | None = None) -> Callable[[str], tuple[str, float]]:
    """What a client asks for tokens: its `oauth_cb`.

    Args:
        told: is told in words why there is none.

    Returns:
        A function that gives a token and when it ends (seconds since 1970), and raises whatever kept it from that.
    """

    def token(_: str) -> tuple[str, float]:
        try:
            return _signed()
        except Exception as error:
            # The client keeps the cause to itself, and says only that there was an exception.
            if told is not None:
                told(f"{UNSIGNED}: {error}")
            raise

    return token


def _signed() -> tuple[str, float]:
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - an extra, and slow to import
    from botocore.session import Session  # noqa: PLC0415 - as above

    # Where there are none the signer fails by an AttributeError, which tells nobody anything.
    if Session().get_credentials() is None:
        raise SettingsError("there are no AWS credentials")
    token, ends_at_ms = MSKAuthTokenProvider.generate_auth_token(_region())
    return token, ends_at_ms / 1000


def _region() -> str | None:
    """The region, as the AWS tools find it: from the environment, else from the AWS configuration file."""
    if named := os.environ.get("AWS_REGION"):
        return named
    from botocore.session import Session  # noqa: PLC0415 - as above

    region: str | None = Session().get_config_variable("region")
    return region
