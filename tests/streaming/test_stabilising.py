"""What is told as stable stays, and the text begins with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.streaming.stabilising import Stabiliser


def stable_after(*guesses: str) -> str:
    stabiliser = Stabiliser()
    for guess in guesses:
        stabiliser.guess(guess)
    return stabiliser.stable


def test_one_guess_is_stable_in_nothing() -> None:
    assert stable_after("and so my") == ""


def test_what_two_guesses_agree_on_is_stable() -> None:
    assert stable_after("and so my", "and so my fellow", "and so my fellow Americans") == "and so my fellow"
    assert stable_after("今天天", "今天天气很") == "今天天"


def test_marks_and_case_are_no_disagreement_and_marks_at_the_end_wait() -> None:
    assert stable_after("And so.", "and so, my fellow") == "and so"
    assert stable_after("今天。", "今天，天气") == "今天"


def test_a_guess_that_takes_back_what_is_stable_is_shown_behind_it_only() -> None:
    stabiliser = Stabiliser()
    for guess in ("what is it", "what is it now", "that is it now then"):
        stabiliser.guess(guess)
    assert stabiliser.stable == "what is it"
    assert stabiliser.text == "what is it now then"


def test_the_same_text_is_no_news() -> None:
    stabiliser = Stabiliser()
    assert stabiliser.guess("one two")
    assert not stabiliser.guess("one two")
    assert not Stabiliser().guess("")


def test_a_text_that_grows_is_stable_but_for_its_last_marks() -> None:
    stabiliser = Stabiliser()
    assert stabiliser.grow("今天天气很好，")
    assert stabiliser.stable == "今天天气很好"
    assert stabiliser.grow("今天天气很好，我们")
    assert stabiliser.stable == "今天天气很好，我们"


@given(st.lists(st.text("ab ,.天气，。", max_size=12), max_size=8))
def test_stable_text_only_grows_and_begins_what_is_shown(guesses: list[str]) -> None:
    stabiliser = Stabiliser()
    for guess in guesses:
        before = stabiliser.stable
        stabiliser.guess(guess)
        assert stabiliser.stable.startswith(before)
        assert stabiliser.text.startswith(stabiliser.stable)
