"""The parts of streaming Paraformer by themselves: features of sound that is still coming, tokens that are complete
when weights add up, and text of which nothing is taken back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models.speech import utterances

from app.engines.paraformer.features import FrontEnd as OfflineFrontEnd
from app.engines.paraformer.tokens import Tokens
from app.engines.paraformer_online.features import FeatureStream, FrontEnd
from app.engines.paraformer_online.firing import Firing
from app.engines.paraformer_online.growing import GrowingText

TOKENS = Tokens(
    ["<blank>", "<s>", "</s>", "你", "好", "hello", "wor@@", "ld", "a", "p", "i@@", "3", "@@", "x@@", "<unk>"], {}
)


def grown(*portions: str) -> list[str]:
    text, seen = GrowingText(TOKENS), list[str]()
    for portion in portions:
        text.add([TOKENS.all.index(token) for token in portion.split()])
        seen.append(text.settled())
    return [*seen, text.whole()]


def test_a_word_that_may_go_on_waits() -> None:
    assert grown("你 wor@@", "ld", "hello") == ["你", "你world", "你world hello", "你world hello"]
    assert grown("hello wor@@") == ["hello", "hello wor"]
    assert grown("wor@@", "你") == ["", "wor你", "wor你"]
    assert grown("wor@@", "<unk>", "ld") == ["", "", "world", "world"]


def test_letters_wait_for_the_end_of_an_abbreviation() -> None:
    assert grown("你 a", "p p", "你") == ["你", "你", "你APP你", "你APP你"]
    assert grown("a", "hello") == ["", "a hello", "a hello"]
    assert grown("hello a") == ["hello", "hello a"]
    assert grown("hello wor@@ a", "好") == ["hello wora", "hello wora好", "hello wora好"]


@given(st.lists(st.lists(st.sampled_from(range(len(TOKENS))), max_size=6), max_size=8))
def test_whatever_comes_nothing_is_taken_back(portions: list[list[int]]) -> None:
    text, before = GrowingText(TOKENS), ""
    for portion in portions:
        text.add(portion)
        assert text.settled().startswith(before)
        before = text.settled()
    ids = [number for portion in portions for number in portion]
    assert text.whole().startswith(before)
    assert text.whole() == _written(ids)
    assert text.ids == tuple(ids)


def _written(ids: Sequence[int]) -> str:
    """As the recogniser for whole pieces writes them."""
    written, latin = "", False
    for word in TOKENS.words(ids):
        written += (" " if latin and word.latin else "") + word.text
        latin = word.latin
    return written


def test_features_are_those_of_the_whole_with_their_positions(shared_models: Path) -> None:
    folder = shared_models / "paraformer-online-tiny"
    width, size = 112, 560
    offline, front_end = OfflineFrontEnd(folder), FrontEnd(folder, width)
    chance = random.Random(5)
    for one in utterances(10, 11):
        stream, found, start = FeatureStream(front_end), list[np.ndarray](), 0
        while start < len(one.samples):
            end = start + chance.randint(1, 12_000)
            found.append(stream.push(one.samples[start:end], last=False))
            start = end
        given = np.concatenate([*found, stream.push(np.zeros(0, np.float32), last=True)])
        places = np.arange(1, len(given) + 1)[:, None] / 10_000 ** (np.arange(size // 2) / (size // 2 - 1))
        waves = np.concatenate([np.sin(places), np.cos(places)], axis=1)
        expected = offline(one.samples) * width**0.5 + waves
        assert given.shape == expected.shape
        np.testing.assert_allclose(given, expected, atol=2e-3)


@pytest.mark.parametrize("cut", range(7))
def test_tokens_are_complete_where_weights_add_up_to_one(cut: int) -> None:
    encoded = np.eye(6, dtype=np.float32)
    weights = np.array([0.25, 0.5, 0.5, 0.25, 0.5, 0.875], np.float32)
    firing = Firing(6, 1.0)
    given = np.concatenate([firing.push(encoded[:cut], weights[:cut]), firing.push(encoded[cut:], weights[cut:])])
    expected = [[0.25, 0.5, 0.25, 0, 0, 0], [0, 0, 0.25, 0.25, 0.5, 0]]
    np.testing.assert_allclose(given, expected, atol=1e-6)
    np.testing.assert_allclose(firing.push(np.zeros((1, 6), np.float32), np.float32([0.125])), [[0, 0, 0, 0, 0, 0.875]])
