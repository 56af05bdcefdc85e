"""Structured logs: one line an event on standard error, JSON for machines or coloured for a terminal.

What libraries log through the standard library goes the same way. Each warning names its entry of the runbook. Secrets
and the values of metadata never get out, whatever a caller passes: they are hidden by the name that they stand under,
and by their value (see `hiding`).
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .hiding import hide
from .printable import visible
from .runbook import name_entry
from .settings import LogSettings

HIDDEN = "***"

_SECRET = re.compile(
    r"secret|password|passwd|authorization|credential|signature|api[_-]?key|token|private", re.IGNORECASE
)
_METADATA = re.compile(r"metadata$", re.IGNORECASE)
_SIGNED = re.compile(r'(signature=")[^"]*"', re.IGNORECASE)

_UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""JSON may leave these. For some readers they end a line, move a cursor or turn the direction of writing."""

_OURS = frozenset({"level", "logger", "timestamp", "runbook"})
"""Fields that nobody but us fills."""

_TOO_CHATTY = ("httpx", "httpcore", "asyncio", "uvicorn.access")
"""Libraries that log each call at INFO or below: our own line for it says more."""


def configure_logs(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream`, by default standard error.

    To be called once, before anything is logged: loggers keep what they were made with.
    """
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_entry,
    ]
    # Tracebacks as plain text: the renderers' own ones print local variables, secrets among them.
    if settings.format == "json":
        rendering: list[Processor] = [
            structlog.processors.format_exc_info,
            hide_secrets,
            structlog.processors.JSONRenderer(_as_json, ensure_ascii=False),
        ]
    else:
        console = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        rendering = [structlog.processors.format_exc_info, hide_secrets, _show_what_is_unseen, console]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # What is below the level costs one empty method call, as each call to the API is logged at DEBUG.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _TOO_CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def hide_in_default_log() -> None:
    """For a command that sends its log nowhere else: what is printed of it has no secrets either."""
    processors = structlog.get_config()["processors"]
    structlog.configure(
        processors=[*processors[:-1], structlog.processors.format_exc_info, hide_secrets, processors[-1]]
    )


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A processor: hides each secret in use, what stands under a name of one, and the values of metadata, at any depth.

    To come last before the renderer, when exceptions are text.
    """
    return {name: value if name in _OURS else _hide(name, value) for name, value in event.items()}


def _as_json(event: EventDict, **options: Any) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(event, **options))


def _show_what_is_unseen(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For the console, whose renderer does so with the values of fields alone.

    What libraries say, and names of fields, hold words of others too. They must neither look like a line of ours nor do
    anything to a terminal. Only a traceback keeps its lines.
    """

    def shown(name: str, value: Any) -> Any:
        if name == "event":
            return _in_one_line(str(value))
        return visible(value) if name in ("exception", "stack") and isinstance(value, str) else value

    return {_in_one_line(name): shown(name, value) for name, value in event.items()}


def _in_one_line(text: str) -> str:
    return visible(text).replace("\n", "\\n")


def _hide(name: str, value: Any) -> Any:
    hidden = _SECRET.search(name) or (_METADATA.search(name) and not isinstance(value, Mapping))
    if hidden and value is not None:
        return HIDDEN
    if isinstance(value, Mapping):
        all_of_it = _METADATA.search(name)
        return {hide(str(key)): HIDDEN if all_of_it else _hide(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hide("", inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    # Whatever else it is, the renderers would show this of it.
    return _SIGNED.sub(rf'\1{HIDDEN}"', hide(value if isinstance(value, str) else repr(value)))
