"""The aligner's units, and the times made of its classes, beside those of the transformers package."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import pytest

from app.engines.qwen3.alignment import aligner_words, times
from app.engines.qwen3.languages import ALIGNED_LANGUAGES, LANGUAGES, model_name
from app.engines.qwen3.words import words_of

pytestmark = pytest.mark.vllm

LETTERS = "abcdé1２½''-.,!?  你好語佢𠮷々ーカｶﾞ한국“”。—😀ßй\u0301ก"


@pytest.fixture(scope="module")
def theirs() -> Any:
    pytest.importorskip("torch")
    return pytest.importorskip("transformers.models.qwen3_asr.processing_qwen3_asr")


def sequence(chance: random.Random) -> list[int]:
    """Classes as an aligner gives them, in order but for a part that is between nothing and all."""
    count = 2 * chance.randint(1, 60)
    bins = sorted(chance.randint(0, chance.choice([5, 40, 4999])) for _ in range(count))
    disorder = chance.choice([0.0, 0.05, 0.2, 0.5, 1.0])
    for place in range(count):
        if chance.random() < disorder:
            bins[place] = chance.randint(0, chance.choice([5, 40, 4999]))
    kind = chance.random()
    if kind < 0.1:
        bins.reverse()
    elif kind < 0.2:
        chance.shuffle(bins)
    return bins


@pytest.mark.parametrize("seed", range(4))
def test_two_thousand_answers_become_the_same_times(theirs: Any, seed: int) -> None:
    import numpy as np  # noqa: PLC0415

    chance = random.Random(seed)
    for _ in range(500):
        bins = sequence(chance)
        fixed = theirs._fix_timestamps(np.array(bins, dtype=np.float32) * np.float32(80))
        expected = [(start / 1000, end / 1000) for start, end in zip(fixed[::2], fixed[1::2], strict=True)]
        assert times(bins, len(bins) // 2, 1000.0) == expected, bins


@pytest.mark.parametrize("language", ["zh", "en", "yue", "ko", "ja"])
def test_texts_are_asked_in_the_same_units(theirs: Any, language: str) -> None:
    package = {"ko": "soynlp", "ja": "nagisa"}.get(language)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    chance = random.Random(7)
    split = theirs.Qwen3ASRProcessor.split_words_for_alignment
    name = model_name(language)
    for _ in range(500):
        text = " ".join("".join(chance.choices(LETTERS, k=chance.randint(0, 40))).split())
        asked = aligner_words(words_of(text), language)
        assert asked is not None, text
        assert list(asked.texts) == split(None, text, name), text


def test_the_languages_are_theirs(theirs: Any) -> None:
    names = theirs.LANGUAGE_CODE_TO_NAME
    assert {model_name(code) for code in LANGUAGES} == set(names.values())
    assert {model_name(code) for code in ALIGNED_LANGUAGES} == theirs.FORCED_ALIGNER_LANGUAGES
