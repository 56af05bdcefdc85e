"""What only tells those outside what is done ends nothing that is done."""

from __future__ import annotations

from types import TracebackType

import structlog

from .errors import OptOutError

log = structlog.get_logger(__name__)


class Telling:
    """`with telling:` around what makes metrics and the status page, and nothing else.

    A mistake of ours in it is said once, and what it would have told stays as it was. Errors that the program means
    (`OptOutError`) are raised. Used on one thread.
    """

    def __init__(self) -> None:
        self._failed = False

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Whether what was raised, if something was, ends here."""
        if not isinstance(error, Exception) or isinstance(error, OptOutError):
            return False
        if not self._failed:
            self._failed = True
            log.error(
                "metrics and the status page stay as they are: what the run is doing could not be told. It goes on",
                exc_info=error,
            )
        return True
