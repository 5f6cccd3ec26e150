"""A CT-Transformer folder in FunASR's layout: what is read from it, and what is said where it is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from app.domain.errors import EngineFailure
from app.engines.folders import read_mapping, read_tokens

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
    config = read_mapping(folder / CONFIG)
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
    tokens = read_tokens(path)
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        raise EngineFailure(f"{path.name} has {len(tokens) - len(ids)} tokens more than once.")
    return ids
