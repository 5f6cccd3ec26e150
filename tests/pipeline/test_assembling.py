"""From pieces to segments that read as sentences: where they end, what they carry, when they were said."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.transcript import TokenLogprob, Word, join_words
from app.pipeline.assembling import segments
from app.pipeline.segmentation import Cut

START = 100.0


def piece(*spans: tuple[float, float]) -> Cut:
    """A piece from START with speech at these seconds of it."""
    found = tuple(SpeechSpan(START + start, START + end) for start, end in spans)
    return Cut(START, found[-1].end + 0.5, found)


def heard(text: str, *, step: float = 0.5, pauses: dict[int, float] | None = None) -> Hypothesis:
    """Words of `text`, each `step` seconds and two tokens long, with pauses before some."""
    words: list[Word] = []
    clock = 0.0
    for index, said in enumerate(text.split()):
        clock += (pauses or {}).get(index, 0.0)
        words.append(Word(said, clock, clock + step, 0.9, True, (2 * index, 2 * index + 1)))
        clock += step
    tokens = tuple(token for word in words for token in word.tokens)
    logprobs = tuple(TokenLogprob(str(token), str(token).encode(), -token / 100) for token in tokens)
    return Hypothesis(
        text,
        "en",
        {"en": 1.0},
        tuple(words),
        tokens,
        logprobs,
        temperature=0.0,
        avg_logprob=-0.25,
        compression_ratio=1.5,
        no_speech_prob=0.01,
    )


def texts(hypothesis: Hypothesis, cut: Cut) -> list[str]:
    return [segment.text for segment in segments(cut, hypothesis)]


def test_a_segment_is_a_sentence() -> None:
    said = 'He left. "Did he?" Yes! Well... maybe'
    assert texts(heard(said), piece((0, 10))) == ["He left.", '"Did he?"', "Yes!", "Well...", "maybe"]


def test_chinese_sentences_end_at_their_own_marks() -> None:
    words = tuple(
        Word(said, index, index + 1, space_before=False) for index, said in enumerate(["你", "好。", "走", "吗？”"])
    )
    hypothesis = Hypothesis("你好。走吗？”", "zh", {"zh": 1.0}, words)
    assert texts(hypothesis, piece((0, 5))) == ["你好。", "走吗？”"]


@pytest.mark.parametrize("said", ["Mr. Smith and Dr. Jones met Prof. Hill.", "It is no. 5 vs. Sammy Jr. here."])
def test_an_abbreviation_ends_no_sentence(said: str) -> None:
    assert texts(heard(said), piece((0, 10))) == [said]


def test_numbers_and_initials_inside_words_end_no_sentence() -> None:
    assert texts(heard("About 3.5 of 2,000 e.g.x things."), piece((0, 10))) == ["About 3.5 of 2,000 e.g.x things."]


def test_a_pause_begins_a_segment_without_a_full_stop() -> None:
    said = heard("one two three four", pauses={2: 1.0})
    assert texts(said, piece((0, 5))) == ["one two", "three four"]
    assert texts(heard("one two three four", pauses={2: 0.7}), piece((0, 5))) == ["one two three four"]


def test_times_are_seconds_of_the_recording() -> None:
    first, second = segments(piece((0, 10)), heard("One two. Three four."))
    assert (first.start, first.end) == (START, START + 1.0)
    assert (second.start, second.end) == (START + 1.0, START + 2.0)
    assert [word.start for word in second.words] == [START + 1.0, START + 1.5]


def test_tokens_and_logprobs_go_with_their_words() -> None:
    first, second = segments(piece((0, 10)), heard("One two. Three four five."))
    assert first.tokens == (0, 1, 2, 3)
    assert second.tokens == (4, 5, 6, 7, 8, 9)
    assert [token.token for token in first.logprobs] == ["0", "1", "2", "3"]
    assert [token.token for token in second.logprobs] == ["4", "5", "6", "7", "8", "9"]


def test_the_figures_are_the_pieces() -> None:
    for segment in segments(piece((0, 10)), heard("One two. Three.")):
        figures = (segment.temperature, segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob)
        assert figures == (0.0, -0.25, 1.5, 0.01)


def test_without_word_times_a_piece_is_one_segment_over_its_speech() -> None:
    hypothesis = replace(heard("One two. Three."), words=())
    (segment,) = segments(piece((0.4, 2.0), (2.5, 4.0)), hypothesis)
    assert (segment.start, segment.end, segment.text) == (START + 0.4, START + 4.0, "One two. Three.")
    assert segment.words == ()
    assert segment.tokens == hypothesis.tokens


def test_a_piece_without_text_has_no_segments() -> None:
    assert segments(piece((0, 5)), Hypothesis("", "en", {"en": 1.0}, avg_logprob=-2.0)) == []


def test_a_word_that_reaches_into_a_pause_is_cut_back_to_the_speech() -> None:
    words = (Word("one", 0.2, 1.4), Word("two", 1.4, 3.0))
    (first, second) = segments(piece((0.5, 1.0), (2.0, 2.8)), Hypothesis("one two", "en", {"en": 1.0}, words))
    assert (first.start, first.end) == (START + 0.5, START + 1.0)
    assert (second.start, second.end) == (START + 2.0, START + 2.8)


def test_a_word_wholly_in_a_pause_keeps_its_place() -> None:
    words = (Word("one", 0.2, 0.6), Word("hm", 1.3, 1.6), Word("two", 2.2, 2.6))
    made = segments(piece((0.0, 1.0), (2.0, 2.8)), Hypothesis("one hm two", "en", {"en": 1.0}, words))
    placed = [word for segment in made for word in segment.words]
    assert (placed[1].start, placed[1].end) == (START + 1.3, START + 1.6)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_times_the_model_gives_words_stay_in_order(seed: int) -> None:
    chance = random.Random(seed)
    spans = [(index * 2.0 + chance.random(), index * 2.0 + 1.2 + chance.random() * 0.7) for index in range(5)]
    words: list[Word] = []
    clock = 0.0
    for index in range(chance.randint(1, 25)):
        length = chance.choice([0.0, 0.02, 0.3, 1.5])
        said = chance.choice(["word", "end.", "so,"])
        words.append(Word(said, clock, clock + length, tokens=(index,)))
        clock = min(11.0, clock + length + chance.choice([0.0, 0.0, 0.4]))
    cut = piece(*spans)
    hypothesis = Hypothesis(join_words(tuple(words)), "en", {"en": 1.0}, tuple(words))
    made = segments(cut, hypothesis)
    placed = [word for segment in made for word in segment.words]
    assert [word.text for word in placed] == [word.text for word in words]
    assert " ".join(segment.text for segment in made) == hypothesis.text
    for before, after in itertools.pairwise(placed):
        assert before.end <= after.start
    assert all(cut.start <= word.start <= word.end <= cut.end for word in placed)
    for segment in made:
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)
