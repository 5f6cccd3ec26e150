"""A session's events as OddASR's messages."""

from __future__ import annotations

from typing import Any, cast

from live_service import final
from oddasr_server import START

from app.domain import errors
from app.domain.events import Closed, Final, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Word
from app.protocols.closing import close_reason
from app.protocols.oddasr import wire
from app.protocols.oddasr.narration import Narration, odd_label
from app.protocols.oddasr.wire import Command, read_command


def told(*events: StreamEvent) -> list[dict[str, Any]]:
    narration = Narration("task", odd_label("zh"), words=True)
    return [cast("dict[str, Any]", message) for event in events for message in narration.messages(event)]


def test_a_sentence_that_goes_on_has_its_times_in_milliseconds() -> None:
    (message,) = told(SpeechStarted(1, 0.5), Partial(1, 0.5, 1.75, "你好", "你"))

    assert message["header"]["name"] == "TranscriptionResultChanged"
    assert message["header"]["task_id"] == "task"
    assert message["payload"] == {
        "index": 1,
        "time": 1750,
        "begin_time": 500,
        "end_time": 1750,
        "result": "你好",
        "confidence": 1.0,
        "fin": 0,
        "words": [],
    }


def test_a_sentence_has_its_own_end_and_its_words_in_seconds() -> None:
    words = (Word("Hello,", 0.5, 0.9004, 0.9), Word("world.", 1.0, 1.6, 0.8))
    (message,) = told(SpeechStopped(1, 1.6, 2.4), final(1, 0.5, 1.6, "Hello, world.", words))

    assert message["header"]["name"] == "SentenceEnd"
    assert message["payload"] == {
        "index": 1,
        "time": 1600,
        "begin_time": 500,
        "end_time": 1600,
        "result": "Hello, world.",
        "confidence": 0.85,
        "fin": 1,
        "words": [
            {"word": "Hello,", "begin_time": 0.5, "end_time": 0.9},
            {"word": "world.", "begin_time": 1.0, "end_time": 1.6},
        ],
    }


def test_sentences_are_counted_as_they_are_told() -> None:
    messages = told(
        final(1, 0.0, 0.3, ""),  # no speech after all, and never mentioned
        Partial(2, 1.0, 1.5, "一", ""),
        final(2, 1.0, 2.0, "一。"),
        final(3, 3.0, 4.0, "二。"),
        Closed(5.0),
    )

    assert [(one["payload"]["index"], one["payload"]["result"]) for one in messages] == [
        (1, "一"),
        (1, "一。"),
        (2, "二。"),
        (2, "END"),
    ]
    assert messages[-1]["payload"]["end_time"] == 5000
    assert messages[-1]["payload"]["fin"] == 1


def test_what_was_told_and_was_no_speech_is_taken_back() -> None:
    messages = told(Partial(1, 0.0, 0.4, "嗯", ""), final(1, 0.0, 0.4, ""), final(2, 1.0, 2.0, "好。"))

    assert [(one["payload"]["index"], one["payload"]["result"]) for one in messages] == [
        (1, "嗯"),
        (1, ""),
        (2, "好。"),
    ]


def test_an_empty_text_is_not_told() -> None:
    assert told(Partial(1, 0.0, 0.4, "", "")) == []


def test_what_several_people_say_in_one_go_is_a_sentence_for_each() -> None:
    anna = Speaker(1, "Anna")
    segments = (
        Segment(0.0, 1.0, "Hello.", (Word("Hello.", 0.0, 1.0, 0.5),), Speaker(0)),
        Segment(1.0, 1.5, "How are you?", (Word("How", 1.0, 1.5, 0.9),), Speaker(0)),
        Segment(1.5, 2.5, "Fine.", (Word("Fine.", 1.5, 2.5, 0.8),), anna),
    )
    messages = told(Final(1, 0.0, 2.5, 3.3, "Hello. How are you? Fine.", segments), final(2, 4.0, 5.0, "Bye."))

    payloads = [one["payload"] for one in messages]
    assert [(one["index"], one.get("speaker"), one["result"]) for one in payloads] == [
        (1, "发言人 0", "Hello. How are you?"),
        (2, "Anna", "Fine."),
        (3, None, "Bye."),
    ]
    assert [(one["begin_time"], one["end_time"], one["confidence"]) for one in payloads[:2]] == [
        (0, 1500, 0.7),
        (1500, 2500, 0.8),
    ]
    assert [word["word"] for word in payloads[1]["words"]] == ["Fine."]


def test_the_only_one_who_speaks_is_named_too() -> None:
    spoken = Segment(0.0, 1.0, "Hello.", (), Speaker(2))

    (message,) = told(Final(1, 0.0, 1.0, 1.8, "Hello.", (spoken,)))

    assert message["payload"]["speaker"] == "发言人 2"
    assert odd_label("en")(Speaker(2)) == "Speaker 2"


def test_the_acknowledgement_names_what_nobody_has_heard_of() -> None:
    message = cast("dict[str, Any]", wire.acknowledged(Command(), "task", ["colour"]))

    assert message["payload"]["ignored"] == ["colour"]


def test_header_and_payload_share_no_name() -> None:
    """OddASR's client copies both into one object."""
    messages = [
        wire.acknowledged(Command(), "task", ["colour"]),
        wire.sentence("task", 1, 0.0, 1.0, "text", speaker="Anna"),
        wire.failed(Command(), "task", errors.Overloaded("Full.", retry_after=1.0)),
    ]
    for message in messages:
        header, payload = cast("dict[str, dict[str, Any]]", message).values()
        assert not set(header) & set(payload)


def test_a_failure_is_never_called_what_a_browser_takes_for_success() -> None:
    message = wire.failed(Command("SentenceBegin"), "task", errors.InvalidParameter("No."))

    assert cast("dict[str, Any]", message)["header"]["name"] == ""


def test_ids_that_are_no_texts_are_none() -> None:
    command = read_command('{"name": "StartTranscription", "task_id": 7, "message_id": {}}')

    assert (command.task_id, command.message_id) == ("", "")
    assert command.starts
    assert read_command(f'{{"task_id": "{"x" * 1000}"}}').task_id == "x" * 128


def test_a_start_is_no_stop() -> None:
    command = Command(fields=START, name=START["name"])

    assert command.starts
    assert not command.stops


def test_a_close_reason_is_cut_between_characters() -> None:
    assert len(close_reason(errors.InvalidParameter("长" * 100)).encode()) <= 123
