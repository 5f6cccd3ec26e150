"""CT-Transformer's marks beside those of FunASR on torch, with the same small checkpoint, over generated texts."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models.speech import EN_SENTENCES, ZH_SENTENCES

from app.domain.transcript import Word, join_words
from app.engines import ct_punc
from app.engines.ct_punc.punctuator import CtPunctuator
from app.modelstore.exporting import export
from app.pipeline.text.punctuation import punctuated
from app.settings import Settings

pytestmark = pytest.mark.heavy

ODD = ["魑魅", "zyzzyva", "3", "15", "é", "你é好", "don't", "a1", "２", "😀", "x"]
"""What the model does not know, or FunASR takes apart."""
GAP = re.compile(r"(?<=[^\x00-\x7f]) | (?=[^\x00-\x7f])")
"""FunASR leaves a space before a Latin word where a step of its own begins, and none where that goes on."""


def lines(count: int, seed: int) -> list[list[str]]:
    """Texts of words: one to eight sentences, now and then dozens, Chinese, English or both, some with odd words."""
    chance = random.Random(seed)
    made: list[list[str]] = []
    for number in range(count):
        sentences = chance.randint(40, 70) if number % 10 == 0 else chance.randint(1, 8)
        kind = chance.choice(["zh", "en", "both"])
        words: list[str] = []
        for _ in range(sentences):
            chinese = kind == "zh" or (kind == "both" and chance.random() < 0.6)
            words += list(chance.choice(ZH_SENTENCES)) if chinese else chance.choice(EN_SENTENCES).split()
            if number % 4 == 0 and chance.random() < 0.3:
                words.append(chance.choice(ODD))
        if number % 7 == 0:
            chance.shuffle(words)
        made.append(words)
    return made


ENDLESS = [list("你好" * 160), list("你好" * 101 + "我"), ["魑"] * 330, list("你好吗" * 90), ["hello"] * 245]
"""Texts in which few sentences end."""


def as_words(words: list[str]) -> list[Word]:
    return [
        Word(text, 0.0, 0.0, space_before=bool(place) and text.isascii() and words[place - 1].isascii())
        for place, text in enumerate(words)
    ]


def ours(punctuator: CtPunctuator, words: list[str]) -> str:
    return join_words(punctuated(as_words(words), punctuator))


@pytest.fixture(scope="module")
def tiny(checkpoint: Callable[[str], Path]) -> Path:
    return checkpoint("ct-punc-tiny")


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    work = tmp_path_factory.mktemp("punctuation")
    export(tiny, work / "int8", progress=print)
    shutil.copytree(work / "int8", work / "fp32", ignore=shutil.ignore_patterns("model_quant.onnx"))
    return work


@pytest.fixture(scope="module")
def in_words(tiny: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The checkpoint, and what was exported of it, with a vocabulary of words where it had one of characters: what it
    then says makes little sense, but it says it of words that jieba cuts."""
    folders = [tmp_path_factory.mktemp("words") / name for name in ("torch", "onnx")]
    tokens: list[str] = json.loads((tiny / "tokens.json").read_text(encoding="utf-8"))
    words = (
        {sentence[-2:] for sentence in ZH_SENTENCES}
        | {sentence[:2] for sentence in ZH_SENTENCES}
        | {"怎么样", "语音识别", "人工智能"}
    )
    places = {token: place for place, token in enumerate(tokens)}
    for word in sorted(words):
        tokens[places[word[-1]]] = word
    for folder, source in zip(folders, (tiny, exported / "fp32"), strict=True):
        shutil.copytree(source, folder)
        (folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
        (folder / "jieba_usr_dict").write_text("\n".join(sorted(words)) + "\n", encoding="utf-8")
    return folders[0], folders[1]


def funasr_text(folder: Path, dictionary: Path | None = None) -> Callable[[list[str]], str]:
    """FunASR's text of some words, on torch."""
    from funasr import AutoModel  # noqa: PLC0415 - in the heavy environment only

    said = {} if dictionary is None else {"jieba_usr_dict": str(dictionary)}
    auto: Any = AutoModel(model=str(folder), disable_update=True, disable_pbar=True, device="cpu", **said)
    return lambda words: GAP.sub("", auto.generate(input=" ".join(words))[0]["text"].strip())


def load(folder: Path) -> CtPunctuator:
    return ct_punc.load("ct-punc", folder, Settings())


def test_every_text_reads_as_funasr_writes_it(tiny: Path, exported: Path) -> None:
    punctuator, theirs = load(exported / "fp32"), funasr_text(tiny)
    texts = [*lines(400, 5), *ENDLESS]
    assert sum(len(words) > 200 for words in texts) >= 30
    different = [(mine, other) for words in texts if (mine := ours(punctuator, words)) != (other := theirs(words))]
    print(f"{len(texts) - len(different)} of {len(texts)} alike, {sum(map(len, texts))} words")
    assert different == []


def test_with_a_dictionary_too(in_words: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where FunASR's jieba leaves its cache
    checkpoint, folder = in_words
    punctuator, theirs = load(folder), funasr_text(checkpoint, checkpoint / "jieba_usr_dict")
    texts = [*lines(300, 7), *ENDLESS]
    # words of digits are one word to FunASR, which then has no space for ours between them
    pairs = [(ours(punctuator, words).replace(" ", ""), theirs(words).replace(" ", "")) for words in texts]
    print(f"{sum(mine == other for mine, other in pairs)} of {len(pairs)} alike, {len(set(pairs))} different texts")
    assert [pair for pair in pairs if pair[0] != pair[1]] == []


def test_int8_sets_nearly_the_same_marks(exported: Path) -> None:
    full, small = load(exported / "fp32"), load(exported / "int8")
    texts = lines(400, 6)
    pairs = [pair for words in texts for pair in zip(full.marks(words), small.marks(words), strict=True)]
    other = sum(one != two for one, two in pairs)
    marks = sum(bool(one) for one, _ in pairs)
    print(f"int8: {other} of {len(pairs)} places differ ({marks} marks)")
    assert other <= 0.01 * marks
