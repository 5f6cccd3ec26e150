"""The shapes that FunASR's clients read: times, sentences, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_server import characters, segment

from app.domain import errors
from app.domain.errors import SpeechError
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Word
from app.protocols.closing import close_code, close_reason
from app.protocols.funasr.opening import OtherDialect
from app.protocols.funasr.wire import (
    Message,
    acknowledgement,
    error_detail,
    failure,
    result,
    stamped,
)
from app.protocols.labels import numbered


def stamps(*segments: Segment) -> Message:
    return stamped(result("offline", "".join(it.text for it in segments), "demo", final=True), segments, numbered("en"))


def pairs(message: Message) -> Any:
    assert isinstance(message["timestamp"], str), "clients fail on anything but a string"
    return json.loads(message["timestamp"])


def test_chinese_has_a_pair_of_milliseconds_for_every_character_and_none_for_marks() -> None:
    message = stamps(segment("你好，世界。", 0.0, 1.2, characters("你好，世界。", 0.0, 0.3)))

    assert pairs(message) == [[0, 300], [300, 600], [600, 900], [900, 1200]]


def test_sentences_end_at_every_mark() -> None:
    message = stamps(segment("你好，世界。", 0.0, 1.2, characters("你好，世界。", 0.0, 0.3)))

    assert message["stamp_sents"] == [
        {"text_seg": "你 好", "punc": "，", "start": 0, "end": 600, "ts_list": [(0, 300), (300, 600)]},
        {"text_seg": "世 界", "punc": "。", "start": 600, "end": 1200, "ts_list": [(600, 900), (900, 1200)]},
    ]


def test_english_has_a_pair_for_every_word() -> None:
    words = (Word("It's", 0.0, 0.4), Word("fine,", 0.5, 0.9), Word("well-known", 1.0, 2.0), Word("now!", 2.1, 2.5))
    message = stamps(segment("It's fine, well-known now!", 0.0, 2.5, words))

    assert pairs(message) == [[0, 400], [500, 900], [1000, 1500], [1500, 2000], [2100, 2500]]
    assert [(it["text_seg"], it["punc"]) for it in message["stamp_sents"]] == [
        ("It's fine", ","),
        ("well known now", "!"),
    ]


def test_a_word_of_several_characters_shares_its_time_among_them() -> None:
    message = stamps(segment("你好世界。", 1.0, 2.0, (Word("你好世界。", 1.0, 2.0),)))

    assert pairs(message) == [[1000, 1250], [1250, 1500], [1500, 1750], [1750, 2000]]


def test_digits_are_counted_like_characters_and_their_points_end_no_sentence() -> None:
    words = (Word("涨了", 0.0, 0.4), Word("3.5", 0.4, 1.0, space_before=False), Word("倍。", 1.0, 1.2))
    message = stamps(segment("涨了3.5倍。", 0.0, 1.2, words))

    assert pairs(message) == [[0, 200], [200, 400], [400, 700], [700, 1000], [1000, 1200]]
    assert [it["punc"] for it in message["stamp_sents"]] == ["。"]


def test_chinese_among_english_is_cut_into_characters() -> None:
    message = stamps(segment("用iPhone拍", 0.0, 0.9, (Word("用iPhone拍", 0.0, 0.9),)))

    assert message["stamp_sents"][0]["text_seg"] == "用 iPhone 拍"


def test_without_word_times_there_is_no_timestamp_but_there_are_sentences() -> None:
    message = stamps(segment("Version 3.5 is here. Yes", 0.5, 2.5))

    assert "timestamp" not in message, "a wrong one would be worse: clients index it"
    assert message["stamp_sents"] == [
        {"text_seg": "Version 3 5 is here", "punc": ".", "start": 500, "end": 2500, "ts_list": []},
        {"text_seg": "Yes", "punc": "", "start": 500, "end": 2500, "ts_list": []},
    ]


def test_a_timestamp_covers_all_of_the_text_or_there_is_none() -> None:
    timed = segment("你好。", 0.0, 0.6, characters("你好。", 0.0, 0.3))

    assert "timestamp" not in stamps(timed, segment("再见。", 1.0, 2.0))
    assert "timestamp" in stamps(timed, segment("  ", 1.0, 2.0))


def test_nothing_said_has_neither_times_nor_sentences() -> None:
    assert stamps() == {"mode": "offline", "text": "", "wav_name": "demo", "is_final": True}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AuthenticationFailed("no"), "AUTHENTICATION_FAILED"),
        (errors.Overloaded("full", retry_after=2), "SERVICE_OVERLOADED"),
        (errors.ModelUnavailable("loading"), "SERVICE_UNAVAILABLE"),
        (errors.DownloadFailed("nowhere"), "SERVICE_UNAVAILABLE"),
        (errors.UndecodableAudio("noise"), "AUDIO_DATA_CORRUPTED"),
        (errors.AudioTooShort("short"), "AUDIO_DATA_CORRUPTED"),
        (errors.InvalidParameter("no rate", param="audio_fs"), "INVALID_SAMPLE_RATE"),
        (errors.InvalidParameter("no JSON"), "INVALID_MESSAGE_FORMAT"),
        (OtherDialect("START"), "PROTOCOL_ERROR"),
        (errors.InvalidParameter("what", param="mode"), "INVALID_VALUE"),
        (errors.UnknownModel("who"), "MODEL_NOT_FOUND"),
        (errors.UploadTooLarge("large"), "UPLOAD_TOO_LARGE"),
        (errors.DeadlineExceeded("late"), "INTERNAL_SERVER_ERROR"),
        (errors.EngineFailure("dead"), "INTERNAL_SERVER_ERROR"),
    ],
)
def test_errors_have_the_codes_that_funasr_python_tells_apart(error: SpeechError, code: str) -> None:
    detail = error_detail(error)

    assert detail["code"] == code
    assert detail["message"] == error.message
    assert detail["details"]["code"] == error.code


def test_an_error_says_which_key_is_at_fault_and_when_to_come_back() -> None:
    assert error_detail(errors.InvalidParameter("what", param="mode"))["details"]["param"] == "mode"
    assert error_detail(errors.Overloaded("full", retry_after=2))["details"]["retry_after"] == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UndecodableAudio("noise"), 1008),
        (errors.AuthenticationFailed("no"), 1008),
        (errors.Overloaded("full", retry_after=2), 1013),
        (errors.DownloadFailed("nowhere"), 1013),
        (errors.EngineFailure("dead"), 1011),
        (errors.DeadlineExceeded("late"), 1011),
    ],
)
def test_a_connection_ends_with_a_code_that_says_whose_fault_it_is(error: SpeechError, code: int) -> None:
    assert close_code(error) == code


def test_the_reason_of_an_end_is_the_message_as_far_as_there_is_room() -> None:
    assert close_reason(errors.EngineFailure("dead")) == "dead"
    assert close_reason(errors.EngineFailure("字" * 100)) == "字" * 41


def test_the_end_of_a_success_is_final_and_that_of_a_failure_is_not() -> None:
    ended = {"mode": "2pass", "text": "", "wav_name": "demo", "is_end": True}

    assert acknowledgement("2pass", "demo") == ended | {"is_final": True}
    failed = failure(errors.EngineFailure("dead"), "2pass", "demo")
    assert failed == ended | {"is_final": False, "error": error_detail(errors.EngineFailure("dead"))}


def test_a_recording_tells_who_says_each_sentence_and_who_says_most() -> None:
    words = (Word("Hello.", 0.0, 1.0),), (Word("Goodbye, then.", 1.0, 4.0),)
    segments = [
        Segment(0.0, 1.0, "Hello.", words[0], Speaker(0)),
        Segment(1.0, 4.0, "Goodbye, then.", words[1], Speaker(1, "Anna")),
    ]
    message = stamps(*segments)

    assert (message["spk"], message["spk_name"]) == (1, "Anna")
    told = [(one["text_seg"], one["spk"], one["spk_name"]) for one in message["stamp_sents"]]
    assert told == [("Hello", 0, "Speaker1"), ("Goodbye", 1, "Anna"), ("then", 1, "Anna")]
