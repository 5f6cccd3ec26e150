"""What can be read of a job while it is worked on."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.domain.engines import Capabilities, Hypothesis, SpeechSpan
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker, SpeakerOptions
from app.domain.transcript import Transcript, Word, join_words
from app.pipeline.chinese import ChineseWriting
from app.pipeline.segmentation import Cut
from app.pipeline.text.writing import Writing
from app.service.jobs.job import Kept, Plan
from app.service.partial import partial_transcript

ABLE = Capabilities(frozenset({"en", "zh"}), frozenset({"transcribe"}), max_seconds=30, preferred_seconds=15)
WRITING = Writing(ChineseWriting())
PLAIN = RecognitionOptions()


def heard(*said: str, language: str = "en") -> Hypothesis:
    """A word a second."""
    words = tuple(Word(word, float(number), number + 0.9) for number, word in enumerate(said))
    return Hypothesis(join_words(words), language, {language: 1.0}, words, tokens=tuple(range(len(said))))


def plan(pieces: int, start: float = 0.0, scale: float = 1.0) -> Plan:
    """Pieces of 10 s, with 10 s of silence between them."""
    starts = [start + 20.0 * number for number in range(pieces)]
    spans = [SpeechSpan(one, one + 10.0) for one in starts]
    return Plan(spans, [Cut(span.start, span.end, (span,)) for span in spans], start + 20.0 * pieces, scale)


def read(
    plans: Mapping[int, Plan],
    pieces: Mapping[tuple[int, int], Hypothesis],
    options: RecognitionOptions = PLAIN,
) -> Transcript:
    return partial_transcript(Kept(plans, pieces), "whisper-base", options, ABLE, WRITING)


def test_of_a_job_that_has_just_begun_there_is_nothing_to_read() -> None:
    for plans in ({}, {0: plan(3)}, {0: plan(0)}):
        found = read(plans, {}, RecognitionOptions(language="en"))
        assert (found.text, found.segments, found.language) == ("", (), "en")
        assert found.warnings == ("partial",)
    assert read({0: plan(3)}, {}).duration == 60.0
    assert read({}, {}).language is None


def test_the_leading_pieces_are_read_up_to_the_first_gap() -> None:
    pieces = {(0, 0): heard("One", "two."), (0, 1): heard("Three."), (0, 3): heard("Seven.")}
    found = read({0: plan(5)}, pieces)
    assert found.text == "One two. Three."
    assert [(one.start, one.text) for one in found.segments] == [(0.0, "One two."), (20.0, "Three.")]
    assert (found.language, found.model, found.duration) == ("en", "whisper-base", 100.0)
    assert found.usage.output_tokens == 3
    assert read({0: plan(5)}, pieces | {(0, 2): heard("Four.")}).text == "One two. Three. Four. Seven."


def test_what_somebody_notes_under_no_channels_number_is_not_read() -> None:
    pieces = {(0, 0): heard("One."), (-1, 0): heard("Nothing.")}
    found = read({0: plan(1), -1: Plan((), (), 3.0)}, pieces)
    assert (found.text, found.duration, found.speakers) == ("One.", 20.0, ())


def test_it_is_written_as_it_will_be() -> None:
    traditional = Hypothesis("開會", "zh", {"zh": 1.0}, (Word("開", 0, 1), Word("會", 1, 2, space_before=False)))
    found = read({0: plan(2)}, {(0, 0): traditional})
    assert found.text == "开会"
    assert [word.text for word in found.words] == ["开", "会"]


def test_times_are_on_the_containers_clock() -> None:
    found = read({0: plan(2, scale=1.5)}, {(0, 0): heard("One."), (0, 1): heard("Two.")})
    assert found.duration == 60.0
    assert [one.start for one in found.segments] == [0.0, 30.0]
    assert found.words[1].end == pytest.approx(20.9 * 1.5)


def test_speakers_are_not_told_before_they_are_told_apart() -> None:
    options = RecognitionOptions(speakers=SpeakerOptions())
    found = read({0: plan(2)}, {(0, 0): heard("One."), (0, 1): heard("Two.")}, options)
    assert found.speakers == ()
    assert [(one.text, one.speaker) for one in found.segments] == [("One.", None), ("Two.", None)]


def test_channels_are_speakers_and_are_read_by_time() -> None:
    options = RecognitionOptions(split_channels=True, channel_roles=("Agent",))
    pieces = {
        (0, 0): heard("Hello."),
        (0, 1): heard("Fine."),
        (1, 0): heard("Hi."),
        (1, 2): heard("Later."),
    }
    found = read({0: plan(3), 1: plan(3, start=11.0)}, pieces, options)
    agent, other = Speaker(0, "Agent"), Speaker(1)
    assert [(one.start, one.speaker, one.text) for one in found.segments] == [
        (0.0, agent, "Hello."),
        (11.0, other, "Hi."),
        (20.0, agent, "Fine."),
    ]
    assert found.text == "Hello. Hi. Fine."
    assert found.speakers == (agent, other)
    assert all(word.speaker == one.speaker for one in found.segments for word in one.words)


@pytest.mark.parametrize("style", ["stars", "remove"])
def test_what_may_be_the_beginning_of_a_masked_term_is_not_shown(style: str) -> None:
    options = RecognitionOptions(masking=(Masking(("blue bird project",), style),))  # type: ignore[arg-type]
    said = [heard("We", "met."), heard("On", "blue"), heard("bird"), heard("project", "today."), heard("Bye.")]
    texts: list[str] = []
    for count in range(6):
        pieces = {(0, number): one for number, one in enumerate(said[:count])}
        texts.append(read({0: plan(5)}, pieces, options).text)
        assert "blue" not in texts[-1].lower()
        assert "bird" not in texts[-1].lower()
        assert "project" not in texts[-1].lower()
    assert texts[:4] == ["", "We met.", "We met.", "We met."]
    assert texts[4].startswith("We met. On")
    assert "today." in texts[4]
    assert texts[5] == texts[4] + " Bye."


def test_a_term_that_another_channel_breaks_is_not_shown_either() -> None:
    options = RecognitionOptions(split_channels=True, masking=(Masking(("blue bird",)),))
    plans = {0: plan(2), 1: plan(2, start=10.0)}
    pieces = {(0, 0): heard("Blue"), (1, 0): heard("Yes.")}
    assert read(plans, pieces, options).text == "Yes."
    assert "bird" not in (whole := read(plans, pieces | {(0, 1): heard("bird")}, options).text)
    assert "Yes." in whole
