"""Text that is still being spoken, masked: no beginning of a term is shown, and what is stable stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.masking import Masking, MaskingStyle
from app.pipeline.text.masking import Masker
from app.streaming.stabilising import Stabiliser
from app.streaming.writing import masked_so_far

TERMS = ("飞鸟计划", "飞鸟", "project falcon")


@pytest.mark.parametrize(
    ("style", "shown"),
    [
        ("stars", ["我说", "我说", "我说", "我说", "我说****", "我说****，好"]),
        ("remove", ["我说", "我说", "我说", "我说", "我说", "我说，好"]),
        ("parentheses", ["我说", "我说", "我说", "我说", "我说(飞鸟计划)", "我说(飞鸟计划)，好"]),
    ],
)
def test_a_term_is_shown_once_it_is_whole(style: MaskingStyle, shown: list[str]) -> None:
    masker = Masker([Masking(TERMS, style)])
    said = ["我说", "我说飞", "我说飞鸟", "我说飞鸟计", "我说飞鸟计划", "我说飞鸟计划，好"]
    assert [masked_so_far(masker, text, "")[0] for text in said] == shown


def test_what_turned_out_to_be_no_term_is_shown() -> None:
    masker = Masker([Masking(TERMS)])
    said = ["a", "a pro", "a project", "a project fa", "a project falls", "a pro."]
    shown = ["a", "a", "a", "a", "a project falls", "a pro."]
    assert [masked_so_far(masker, text, "")[0] for text in said] == shown


@given(
    st.lists(st.text("飞鸟计划好，。", max_size=12), max_size=8),
    st.sampled_from(["stars", "remove", "parentheses"]),
)
def test_text_begins_with_what_is_stable_which_only_grows(guesses: list[str], style: MaskingStyle) -> None:
    masker, text, before = Masker([Masking(("飞鸟", "鸟计划"), style)]), Stabiliser(), ""
    for guess in guesses:
        text.guess(guess)
        shown, stable = masked_so_far(masker, text.text, text.stable)
        assert shown.startswith(stable)
        assert stable.startswith(before)
        assert style == "parentheses" or "飞鸟" not in shown
        before = stable
