"""A model folder in FunASR's layout: what is read from it, and what is said where it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.domain.errors import EngineFailure
from app.engines.folders import read_mapping, read_text, read_tokens


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """How sound becomes features: `stacked` frames of `mels` joined, one for every `stride`."""

    mels: int
    stacked: int
    stride: int


def read_front_end(folder: Path) -> FrontEndConfig:
    """The front end's figures from config.yaml. Raises EngineFailure."""
    config = read_mapping(folder / "config.yaml")
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


def read_vocabulary(folder: Path) -> tuple[str, ...]:
    """The tokens by id, from tokens.json, or tokens.txt (a token a line). Raises EngineFailure."""
    if (folder / "tokens.json").is_file() or not (folder / "tokens.txt").is_file():
        return read_tokens(folder / "tokens.json")
    return tuple(line.split()[0] for line in read_text(folder / "tokens.txt").splitlines() if line.strip())


def read_spellings(folder: Path) -> dict[str, tuple[str, ...]]:
    """seg_dict: a word and the tokens it is written with, a line each; empty where there is none."""
    path = folder / "seg_dict"
    if not path.is_file():
        return {}
    lines = (line.split() for line in read_text(path).splitlines())
    return {line[0]: tuple(line[1:]) for line in lines if len(line) > 1}
