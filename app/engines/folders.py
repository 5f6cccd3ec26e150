"""Files of a model folder, those of FunASR's layout above all, and what is said where one is broken: always the file's
name, never where it lies."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import yaml

from app.domain.errors import EngineFailure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises EngineFailure."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EngineFailure(f"{path.name} is missing.") from None
    except UnicodeDecodeError:
        raise EngineFailure(f"{path.name} is not text.") from None
    except OSError as error:
        raise EngineFailure(f"{path.name} cannot be read: {error.strerror}.") from error


def read_mapping(path: Path) -> dict[str, object]:
    """A YAML file that holds a mapping. Raises EngineFailure."""
    try:
        # Old configurations list thousands of tokens, which the loader written in Python takes seconds for.
        said: Any = yaml.load(read_text(path), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        raise EngineFailure(f"{path.name} is not YAML.") from None
    if not isinstance(said, dict):
        raise EngineFailure(f"{path.name} is not a mapping.")
    return cast("dict[str, object]", said)


def read_object(path: Path) -> dict[str, object]:
    """A JSON object. Raises EngineFailure."""
    said = _json(path)
    if not isinstance(said, dict):
        raise EngineFailure(f"{path.name} is not a JSON object.")
    return cast("dict[str, object]", said)


def read_tokens(path: Path) -> tuple[str, ...]:
    """A JSON list of tokens, by id. Raises EngineFailure."""
    said = _json(path)
    tokens = cast("list[object]", said) if isinstance(said, list) else []
    if not tokens or not all(isinstance(token, str) and token for token in tokens):
        raise EngineFailure(f"{path.name} is not a list of tokens.")
    return tuple(cast("list[str]", tokens))


def _json(path: Path) -> object:
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise EngineFailure(f"{path.name} is not JSON, or not all of it is there.") from None


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and variance normalisation: what is added to and then multiplied with features; float32 of shape (size,)."""

    shift: Floats
    scale: Floats

    @classmethod
    def read(cls, path: Path, size: int) -> Normalisation:
        """From a Kaldi-style am.mvn: two bracketed rows of `size` numbers. Raises EngineFailure."""
        rows = [row.split() for row in re.findall(r"\[([^\]]*)\]", read_text(path))]
        long = [row for row in rows if len(row) > 1]
        if len(long) != 2 or any(len(row) != size for row in long):
            raise EngineFailure(f"{path.name} does not hold two rows of {size} numbers.")
        try:
            shift, scale = (np.array(row, dtype=np.float32) for row in long)
        except ValueError as error:
            raise EngineFailure(f"{path.name} holds something that is not a number.") from error
        if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
            raise EngineFailure(f"{path.name} holds numbers that are not finite.")
        return cls(shift, scale)

    def __call__(self, features: Floats) -> Floats:
        """Features, float32 of shape (..., size), normalised."""
        return (features + self.shift) * self.scale
