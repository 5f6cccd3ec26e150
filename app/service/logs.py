"""Where log lines go. They carry request ids, sizes and times; never keys, file names or what was said."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

from app.settings import Settings


def configure(settings: Settings) -> None:
    """Log to standard error, and to LOG_FILE if one is set."""
    handlers: dict[str, Any] = {"console": {"class": "logging.StreamHandler", "formatter": "line"}}
    if settings.log_file is not None:
        settings.log_file.parent.mkdir(parents=True, exist_ok=True)
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
            "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
            "handlers": handlers,
            "root": {"level": "DEBUG" if settings.debug else settings.log_level, "handlers": list(handlers)},
            # httpx logs every URL it fetches, uvicorn's access log every path: neither helps an operator at this level
            "loggers": {
                "httpx": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},  # four lines each time a database is opened
                "uvicorn.access": {"level": "WARNING"},
                # it logs every part of a form as it parses it, names and values
                "python_multipart": {"level": "WARNING"},
            },
        }
    )
