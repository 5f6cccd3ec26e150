"""OddASR's config.json as settings of this server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.cli.odd_keys import Config, Live
from app.cli.odd_notes import notes
from app.domain.errors import ConfigUnusable
from app.settings import Settings

NAME = "config.json"
"""What OddASR's file is called."""
_IDLE_SECONDS = (1.0, 3600.0)
"""What ODDASR_IDLE_SECONDS may be."""
_OTHER_NAMES = {"asr_threads": ("INFERENCE_THREAD_POOL_SIZE",), "debug": ("LOG_LEVEL",)}
"""Variables that say something about a setting of another name."""
_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING"}


@dataclass(frozen=True, slots=True)
class OddConfig:
    """`settings` by the names of Settings' fields; `notes` for the operator, a line each. `tls_wanted_by` is the file
    that wants everything encrypted, if it does."""

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    tls_wanted_by: Path | None = None

    def check_tls(self, settings: Settings) -> None:
        """Make sure that it is encrypted, before anything is served. Raises ConfigUnusable."""
        if self.tls_wanted_by is not None and settings.tls_cert_file is None:
            raise _hinted(
                f"{self.tls_wanted_by}: odd_asr_cfg.enable_https is true, but TLS_CERT_FILE and TLS_KEY_FILE are not "
                "set, and nothing is served without TLS",
                "set them to its ssl_cert_path and ssl_key_path, or to what `start.py certificate` makes",
            )

    def beside(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The settings that `environment` (by upper-case name) leaves to the file: it wins, by whichever name."""
        return {
            name: value
            for name, value in self.settings.items()
            if environment.keys().isdisjoint({name.upper(), *_OTHER_NAMES.get(name, ())})
        }


def asked(path: Path | None, _serving: bool = True) -> OddConfig:
    """The file that was asked for, or nothing at all. Raises ConfigUnusable."""
    return OddConfig({}) if path is None else read(path)


def defaults() -> OddConfig:
    """As OddASR does without a file."""
    return OddConfig(_settings(Config()))


def read(path: Path) -> OddConfig:
    """The file at `path`; what it leaves out is as OddASR does it.

    Raises:
        ConfigUnusable: it is not there or no JSON, or a value is not of the kind that OddASR's is.
    """
    try:
        config = Config.model_validate(_parsed(path))
    except ValidationError as error:
        raise ConfigUnusable("; ".join(f"{path}: {fault}" for fault in _faults(error))) from None
    wanted_by = path if config.odd_asr_cfg.enable_https else None
    return OddConfig(_settings(config), tuple(f"{path}: {note}" for note in notes(config)), wanted_by)


def _parsed(path: Path) -> object:
    try:
        said = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise _hinted(f"{path} is not there", "OddASR wrote one with its defaults; here nothing does") from None
    except OSError as error:
        raise ConfigUnusable(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ConfigUnusable(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ConfigUnusable(f"{path}: byte {error.start} is not UTF-8") from None
    except ValueError:  # what Python refuses to read of a number
        raise ConfigUnusable(f"{path}: a number has too many digits") from None
    except RecursionError:
        raise ConfigUnusable(f"{path} is nested too deep") from None
    if not isinstance(said, dict):
        raise ConfigUnusable(f"{path} is no JSON object")
    return said  # pyright: ignore[reportUnknownVariableType] - its keys are strings, as JSON's are


def _faults(error: ValidationError) -> Iterator[str]:
    """What is wrong where, without the values: one may be a secret."""
    for fault in error.errors(include_input=False, include_url=False):
        told = "must be an object" if fault["type"] == "model_type" else fault["msg"].removeprefix("Value error, ")
        yield f"{'.'.join(map(str, fault['loc']))}: {told}"


def _hinted(message: str, hint: str) -> ConfigUnusable:
    error = ConfigUnusable(message)
    error.add_note(hint)
    return error


def _settings(config: Config) -> dict[str, Any]:
    """What the file says. Its port for HTTP is the main one, where OddASR's routes are beside all others."""
    odd = config.odd_asr_cfg
    found: dict[str, Any] = {"host": config.host, "port": config.port, "debug": config.debug}
    if not odd.disable_stream:
        found["oddasr_ws_port"] = config.ws_port
        if config.ws_host is not None:  # whatever becomes of the file's HOST: the environment may have another
            found["oddasr_ws_host"] = config.ws_host
    if odd.enable_gpu is not None:
        found["device"] = "auto" if odd.enable_gpu else "cpu"  # there, too, no GPU is no error
    if odd.concurrent_thread:
        found["asr_threads"] = odd.concurrent_thread
    recordings = (odd.asr_file_cfg.max_instance or 0) + (odd.asr_sentence_cfg.max_instance or 0)
    return {
        **found,
        **_seconds(odd.asr_stream_cfg),
        **_at_least("max_live_streams", odd.asr_stream_cfg.max_instance or 0),
        **_at_least("max_requests", recordings),
        **_log(config),
    }


def _seconds(live: Live) -> dict[str, Any]:
    said, (least, most) = live.free_resource_timeout, _IDLE_SECONDS
    return {"oddasr_idle_seconds": min(max(said, least), most)} if said >= 0 else {}


def _at_least(name: str, wanted: int) -> dict[str, Any]:
    """A limit that so many fit in. It is never lowered: there an instance costs a model's memory, here nothing."""
    return {name: wanted} if wanted > Settings.model_fields[name].default else {}


def _log(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if config.log_file or (config.log_file is None and config.log_path is not None):
        folder = "logs" if config.log_path is None else config.log_path
        found["log_file"] = Path(folder, config.log_file or "oddasr.log")
    if (level := config.log_level) is not None:
        number = logging.getLevelNamesMapping()[level.upper()] if isinstance(level, str) else level
        found["log_level"] = next((name for most, name in _LEVELS.items() if number <= most), "ERROR")
    return found
