"""Tokens to bytes, from files in both layouts, and what is said about files that are not right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import EngineFailure
from app.engines.qwen3.vocabulary import ASR_TEXT, TIMESTAMP, Vocabulary
from engines.qwen3_tokens import ADDED, Small, small

TEXT = "Hello, 龘 and 🎉:\n naïve\u00a0café! 안녕 สวัสดี 欢迎"
"""With characters that the small vocabulary spells byte by byte."""


@pytest.fixture(scope="module")
def tokens() -> Small:
    return small()


@pytest.fixture(params=[False, True], ids=["original", "hf"])
def folder(request: pytest.FixtureRequest, tokens: Small, tmp_path: Path) -> Path:
    return tokens.write(tmp_path / "model", hf=request.param)


def test_the_bytes_of_tokens_are_the_text(folder: Path, tokens: Small) -> None:
    vocabulary = Vocabulary(folder)
    ids = tokens.encode(TEXT)
    assert any(vocabulary.token_bytes(token).decode(errors="replace") == "\ufffd" for token in ids)
    assert b"".join(map(vocabulary.token_bytes, ids)).decode() == TEXT


def test_every_byte_is_known(folder: Path, tokens: Small) -> None:
    vocabulary = Vocabulary(folder)
    assert [vocabulary.token_bytes(tokens.single[byte]) for byte in range(256)] == [
        bytes([byte]) for byte in range(256)
    ]


def test_added_tokens_are_found_by_name_and_special_ones_are_no_text(folder: Path, tokens: Small) -> None:
    vocabulary = Vocabulary(folder)
    assert {name: vocabulary.id_of(name) for name in ADDED} == tokens.ids
    assert vocabulary.asr_text == tokens.ids[ASR_TEXT]
    assert vocabulary.ends == {tokens.ids["<|im_end|>"], tokens.ids["<|endoftext|>"]}
    for name in ("<|im_end|>", "<|audio_pad|>", ASR_TEXT, TIMESTAMP):
        assert vocabulary.token_bytes(tokens.ids[name]) == b""
    assert vocabulary.token_bytes(tokens.ids["<think>"]) == b"<think>"
    assert vocabulary.token_bytes(10_000_000) == b"", "the embedding has more rows than there are tokens"
    with pytest.raises(EngineFailure, match="<other>"):
        vocabulary.id_of("<other>")


def spoiled(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


@pytest.mark.parametrize(
    ("hf", "file", "change", "told"),
    [
        (False, "vocab.json", lambda _: [], "vocab.json is not a JSON object"),
        (False, "vocab.json", lambda _: {}, "vocab.json is not a vocabulary"),
        (False, "vocab.json", lambda _: {"a": "b"}, "vocab.json is not a vocabulary"),
        (False, "tokenizer_config.json", lambda _: {}, "tokenizer_config.json has no mapping added_tokens_decoder"),
        (
            False,
            "tokenizer_config.json",
            lambda _: {"added_tokens_decoder": {"x": {"content": "<asr_text>"}}},
            "tokenizer_config.json .* not a number",
        ),
        (
            False,
            "tokenizer_config.json",
            lambda _: {"added_tokens_decoder": {"1": {"content": 1}}},
            "tokenizer_config.json .* without an id or content",
        ),
        (
            False,
            "tokenizer_config.json",
            lambda said: {"added_tokens_decoder": dict(list(said["added_tokens_decoder"].items())[:3])},
            "tokenizer_config.json has no <asr_text>",
        ),
        (True, "tokenizer.json", lambda _: {"model": 1}, "tokenizer.json has no mapping model"),
        (True, "tokenizer.json", lambda said: said | {"added_tokens": []}, "tokenizer.json has no <asr_text>"),
        (
            True,
            "tokenizer.json",
            lambda said: said | {"added_tokens": [1]},
            "tokenizer.json has no mapping for an added",
        ),
    ],
)
def test_a_broken_file_is_named(
    tokens: Small, tmp_path: Path, hf: bool, file: str, change: Callable[[Any], Any], told: str
) -> None:
    folder = tokens.write(tmp_path, hf=hf)
    spoiled(folder / file, change)
    with pytest.raises(EngineFailure, match=told):
        Vocabulary(folder)


def test_a_file_that_is_missing_or_cut_off_is_named(tokens: Small, tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match=r"vocab\.json and tokenizer\.json are missing"):
        Vocabulary(tmp_path)
    folder = tokens.write(tmp_path / "original")
    whole = (folder / "vocab.json").read_text(encoding="utf-8")
    (folder / "vocab.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    with pytest.raises(EngineFailure, match=r"vocab\.json is not JSON, or not all of it is there"):
        Vocabulary(folder)
    (folder / "vocab.json").write_text(whole, encoding="utf-8")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(EngineFailure, match=r"tokenizer_config\.json is missing") as failure:
        Vocabulary(folder)
    assert str(tmp_path) not in failure.value.message
