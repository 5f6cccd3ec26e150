"""A CT-Transformer folder in FunASR's layout: what is read from it, and what is said where it is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from app.domain.errors import EngineFailure

CONFIG, TOKENS, WORDS = "config.yaml", "tokens.json", "jieba_usr_dict"
OFFLINE, LIVE = "CTTransformer", "CTTransformerStreaming"
"""FunASR's names of the kinds of model."""
_NO_MARK = frozenset({"_", "<unk>"})
_MARKS = {"，": "，", "。": "。", "？": "？", "、": "、", ",": "，", ".": "。", "?": "？"}
"""What punc_list may name: some configurations have the marks of ASCII, which FunASR's runtime takes for the others."""


@dataclass(frozen=True, slots=True)
class PunctuationFiles:
    """`marks` by the graph's output (some are ""), `sentence_end` among them, token ids by token."""

    marks: tuple[str, ...]
    sentence_end: str
    ids: Mapping[str, int]
    unknown: int


def read_files(folder: Path, wanted: str = OFFLINE) -> PunctuationFiles:
    """Configuration and vocabulary of a model that is of the kind `wanted`. Raises EngineFailure."""
    config = _mapping(folder / CONFIG)
    kind = config.get("model", wanted)
    if kind != wanted:
        raise EngineFailure(f"{CONFIG} describes {kind}; {wanted} is what is served.")
    conf = config.get("model_conf")
    if not isinstance(conf, dict):
        raise EngineFailure(f"{CONFIG} has no model_conf.")
    marks, end = _marks(cast("dict[str, object]", conf))
    ids = _ids(folder / TOKENS)
    tokenizer = config.get("tokenizer_conf")
    unknown = (
        cast("dict[str, object]", tokenizer).get("unk_symbol", "<unk>") if isinstance(tokenizer, dict) else "<unk>"
    )
    if unknown not in ids:
        raise EngineFailure(f"{TOKENS} has no {unknown}.")
    return PunctuationFiles(marks, end, ids, ids[str(unknown)])


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises EngineFailure, which names the file without its folder."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EngineFailure(f"{path.name} is missing.") from None
    except UnicodeDecodeError:
        raise EngineFailure(f"{path.name} is not text.") from None
    except OSError as error:
        raise EngineFailure(f"{path.name} cannot be read: {error.strerror}.") from error


def _marks(conf: dict[str, object]) -> tuple[tuple[str, ...], str]:
    said = conf.get("punc_list")
    listed = cast("list[object]", said) if isinstance(said, list) else []
    if not listed:
        raise EngineFailure(f"{CONFIG} has no punc_list.")
    strange = [mark for mark in listed if mark not in (*_NO_MARK, *_MARKS)]
    if strange:
        raise EngineFailure(f"{CONFIG}: punc_list has {strange[0]!r}, which is no mark that is known.")
    marks = tuple(_MARKS.get(str(mark), "") for mark in listed)
    end = conf.get("sentence_end_id", 3)
    if not isinstance(end, int) or not 0 <= end < len(marks) or marks[end] not in {"。", "？"}:
        raise EngineFailure(f"{CONFIG}: sentence_end_id {end} is not the place of a sentence's end in punc_list.")
    return marks, marks[end]


def _ids(path: Path) -> dict[str, int]:
    try:
        said: object = json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise EngineFailure(f"{path.name} is not JSON, or not all of it is there.") from None
    tokens = cast("list[object]", said) if isinstance(said, list) else []
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise EngineFailure(f"{path.name} is not a list of tokens.")
    ids = {str(token): number for number, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        raise EngineFailure(f"{path.name} has {len(tokens) - len(ids)} tokens more than once.")
    return ids


def _mapping(path: Path) -> dict[str, object]:
    try:
        said: Any = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError):
        raise EngineFailure(f"{path.name} is not YAML.") from None
    if not isinstance(said, dict):
        raise EngineFailure(f"{path.name} is not a mapping.")
    return cast("dict[str, object]", said)
