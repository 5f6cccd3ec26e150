"""Where log lines go, and what they look like. They carry request ids, sizes and times; never keys or file names, and
what was said only where LOG_TRANSCRIPTS is set."""

from __future__ import annotations

import json
import logging
import logging.config
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from app.domain.errors import ConfigUnusable
from app.settings import Settings

FIELDS: Final = (
    "path",
    "method",
    "status",
    "close_code",
    "model",
    "outcome",
    "audio_duration_sec",
    "duration_ms",
    "rtf",
    "key",
    "text",
)
"""What a line may have beside its message, in this order. Whatever else a library puts into its lines stays out: some
put whole connections there. docs/logs.md says what they mean."""
_ID: Final = "request_id"
_TIME: Final = logging.Formatter()
TRANSCRIPTS_LOGGED: Final = "LOG_TRANSCRIPTS=true: what is said to this server is written into its log"
_QUIET: Final[Mapping[str, str]] = {
    # httpx logs every URL it fetches, uvicorn's access log every path with its parameters: service/access.py logs those
    "httpx": "WARNING",
    "httpcore": "WARNING",  # where it is more, addresses in headers, which may be signed
    "urllib3": "WARNING",  # the same of where spans are sent
    "opentelemetry.util.re": "CRITICAL",  # it quotes headers that it cannot read, which hold credentials
    "alembic": "WARNING",  # four lines each time a database is opened
    "uvicorn.access": "WARNING",
    # it logs every part of a form as it parses it, names and values
    "python_multipart": "WARNING",
}


def configure(settings: Settings) -> None:
    """Log to standard error, and to LOG_FILE if one is set, as LOG_FORMAT says; Python's warnings, too.

    Raises:
        ConfigUnusable: LOG_FILE cannot be written.
    """
    handlers: dict[str, Any] = {"console": {"class": "logging.StreamHandler", "formatter": "line"}}
    if settings.log_file is not None:
        _check_writable(settings)
        handlers["file"] = {
            "()": _PrivateFile,
            "filename": str(settings.log_file),
            "maxBytes": settings.log_max_bytes,
            "backupCount": settings.log_backup_count,
            "encoding": "utf-8",
            "formatter": "line",
        }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "()": ProcessorFormatter,
                    "foreign_pre_chain": [merge_contextvars, ExtraAdder(FIELDS)],
                    "processors": [format_exc_info, _as_json if settings.log_format == "json" else _as_text],
                },
            },
            "handlers": handlers,
            "root": {"level": "DEBUG" if settings.debug else settings.log_level, "handlers": list(handlers)},
            "loggers": {name: {"level": level} for name, level in _QUIET.items()},
        }
    )
    logging.captureWarnings(True)


def named(request_id: str) -> AbstractContextManager[None]:
    """While the block lasts, every line logged in it says whose it is: also those of its tasks, and of threads that are
    handed its context."""
    return bound_contextvars(**{_ID: request_id})


def short(key: str) -> str:
    """A Caller's key as lines show it: enough to tell callers apart; "-" where no key is needed."""
    return key[:8] or "-"


def _check_writable(settings: Settings) -> None:
    assert settings.log_file is not None  # noqa: S101 - who calls has looked
    try:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        _open_private(settings.log_file).close()
    except (OSError, ValueError) as error:  # a name with a null character is no OSError
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigUnusable(f"LOG_FILE={settings.log_file} cannot be written: {why}") from error


class _PrivateFile(RotatingFileHandler):
    """A rotated file that nobody else may read. One that is there already keeps its mode."""

    def _open(self) -> TextIOWrapper:
        return _open_private(Path(self.baseFilename))


def _open_private(path: Path) -> TextIOWrapper:
    return open(path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600))


def _as_text(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """One line, whatever somebody had put into it to look like lines of the server's own; fields at its end.

    What follows an error, its traceback, has lines as ever, indented: an error's own text may have lines, too.
    """
    record: logging.LogRecord = event["_record"]
    head = f"{_TIME.formatTime(record)} {record.levelname:<7} {record.name}: {event['event']}"
    line = " ".join((head, *(f"{name}={_plain(event[name])}" for name in (*FIELDS, _ID) if name in event)))
    traceback = [f"  {_printable(part)}" for trace in _trace(event) for part in trace.split("\n")]
    return "\n".join([_printable(line), *traceback])


def _as_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    """One object on one line."""
    record: logging.LogRecord = event["_record"]
    said: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": event["event"],
    }
    said |= {name: event[name] for name in (_ID, *FIELDS) if name in event}
    if trace := _trace(event):
        said["exception"] = "\n".join(trace)
    text = json.dumps(said, ensure_ascii=False, default=str)
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def _trace(event: EventDict) -> list[str]:
    return [str(event[part]) for part in ("exception", "stack_info") if event.get(part)]


def _plain(value: object) -> str:
    text = str(value)
    quoted = not text or any(sign.isspace() or sign in '"=' for sign in text)
    return json.dumps(text, ensure_ascii=False) if quoted else text


def _printable(said: str) -> str:
    if said.isprintable():
        return said
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in said)
