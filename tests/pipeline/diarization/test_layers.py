"""Sentences to paragraphs: how long they get, what ends them, and that all of the sentences is in them."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, TokenLogprob, Word, join_words
from app.pipeline.diarization.layers import LONGEST_SECONDS, LONGEST_SILENCE, layered

ANNA, BERT = Speaker(0), Speaker(1)


def said(
    start: float, end: float, text: str = "Yes.", speaker: Speaker | None = ANNA, *, spaced: bool = True
) -> Segment:
    """A segment; its words, or characters where it is not `spaced`, share its time."""
    parts = text.split() if spaced else list(text)
    step = (end - start) / len(parts)
    words = tuple(
        Word(part, start + index * step, start + (index + 1) * step, 0.9, spaced, (index,), speaker)
        for index, part in enumerate(parts)
    )
    logprobs = tuple(TokenLogprob(part, part.encode(), -0.5) for part in parts)
    return Segment(start, end, text, words, speaker, tuple(range(len(parts))), 0.0, -0.5, 1.5, 0.1, logprobs)


def times(segments: list[Segment]) -> list[tuple[float, float]]:
    return [(segment.start, segment.end) for segment in segments]


# --- what is joined ---------------------------------------------------------------------------------------------------


def test_sentences_of_one_speaker_become_a_paragraph() -> None:
    (made,) = layered([said(0, 2, "One two."), said(2.5, 4, "Three."), said(6, 8, "Four five.")])
    assert (made.start, made.end, made.text) == (0, 8, "One two. Three. Four five.")
    assert [word.text for word in made.words] == ["One", "two.", "Three.", "Four", "five."]
    assert made.speaker == ANNA


def test_another_speaker_ends_it() -> None:
    made = layered([said(0, 2), said(2, 4, speaker=BERT), said(4, 6), said(6, 8)])
    assert times(made) == [(0, 2), (2, 4), (4, 8)]
    assert [segment.speaker for segment in made] == [ANNA, BERT, ANNA]


def test_a_name_is_part_of_who_speaks() -> None:
    assert len(layered([said(0, 2), said(2, 4, speaker=Speaker(0, "Anna"))])) == 2


def test_a_long_silence_ends_it() -> None:
    assert times(layered([said(0, 2), said(5.0, 6)])) == [(0, 6)]
    assert times(layered([said(0, 2), said(5.01, 6)])) == [(0, 2), (5.01, 6)]


def test_nobody_told_apart_is_one_speaker() -> None:
    assert times(layered([said(0, 2, speaker=None), said(2, 4, speaker=None)])) == [(0, 4)]


def test_nothing_and_one() -> None:
    assert layered([]) == []
    one = said(0, 2)
    assert layered([one]) == [one]


# --- how long ---------------------------------------------------------------------------------------------------------


def test_up_to_a_minute() -> None:
    made = layered([said(index * 4.0, index * 4.0 + 4.0) for index in range(30)])
    assert times(made) == [(0, 60), (60, 120)]


def test_a_first_layer_of_ten_seconds_is_never_parted_again() -> None:
    # 3 s each: twelve make four units of 12 s; a fifth unit would pass the minute by itself.
    made = layered([said(index * 3.0, index * 3.0 + 3.0) for index in range(21)])
    assert times(made) == [(0, 60), (60, 63)]
    made = layered([said(index * 3.5, index * 3.5 + 3.5) for index in range(20)])
    assert times(made) == [(0, 52.5), (52.5, 70)], "units of 10.5 s: five fit, six do not"


def test_a_long_segment_stays_as_it_is() -> None:
    assert times(layered([said(0, 70), said(70, 72)])) == [(0, 70), (70, 72)]
    assert times(layered([said(0, 2), said(2, 61.5), said(61.5, 62)])) == [(0, 2), (2, 62)]


def test_exactly_a_minute_is_still_one() -> None:
    assert times(layered([said(0, 30), said(30, 60)])) == [(0, 60)]
    assert times(layered([said(0, 30), said(30, 60.1)])) == [(0, 30), (30, 60.1)]


# --- what they hold ---------------------------------------------------------------------------------------------------


def test_chinese_gets_no_spaces() -> None:
    (made,) = layered([said(0, 2, "今天天气", spaced=False), said(2.8, 4, "很好。", spaced=False)])
    assert made.text == "今天天气很好。"


def test_without_words_texts_are_joined_as_their_language_is_written() -> None:
    chinese = [replace(said(0, 2, "你好。"), words=()), replace(said(2, 4, "走吧。"), words=())]
    english = [replace(said(0, 2, "Hello."), words=()), replace(said(2, 4, "Go on."), words=())]
    assert [layered(texts)[0].text for texts in (chinese, english)] == ["你好。走吧。", "Hello. Go on."]
    mixed = [said(0, 2, "Hello."), replace(said(2, 4, "Go on."), words=())]
    assert layered(mixed)[0].text == "Hello. Go on."


def test_the_figures_are_means_by_tokens_and_the_worst() -> None:
    calm = replace(said(0, 2, "a b c"), temperature=0.0, avg_logprob=-0.2, compression_ratio=1.0, no_speech_prob=0.0)
    wild = replace(said(2, 4, "d"), temperature=0.8, avg_logprob=-1.0, compression_ratio=2.0, no_speech_prob=0.4)
    (made,) = layered([calm, wild])
    assert (made.temperature, made.compression_ratio) == (0.8, 2.0)
    assert (made.avg_logprob, made.no_speech_prob) == (pytest.approx(-0.4), pytest.approx(0.1))


def test_figures_that_a_recogniser_lacks() -> None:
    bare = Segment(0, 1, "a", (), ANNA)
    (made,) = layered([bare, replace(bare, start=1, end=2)])
    figures = (made.temperature, made.avg_logprob, made.compression_ratio, made.no_speech_prob)
    assert figures == (None, None, None, None)
    (half,) = layered([bare, said(1, 2)])
    assert (half.avg_logprob, half.temperature) == (-0.5, 0.0)


@pytest.mark.parametrize("seed", range(100))
def test_nothing_is_lost_said_twice_or_swallowed(seed: int) -> None:
    chance = random.Random(seed)
    segments: list[Segment] = []
    clock = 0.0
    for _ in range(chance.randint(1, 60)):
        clock += chance.choice([0.0, 0.2, 1.0, 2.9, 3.1, 20.0])
        length = chance.choice([0.3, 2.0, 9.0, 20.0, 65.0]) * chance.uniform(0.5, 1.0)
        text = " ".join(f"w{chance.randint(0, 999)}" for _ in range(chance.randint(1, 8)))
        segments.append(said(clock, clock + length, text, chance.choice([ANNA, ANNA, BERT])))
        clock += length
    made = layered(segments)
    assert [word for segment in made for word in segment.words] == [word for one in segments for word in one.words]
    assert [token for segment in made for token in segment.tokens] == [
        token for one in segments for token in one.tokens
    ]
    assert [one for segment in made for one in segment.logprobs] == [p for one in segments for p in one.logprobs]
    assert " ".join(segment.text for segment in made) == " ".join(one.text for one in segments)
    whole = {(one.start, one.end) for one in segments if one.end - one.start > LONGEST_SECONDS}
    for segment in made:
        assert segment.text == join_words(segment.words)
        assert segment.end - segment.start <= LONGEST_SECONDS or (segment.start, segment.end) in whole
        assert {word.speaker for word in segment.words} == {segment.speaker}
        inside = [one for one in segments if segment.start <= one.start and one.end <= segment.end]
        for before, after in itertools.pairwise(inside):
            assert after.start - before.end <= LONGEST_SILENCE
    for before, after in itertools.pairwise(made):
        assert before.end <= after.start


def test_a_piece_that_begins_without_a_space_gets_one() -> None:
    one = Segment(0, 1, "He left.", (Word("He", 0, 0.5), Word("left.", 0.5, 1)))
    two = Segment(1.5, 2, "...and so", (Word("...and", 1.5, 1.8, space_before=False), Word("so", 1.8, 2)))
    assert [made.text for made in layered([one, two])] == ["He left. ...and so"]
