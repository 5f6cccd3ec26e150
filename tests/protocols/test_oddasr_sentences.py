"""Text as sentences."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocols.oddasr.rest.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天天气很好，我们去公园。好啊！真的？！", ["今天天气很好，我们去公园。", "好啊！", "真的？！"]),
        ("他说：“走吧。”于是走了", ["他说：“走吧。”", "于是走了"]),
        ("Mr. Smith paid 3.5 dollars. Why?", ["Mr. Smith paid 3.5 dollars.", "Why?"]),
        ('J. F. Kennedy said "ask not." Then he left...', ['J. F. Kennedy said "ask not."', "Then he left..."]),
        ("We met at 5 p.m. in the U.S. It rained.", ["We met at 5 p.m. in the U.S. It rained."]),
        ("Hello.你好。", ["Hello.", "你好。"]),
        ("no marks at all", ["no marks at all"]),
        ("two\nlines  of one", ["two lines of one"]),
        (" ", []),
    ],
)
def test_sentences_end_with_their_marks(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet=st.sampled_from('ab. !?。！…\n"”)Mr天，'), max_size=60) | st.text(max_size=60))
def test_no_character_is_lost_and_no_line_is_blank(text: str) -> None:
    found = sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(one.strip() and "\n" not in one for one in found)


@pytest.mark.parametrize("text", ["a. " * 200_000, "." * 200_000 + "a", ".'" * 200_000 + "a"])
def test_what_looks_like_an_end_for_ever_takes_no_time(text: str) -> None:
    began = time.perf_counter()
    assert len(sentences(text)) == 1
    assert time.perf_counter() - began < 5.0
