"""FlashRecognizer's sentences: parted as long as they may be, with nothing lost and times in order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import characters

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word, join_words
from app.protocols.aliyun.rest.flash import FlashSentence, flash_body, parted

LONG = "今天天气很好，我们去公园散步吧，回来的时候买一点水果。"
CHINESE = Segment(1.0, 9.0, LONG, characters(LONG, 1.0, 0.3))
TEXTS = ["the", "horizon", "seems,", "extremely", "distant.", "So", "it", "is!"]
ENGLISH_WORDS = tuple(Word(text, 0.5 * place, 0.5 * place + 0.4) for place, text in enumerate(TEXTS))
ENGLISH = Segment(0.0, 4.0, join_words(ENGLISH_WORDS), ENGLISH_WORDS)


def sentences(*segments: Segment, words: bool = False, longest: int | None = None) -> list[FlashSentence]:
    transcript = Transcript("", "zh", 10.0, "able", segments)
    body = flash_body("0" * 32, transcript, words=words, longest=longest, first_channel=False, seconds=0.1, warnings=())
    return body.flash_result.sentences


@pytest.mark.parametrize("longest", range(4, 51))
@pytest.mark.parametrize("segment", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_no_sentence_is_longer_than_it_may_be(segment: Segment, longest: int) -> None:
    parts = list(parted(segment, longest))
    assert all(len(part.text) <= longest or len(part.words) == 1 for part in parts)
    assert tuple(word for part in parts for word in part.words) == segment.words
    assert all(before.end <= after.start for before, after in itertools.pairwise(parts))


def test_sentences_end_after_marks_where_one_is_near() -> None:
    assert [part.text for part in parted(CHINESE, 12)] == [
        "今天天气很好，",
        "我们去公园散步吧，",
        "回来的时候买一点水果。",
    ]
    assert [part.text for part in parted(ENGLISH, 20)] == ["the horizon seems,", "extremely distant.", "So it is!"]


def test_a_text_that_its_words_do_not_make_has_times_by_its_length() -> None:
    rewritten = replace(CHINESE, text="今天是2026年1月1日，天气很好。")
    parts = list(parted(rewritten, 8))
    assert "".join(part.text for part in parts) == rewritten.text
    assert (parts[0].start, parts[-1].end) == (1.0, CHINESE.words[-1].end)
    assert tuple(word for part in parts for word in part.words) == CHINESE.words, "each word is dealt out once"
    assert all(before.end <= after.start for before, after in itertools.pairwise(parts))
    assert all(part.start <= word.start <= word.end <= part.end for part in parts for word in part.words)


def test_a_sentence_that_is_short_enough_keeps_its_words_whatever_its_text() -> None:
    words = tuple(Word(text, 0.3 * place, 0.3 * place + 0.3) for place, text in enumerate("我有二十元"))
    said = Segment(0.0, 2.0, "我有20元。", words)
    assert list(parted(said, 50)) == [said]
    (sentence,) = sentences(said, words=True, longest=50)
    assert [word.text for word in sentence.words or ()] == ["我", "有", "二", "十", "元"]


@given(
    st.text("今天2026 ab，", min_size=1, max_size=60).filter(str.strip),
    st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 0.5)), max_size=20),
    st.integers(4, 50),
)
def test_words_of_another_text_are_dealt_out_in_order(text: str, gaps: list[tuple[float, float]], longest: int) -> None:
    at, words = 0.0, []
    for silence, length in gaps:
        words.append(Word("字", at + silence, at + silence + length))
        at += silence + length
    parts = list(parted(Segment(0.0, max(at, 1.0), text, tuple(words)), longest))
    assert [word for part in parts for word in part.words] == words
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    times = [time for part in parts for time in (part.start, part.end)]
    assert times == sorted(times)


@given(st.text(min_size=1, max_size=60).filter(str.strip), st.integers(4, 50))
def test_no_text_is_lost_whatever_it_is(text: str, longest: int) -> None:
    parts = list(parted(Segment(0.0, 5.0, text), longest))
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    assert all(0.0 <= part.start <= part.end <= 5.0 for part in parts)


def test_words_have_the_marks_behind_them() -> None:
    words = (
        Word("《", 0.0, 0.1),
        Word("“好", 0.1, 0.4, space_before=False),
        Word("100%，”", 0.4, 0.9),
        Word("——", 0.9, 1.0),
    )
    (sentence,) = sentences(Segment(0.0, 1.0, join_words(words), words), words=True)
    assert [(word.text, word.punc) for word in sentence.words or ()] == [("好", ""), ("100%", "，”——")]
    again = (Word("好", 0.0, 0.2), Word("“好", 0.2, 0.4), Word("好”", 0.4, 0.5))
    (sentence,) = sentences(Segment(0.0, 1.0, join_words(again), again), words=True)
    assert [(word.text, word.punc) for word in sentence.words or ()] == [("好", "“"), ("好", ""), ("好", "”")]


def test_times_are_whole_milliseconds_and_channels_speakers() -> None:
    said = replace(ENGLISH, start=0.0004, end=3.9996, speaker=Speaker(1, "Anna"))
    (sentence,) = sentences(said)
    assert (sentence.begin_time, sentence.end_time, sentence.channel_id, sentence.words) == (0, 4000, 1, None)
    assert sentences(Segment(0.0, 1.0, "")) == []
