"""KEY_LIMITS_FILE: other limits for single keys, which stand in it as digests only."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app.domain.errors import ConfigUnusable

_SETTING = "KEY_LIMITS_FILE"

_Limit = Annotated[int, Field(strict=True, ge=0)]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]
_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class KeyLimits(BaseModel):
    """One key's entry: the sha256 of the key in hex, and limits that go before the settings'; 0: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    sha256: _Digest
    requests_per_minute: _Limit | None = None
    streams: _Limit | None = None
    audio_seconds_per_hour: _Limit | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[KeyLimits] = Field(default_factory=lambda: [])


def read_key_limits(path: Path) -> list[KeyLimits]:
    """The entries of a file, in order.

    Raises:
        ConfigUnusable: it cannot be read, or something in it makes no sense; everything that does not is told.
    """
    try:
        said = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigUnusable(f"{_SETTING}={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigUnusable(f"{_SETTING}={path}: byte {error.start} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:  # it says which line
        raise ConfigUnusable(f"{_SETTING}={path} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigUnusable(f"{_SETTING}={path} is nested too deep") from None
    try:
        entries = _File.model_validate(said).keys
    except ValidationError as error:
        faults = [f"{place_of(fault['loc'])}: {_told(fault['type'], fault['msg'])}" for fault in error.errors()]
        raise ConfigUnusable(f"{_SETTING}={path}: " + "; ".join(faults)) from None
    faults = [*_repeated("name", (one.name for one in entries)), *_repeated("sha256", (one.sha256 for one in entries))]
    if faults:
        raise ConfigUnusable(f"{_SETTING}={path}: " + "; ".join(faults))
    return entries


def place_of(location: Iterable[int | str]) -> str:
    """Where something stands in the file, entries counted from 1: keys[2].sha256."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")


def _told(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        known = ", ".join(KeyLimits.model_fields)
        return f"there is no such field; an entry of [[keys]] has {known}"
    if kind == "string_pattern_mismatch":
        return "64 hexadecimal digits are expected: the SHA-256 of the key, not the key"
    if kind == "missing":
        return "is missing"
    return message[:1].lower() + message[1:]


def _repeated(field: str, values: Iterable[str]) -> list[str]:
    """Complaints about values that two entries have."""
    listed = list(values)
    counts = Counter(listed)
    return [
        f"{place_of(('keys', number, field))}: an entry before it has the same"
        for number, value in enumerate(listed)
        if counts[value] > 1 and listed.index(value) < number
    ]
