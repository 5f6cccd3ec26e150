"""Who says each word, and segments that one speaker says: nothing is lost where they are parted."""

from __future__ import annotations

import random

import pytest

from app.domain.speakers import Speaker, SpeakerTurn
from app.domain.transcript import Segment, TokenLogprob, Word, join_words
from app.pipeline.diarization.diarizer import Diarization
from app.pipeline.diarization.words import WhoSpeaks, with_speakers

ANNA, BERT, CARL = Speaker(0), Speaker(1), Speaker(2, "Carl")


def who(*turns: tuple[float, float, Speaker]) -> WhoSpeaks:
    made = sorted((SpeakerTurn(start, end, speaker) for start, end, speaker in turns), key=lambda turn: turn.start)
    return WhoSpeaks(Diarization(tuple(dict.fromkeys(turn.speaker for turn in made)), tuple(made)))


def segment(text: str, start: float = 0.0, step: float = 0.5, *, timed: bool = True) -> Segment:
    """Words of `step` seconds and two tokens each."""
    words = tuple(
        Word(said, start + index * step, start + (index + 1) * step, 0.9, True, (2 * index, 2 * index + 1))
        for index, said in enumerate(text.split())
    )
    tokens = tuple(token for word in words for token in word.tokens)
    logprobs = tuple(TokenLogprob(str(token), str(token).encode(), -token / 100) for token in tokens)
    end = words[-1].end
    figures = {"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.01}
    return Segment(start, end, text, words if timed else (), None, tokens, logprobs=logprobs, **figures)


def told(found: WhoSpeaks, *segments: Segment) -> list[tuple[Speaker | None, str]]:
    return [(made.speaker, made.text) for made in with_speakers(segments, found)]


# --- whose a time is --------------------------------------------------------------------------------------------------


def test_a_time_is_whose_turn_it_is() -> None:
    found = who((1, 3, ANNA), (3, 5, BERT))
    assert found.between(1.2, 1.4) == ANNA
    assert found.between(3.0, 3.5) == BERT
    assert found.between(2.5, 3.0) == ANNA


def test_the_most_of_it_decides() -> None:
    found = who((1, 3, ANNA), (3, 5, BERT), (5, 5.2, ANNA))
    assert found.between(2.7, 3.2) == ANNA
    assert found.between(2.8, 3.3) == BERT
    assert found.between(2.7, 5.2) == BERT


def test_what_somebody_speaks_is_summed() -> None:
    found = who((0, 1, ANNA), (1, 2.5, BERT), (2.5, 3.5, ANNA))
    assert found.between(0, 3.5) == ANNA


def test_where_nobody_speaks_it_is_the_nearest() -> None:
    found = who((1, 2, ANNA), (4, 5, BERT))
    assert found.between(0.0, 0.5) == ANNA
    assert found.between(2.2, 2.6) == ANNA
    assert found.between(3.2, 3.8) == BERT
    assert found.between(9.0, 9.5) == BERT
    assert found.between(2.9, 3.1) == ANNA, "in the middle, who spoke before"


def test_a_moment_is_somebodys() -> None:
    found = who((1, 2, ANNA), (2, 3, BERT))
    assert found.between(1.5, 1.5) == ANNA
    assert found.between(2.5, 2.5) == BERT


def test_of_those_who_speak_as_much_it_is_who_spoke_last() -> None:
    found = who((1, 5, ANNA), (2, 6, BERT))
    assert found.between(3.0, 3.5, before=ANNA) == ANNA
    assert found.between(3.0, 3.5, before=BERT) == BERT
    assert found.between(3.0, 3.5, before=CARL) in {ANNA, BERT}
    assert found.between(5.2, 5.5, before=ANNA) == BERT


def test_a_recording_without_turns_is_nobodys() -> None:
    assert who().between(1.0, 2.0) is None
    assert who().between(1.0, 2.0, before=ANNA) is None
    assert told(who(), segment("one two")) == [(None, "one two")]


# --- segments ---------------------------------------------------------------------------------------------------------


def test_every_word_has_its_speaker() -> None:
    (made,) = with_speakers([segment("one two three")], who((0, 5, CARL)))
    assert made.speaker == CARL
    assert [word.speaker for word in made.words] == [CARL, CARL, CARL]


def test_a_segment_is_parted_where_the_speaker_changes() -> None:
    found = who((0, 1.5, ANNA), (1.5, 3.0, BERT), (3.0, 5.0, ANNA))
    first, second, third = with_speakers([segment("a b c d e f g h i j")], found)
    assert [(made.speaker, made.text) for made in (first, second, third)] == [
        (ANNA, "a b c"),
        (BERT, "d e f"),
        (ANNA, "g h i j"),
    ]
    assert [(made.start, made.end) for made in (first, second, third)] == [(0, 1.5), (1.5, 3), (3, 5)]
    assert second.tokens == (6, 7, 8, 9, 10, 11)
    assert [logprob.token for logprob in second.logprobs] == ["6", "7", "8", "9", "10", "11"]
    assert all(made.avg_logprob == -0.25 and made.no_speech_prob == 0.01 for made in (first, second, third))


def test_a_segment_of_one_speaker_stays_as_it_is() -> None:
    whole = segment("one  two")
    (made,) = with_speakers([whole], who((0, 5, ANNA)))
    assert (made.text, made.tokens, made.logprobs) == (whole.text, whole.tokens, whole.logprobs)


def test_a_segment_without_word_times_is_who_speaks_most_of_it() -> None:
    found = who((0, 1, ANNA), (1, 4, BERT))
    assert told(found, segment("a b c d e f", timed=False)) == [(BERT, "a b c d e f")]


def test_segments_are_told_alike_together_and_one_by_one() -> None:
    found = who((0, 1, BERT), (2, 9, ANNA), (2, 9, BERT))
    one, two = segment("a b", 0), segment("c d", 4)
    assert told(found, one, two) == told(found, one) + told(found, two)


def test_a_word_of_no_length_in_overlap_stays_with_who_spoke_last() -> None:
    assert who((1, 5, ANNA), (2, 6, BERT)).between(3, 3, before=BERT) == BERT


@pytest.mark.parametrize(
    "turns",
    [
        ((0, 0.2, ANNA), (0.2, 5, BERT)),
        ((0, 0.4, ANNA), (0.4, 5, BERT)),
        ((0, 1.0, BERT), (1.0, 5, ANNA)),
        ((0, 0.2, ANNA), (0.2, 1.0, BERT), (1.0, 5, CARL)),
    ],
    ids=["a word at the beginning", "two words", "a word at the end", "at both ends"],
)
def test_a_crumb_of_a_sentence_is_the_sentences(turns: tuple[tuple[float, float, Speaker], ...]) -> None:
    assert told(who(*turns), segment("a b c d e f", step=0.2)) == [(BERT, "a b c d e f")]


def test_a_word_in_the_middle_of_anothers_sentence_is_no_crumb() -> None:
    found = who((0, 0.6, ANNA), (0.6, 0.8, BERT), (0.8, 5, ANNA))
    assert told(found, segment("a b c d e f", step=0.2)) == [(ANNA, "a b c"), (BERT, "d"), (ANNA, "e f")]


def test_more_than_a_crumb_is_somebodys_own() -> None:
    found = who((0, 0.6, ANNA), (0.6, 5, BERT))
    assert told(found, segment("a b c d e f g", step=0.2)) == [(ANNA, "a b c"), (BERT, "d e f g")]
    slow = who((0, 1.0, ANNA), (1.0, 5, BERT))
    assert told(slow, segment("a b c d e f g")) == [(ANNA, "a b"), (BERT, "c d e f g")], "two words, but a second long"


def test_two_crumbs_do_not_swallow_each_other() -> None:
    found = who((0, 0.2, ANNA), (0.2, 5, BERT))
    assert told(found, segment("a b", step=0.2)) == [(ANNA, "a"), (BERT, "b")]


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_or_said_twice(seed: int) -> None:
    chance = random.Random(seed)
    speakers = [ANNA, BERT, CARL]
    turns = [
        (start, start + chance.uniform(0.1, 5), chance.choice(speakers))
        for start in (chance.uniform(0, 30) for _ in range(chance.randint(1, 25)))
    ]
    found = who(*turns)
    clock, said = 0.0, []
    for _ in range(chance.randint(1, 6)):
        made = segment(" ".join("abcdefghijklmnop"[: chance.randint(1, 16)]), clock, chance.choice([0.1, 0.3, 1.0]))
        said.append(made)
        clock = made.end + chance.uniform(0, 3)
    parted = list(with_speakers(said, found))
    assert [word.text for made in parted for word in made.words] == [word.text for made in said for word in made.words]
    assert [token for made in parted for token in made.tokens] == [token for made in said for token in made.tokens]
    assert [one for made in parted for one in made.logprobs] == [one for made in said for one in made.logprobs]
    assert " ".join(made.text for made in parted) == " ".join(made.text for made in said)
    for made in parted:
        assert made.text == join_words(made.words)
        assert {word.speaker for word in made.words} == {made.speaker}
        assert (made.start, made.end) == (made.words[0].start, made.words[-1].end)
        assert made.speaker is not None


def test_a_long_monologue_with_many_turns() -> None:
    turns = [(0.0, 36_000.0, ANNA)] + [(index * 2.0 + 1, index * 2.0 + 1.5, BERT) for index in range(15_000)]
    found = who(*turns)
    made = list(with_speakers([segment("w " * 20, index * 10.0) for index in range(3000)], found))
    assert {one.speaker for one in made} == {ANNA}, "in every tie, who spoke last"


def test_a_long_silence_between_turns() -> None:
    found = who((0, 1, ANNA), (90_000, 90_001, BERT))
    made = list(with_speakers([segment("w " * 10, 10.0 + index * 20) for index in range(2000)], found))
    assert {one.speaker for one in made} == {ANNA}
