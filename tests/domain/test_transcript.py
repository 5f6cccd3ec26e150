"""How stretches of text and words are put together."""

from __future__ import annotations

import inspect

import pytest

from app.domain import errors
from app.domain.errors import RequestError, SpeechError
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word, join_texts, join_words, separator


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        ("", "Hello", ""),
        ("Hello.", "", ""),
        ("Hello.", "Yes", " "),
        ("你好。", "今天", ""),
        ("好，", "走", ""),
        ("他说：“走。”", "好", ""),
        ("你好", "今天", " "),
        ("Hello.", "你好", " "),
        ("你好！", "Hello", ""),
    ],
)
def test_what_stands_between_two_stretches(before: str, after: str, between: str) -> None:
    assert separator(before, after) == between


def test_stretches_join_and_empty_ones_are_left_out() -> None:
    assert join_texts(["", "One.", "", "Two.", "你好。", "走", ""]) == "One. Two. 你好。走"
    assert join_texts([]) == ""
    assert join_texts(["", ""]) == ""


def test_words_join_as_they_were_spaced() -> None:
    words = (
        Word("Well", 0, 1),
        Word("-known", 1, 2, space_before=False),
        Word("你", 2, 3),
        Word("好", 3, 4, None, False),
    )
    assert join_words(words) == "Well-known 你好"
    assert join_words(()) == ""


def test_a_transcript_has_the_words_of_its_segments_in_order() -> None:
    one, two, three = (Word(text, index, index + 1) for index, text in enumerate(["one", "two", "three"]))
    transcript = Transcript(
        "one two three", "en", 3.0, "m", (Segment(0, 2, "one two", (one, two)), Segment(2, 3, "three", (three,)))
    )
    assert transcript.words == (one, two, three)


def test_a_segment_on_another_clock_keeps_its_speakers() -> None:
    anna = Speaker(1, "Anna")
    made = Segment(1.0, 3.0, "one two", (Word("one", 1.0, 2.0, speaker=anna), Word("two", 2.0, 3.0)), anna).scaled(2.0)
    assert (made.start, made.end, made.speaker) == (2.0, 6.0, anna)
    assert [(word.start, word.end, word.speaker) for word in made.words] == [(2.0, 4.0, anna), (4.0, 6.0, None)]


def leaves() -> list[type[SpeechError]]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SpeechError)]
    return [kind for kind in kinds if not kind.__subclasses__()]


def test_every_leaf_of_the_error_tree_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in leaves()]
    assert len(set(codes)) == len(codes)
    assert SpeechError.code not in codes


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_the_tree_in_the_docstring_names_every_leaf(kind: type[SpeechError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_bad_audio_is_the_fault_of_the_file() -> None:
    assert errors.AudioTooShort("short").param == "file"
    assert errors.UnknownModel("what", param="model").param == "model"
    assert isinstance(errors.EmptyAudio("none"), RequestError)
