from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from consumer.settings import ApiSettings, PartnerCredentials
from consumer.xcover.auth import Credentials, Signer, sign

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
NOON_DATE = "Sun, 22 Nov 2026 12:00:00 GMT"
NOON_HEADER = (
    'Signature keyId="test_api_key",algorithm="hmac-sha512",signature="IbuLl2%2Bnsnc%2F%2BM%2Bj%2BRHaOgyfR9IrRL0k3wgn'
    'qtksd3uzmuzLNT7EVz%2BaBuTxsN1L9jVM64LMqmPsTWxF0Qw29w%3D%3D"'
)
"""Made with the insurer's own Python SDK, set to sign the date alone."""


def settings(**values: object) -> ApiSettings:
    return ApiSettings.model_validate({"key": "test_api_key", "secret": "test_api_secret", **values})


def headers_of(credentials: Credentials, partner: str) -> Mapping[str, str] | None:
    """What authenticates a call for the partner now."""
    signed = credentials.sign(partner)
    return None if signed is None else signed.headers


def test_the_signature_is_the_one_the_insurers_sdk_makes() -> None:
    assert sign("test_api_key", "test_api_secret", NOON_DATE) == NOON_HEADER


def test_a_call_carries_the_key_the_date_and_the_signature_of_that_date() -> None:
    assert headers_of(Credentials(settings(), lambda: NOON + 0.9), "ANY") == {
        "X-Api-Key": "test_api_key",
        "Date": NOON_DATE,
        "Authorization": NOON_HEADER,
    }


def test_a_day_and_hour_below_ten_are_zero_padded() -> None:
    headers = headers_of(Credentials(settings(), lambda: datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).timestamp()), "ANY")
    assert headers is not None
    assert headers["Date"] == "Wed, 04 Mar 2026 05:06:07 GMT"


def test_a_new_second_is_signed_afresh() -> None:
    now = NOON
    credentials = Credentials(settings(), lambda: now)
    first = headers_of(credentials, "ANY")
    now += 1
    second = headers_of(credentials, "ANY")
    now -= 1
    assert first is not None
    assert second is not None
    assert second["Date"] == "Sun, 22 Nov 2026 12:00:01 GMT"
    assert second["Authorization"] != first["Authorization"]
    assert headers_of(credentials, "ANY") == first, "a clock set back must be followed too"


def test_a_partner_with_credentials_of_its_own_signs_with_them() -> None:
    own = {"OWN": PartnerCredentials.model_validate({"key": "own_key", "secret": "own_secret"})}
    credentials = Credentials(settings(credentials=own), lambda: NOON)
    headers = headers_of(credentials, "OWN")
    assert headers is not None
    assert headers["X-Api-Key"] == "own_key"
    assert headers["Authorization"] == sign("own_key", "own_secret", NOON_DATE)
    assert headers_of(credentials, "OTHER") == headers_of(Credentials(settings(), lambda: NOON), "OTHER")


def test_a_partner_without_credentials_has_no_headers_rather_than_someone_elses() -> None:
    own = {"OWN": PartnerCredentials.model_validate({"key": "own_key", "secret": "own_secret"})}
    credentials = Credentials(settings(key=None, secret=None, credentials=own), lambda: NOON)
    assert headers_of(credentials, "OTHER") is None
    assert headers_of(credentials, "OWN") is not None


def test_without_authentication_nothing_is_signed_and_all_partners_share_one_limit() -> None:
    credentials = Credentials(settings(auth="none", key=None, secret=None), lambda: NOON)
    assert headers_of(credentials, "A") == {}
    assert credentials.credential_of("A") == credentials.credential_of("B")


def test_partners_share_a_credential_by_their_key() -> None:
    own = {
        name: PartnerCredentials.model_validate({"key": key, "secret": name})
        for name, key in [("A", "shared"), ("B", "shared"), ("C", "other"), ("D", "test_api_key")]
    }
    credentials = Credentials(settings(credentials=own), lambda: NOON)
    of = credentials.credential_of
    assert of("A") == of("B")
    assert of("A") != of("C")
    assert of("D") == of("UNLISTED"), "the default key is a key like any other"


def test_partners_without_credentials_do_not_hold_each_other_up() -> None:
    credentials = Credentials(settings(key=None, secret=None), lambda: NOON)
    assert credentials.credential_of("A") != credentials.credential_of("B")


def test_no_secret_shows_in_a_repr() -> None:
    credentials = Credentials(settings(), lambda: NOON)
    assert "test_api_secret" not in repr(vars(credentials))
    assert repr(Signer("key", "secret")) == "Signer(***)"
