"""A model folder in FunASR's layout: what is read from it, and what is said where it is broken."""

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


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """How sound becomes features: `stacked` frames of `mels` joined, one for every `stride`."""

    mels: int
    stacked: int
    stride: int


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is added to and then multiplied with features: float32 of shape (stacked * mels,)."""

    shift: Floats
    scale: Floats


def read_front_end(folder: Path) -> FrontEndConfig:
    """The front end's figures from config.yaml. Raises EngineFailure."""
    config = _mapping(folder / "config.yaml")
    said: object = config.get("frontend_conf")
    if not isinstance(said, dict):
        raise EngineFailure("config.yaml has no frontend_conf.")
    conf = cast("dict[str, object]", said)
    rate, window = conf.get("fs", 16_000), conf.get("window", "hamming")
    if rate != 16_000 or window != "hamming":
        raise EngineFailure(f"config.yaml asks for {rate} Hz and a {window} window; 16000 and hamming are served.")
    figures = [conf.get(name) for name in ("n_mels", "lfr_m", "lfr_n")]
    if not all(isinstance(figure, int) and 0 < figure <= 256 for figure in figures):
        raise EngineFailure("config.yaml: frontend_conf needs n_mels, lfr_m and lfr_n.")
    mels, stacked, stride = cast("list[int]", figures)
    return FrontEndConfig(mels, stacked, stride)


def read_tokens(folder: Path) -> tuple[str, ...]:
    """The tokens by id, from tokens.json or tokens.txt (a token a line). Raises EngineFailure."""
    if (folder / "tokens.json").is_file() or not (folder / "tokens.txt").is_file():
        try:
            said: object = json.loads(_text(folder / "tokens.json"))
        except ValueError as error:
            raise EngineFailure(f"tokens.json is not JSON: {error}.") from error
        tokens = cast("list[object]", said) if isinstance(said, list) else []
    else:
        tokens = [line.split()[0] for line in _text(folder / "tokens.txt").splitlines() if line.strip()]
    if len(tokens) < 4 or not all(isinstance(token, str) and token for token in tokens):
        raise EngineFailure("tokens.json is not a list of tokens.")
    return tuple(cast("list[str]", tokens))


def read_spellings(folder: Path) -> dict[str, tuple[str, ...]]:
    """seg_dict: a word and the tokens it is written with, a line each; empty where there is none."""
    path = folder / "seg_dict"
    if not path.is_file():
        return {}
    lines = (line.split() for line in _text(path).splitlines())
    return {line[0]: tuple(line[1:]) for line in lines if len(line) > 1}


def read_normalisation(folder: Path, size: int) -> Normalisation:
    """Mean and variance normalisation from a Kaldi-style am.mvn: two bracketed rows of `size` numbers.

    Raises:
        EngineFailure: it is not there, or is something else.
    """
    rows = [row.split() for row in re.findall(r"\[([^\]]*)\]", _text(folder / "am.mvn"))]
    long = [row for row in rows if len(row) > 1]
    if len(long) != 2 or any(len(row) != size for row in long):
        raise EngineFailure(f"am.mvn does not hold two rows of {size} numbers.")
    try:
        shift, scale = (np.array(row, dtype=np.float32) for row in long)
    except ValueError as error:
        raise EngineFailure("am.mvn holds something that is not a number.") from error
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        raise EngineFailure("am.mvn holds numbers that are not finite.")
    return Normalisation(shift, scale)


def _mapping(path: Path) -> dict[str, object]:
    try:
        said: Any = yaml.load(_text(path), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both safe
    except yaml.YAMLError as error:
        raise EngineFailure(f"{path.name} is not YAML.") from error
    if not isinstance(said, dict):
        raise EngineFailure(f"{path.name} is not a mapping.")
    return cast("dict[str, object]", said)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EngineFailure(f"{path.name} is missing.") from None
    except UnicodeDecodeError:
        raise EngineFailure(f"{path.name} is not text.") from None
    except OSError as error:
        raise EngineFailure(f"{path.name} cannot be read: {error.strerror}.") from error
