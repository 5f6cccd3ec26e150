"""Where log lines go. They carry request ids, sizes and times; never keys, file names or what was said."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

from app.domain.errors import ConfigUnusable
from app.settings import Settings


class OneLine(logging.Formatter):
    """What is logged on one line, whatever somebody had put into it to look like lines of the server's own.

    What follows an error, its traceback, has lines as ever.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line, with what cannot be printed escaped."""
        return _printable(super().formatMessage(record))


def _printable(said: str) -> str:
    if said.isprintable():
        return said
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in said)


def configure(settings: Settings) -> None:
    """Log to standard error, and to LOG_FILE if one is set.

    Raises:
        ConfigUnusable: LOG_FILE cannot be written.
    """
    handlers: dict[str, Any] = {"console": {"class": "logging.StreamHandler", "formatter": "line"}}
    if settings.log_file is not None:
        try:
            settings.log_file.parent.mkdir(parents=True, exist_ok=True)
            settings.log_file.open("a").close()
        except (OSError, ValueError) as error:  # a name with a null character is no OSError
            why = (error.strerror if isinstance(error, OSError) else None) or error
            raise ConfigUnusable(f"LOG_FILE={settings.log_file} cannot be written: {why}") from error
        handlers["file"] = {
            "class": "logging.handlers.RotatingFileHandler",
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
                "line": {"()": OneLine, "fmt": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
            },
            "handlers": handlers,
            "root": {"level": "DEBUG" if settings.debug else settings.log_level, "handlers": list(handlers)},
            # httpx logs every URL it fetches, uvicorn's access log every path: neither helps an operator at this level
            "loggers": {
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},  # where it is more, addresses in headers, which may be signed
                "alembic": {"level": "WARNING"},  # four lines each time a database is opened
                "uvicorn.access": {"level": "WARNING"},
                # it logs every part of a form as it parses it, names and values
                "python_multipart": {"level": "WARNING"},
            },
        }
    )
