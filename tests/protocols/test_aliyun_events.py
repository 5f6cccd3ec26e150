"""What a client of Alibaba Cloud's protocol is told of what is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aliyun_server import HELLO_WORDS, AliyunServer, final, named, names, serving_aliyun

from app.domain.events import Closed, Final, Partial, SpeechStarted, StreamEvent
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Word
from app.protocols.aliyun.rendering import LONGEST_SECONDS, Recognition, Rendering, Transcription
from app.protocols.aliyun.wire import Status, TaskFailure
from app.protocols.labels import numbered
from app.protocols.words import bare_words

HEX = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AliyunServer]:
    with serving_aliyun(tmp_path_factory.mktemp("aliyun")) as running:
        yield running


@pytest.fixture
def server(_server: AliyunServer) -> AliyunServer:
    _server.service.forget()
    return _server


def test_a_sentence_begins_with_its_first_text_changes_and_ends(server: AliyunServer) -> None:
    with server.talk() as client:
        client.start(enable_intermediate_result=True)
        client.send(b"begins", b"hello", b"hello world", b"pause", b"noise", b"more")
        told = client.stop()
    assert names(told) == [
        "SentenceBegin",
        "TranscriptionResultChanged",
        "TranscriptionResultChanged",
        "SentenceEnd",
        "SentenceBegin",
        "TranscriptionResultChanged",
        "SentenceEnd",
        "TranscriptionCompleted",
    ]
    assert named(told, "SentenceBegin") == [{"index": 1, "time": 500}, {"index": 2, "time": 5000}]
    changes = [(one["index"], one["time"], one["result"]) for one in named(told, "TranscriptionResultChanged")]
    assert changes == [(1, 1000, "Hello"), (1, 1700, "Hello, world"), (2, 5900, "How")]
    ends = [(one["index"], one["begin_time"], one["time"], one["result"]) for one in named(told, "SentenceEnd")]
    assert ends == [(1, 500, 2400, "Hello, world."), (2, 5000, 7000, "How are you?")]
    assert named(told, "TranscriptionCompleted") == [None]


def test_every_message_has_a_header_of_its_own(server: AliyunServer) -> None:
    with server.talk() as client:
        told = [client.start(enable_intermediate_result=True)]
        client.send(b"hello", b"pause")
        told += client.stop()
        for message in told:
            header = message["header"]
            assert header["namespace"] == "SpeechTranscriber"
            assert header["task_id"] == client.task_id
            assert header["status"] == 20000000
            assert header["status_message"] == "GATEWAY|SUCCESS|Success."
            assert header["status_text"] == "Gateway:SUCCESS:Success."
    identities = [message["header"]["message_id"] for message in told]
    assert all(HEX.fullmatch(identity) for identity in identities)
    assert len(set(identities)) == len(identities)


def test_the_end_of_a_sentence_has_all_that_clients_read(server: AliyunServer) -> None:
    with server.talk() as client:
        client.start(enable_words=True)
        client.send(b"begins", b"pause")
        (end,) = named(client.stop(), "SentenceEnd")
    assert HEX.fullmatch(end.pop("sentence_id"))
    assert end == {
        "index": 1,
        "time": 2400,
        "begin_time": 500,
        "result": "Hello, world.",
        "confidence": 0.85,
        "words": [
            {"text": "Hello", "startTime": 520, "endTime": 900},
            {"text": "world", "startTime": 1000, "endTime": 1600},
        ],
        "status": 0,
        "gender": "",
        "gender_score": 0.0,
        "fixed_result": "",
        "unfixed_result": "",
        "audio_extra_info": "",
        "stash_result": {
            "sentenceId": 2,
            "beginTime": 2400,
            "text": "",
            "fixedText": "",
            "unfixedText": "",
            "currentTime": 2400,
            "words": [],
        },
    }


def test_numbers_are_whole_where_java_wants_it_and_not_where_cpp_wants_that(server: AliyunServer) -> None:
    with server.talk() as client:
        client.start(enable_intermediate_result=True, enable_words=True)
        client.send(b"hello", b"pause", b"noise", b"more")
        client.say("StopTranscription")
        texts = [str(client.connection.recv(20)) for _ in range(6)]
    assert "SentenceEnd" in texts[-1]
    for text in texts:
        assert all("." in figure for figure in re.findall(r'"confidence":([^,}]+)', text)), text
        whole = re.findall(r'"(?:index|time|begin_time|startTime|endTime|status)":([^,}]+)', text)
        assert whole
        assert all(figure.isdigit() for figure in whole), text


def test_words_are_told_only_to_those_who_ask(server: AliyunServer) -> None:
    with server.talk() as client:
        client.start()
        client.send(b"pause")
        (end,) = named(client.stop(), "SentenceEnd")
    assert end["words"] == []
    assert server.heard.options.timed is False


def test_without_intermediate_results_a_sentence_has_two_messages(server: AliyunServer) -> None:
    with server.talk() as client:
        client.start()
        client.send(b"begins", b"hello", b"hello world", b"pause")
        told = client.stop()
    assert names(told) == ["SentenceBegin", "SentenceEnd", "TranscriptionCompleted"]


def test_text_is_sent_as_it_is(server: AliyunServer) -> None:
    server.service.script[""] = [final(1, 0.0, 1.0, "今天天气很好。😀")]
    with server.talk() as client:
        client.start()
        client.say("StopTranscription")
        texts = [str(client.connection.recv(20)) for _ in range(2)]
    assert "今天天气很好。😀" in texts[1]


def test_a_recognizer_gives_all_that_was_said_as_one_text(server: AliyunServer) -> None:
    with server.talk(speech="Recognition") as client:
        assert "payload" not in client.start(enable_intermediate_result=True)
        client.send(b"begins", b"hello", b"hello world", b"pause", b"noise", b"more")
        told = client.stop()
        assert {message["header"]["namespace"] for message in told} == {"SpeechRecognizer"}
    assert named(told, "RecognitionResultChanged") == [
        {"result": "Hello", "duration": 1000},
        {"result": "Hello, world", "duration": 1700},
        {"result": "Hello, world. How", "duration": 5900},
    ]
    assert named(told, "RecognitionCompleted") == [{"result": "Hello, world. How are you?", "duration": 8000}]


def test_a_recognizer_without_intermediate_results_has_one_message(server: AliyunServer) -> None:
    with server.talk(speech="Recognition") as client:
        client.start()
        client.send(b"begins", b"hello", b"pause")
        assert names(client.stop()) == ["RecognitionCompleted"]


def test_a_recognizer_that_heard_nothing_says_so(server: AliyunServer) -> None:
    with server.talk(speech="Recognition") as client:
        client.start()
        assert named(client.stop(), "RecognitionCompleted") == [{"result": "", "duration": 8000}]


# --- the renderings by themselves -------------------------------------------------------------------------------------


def told(rendering: Rendering, *events: StreamEvent) -> list[tuple[str, Any]]:
    return [message for event in events for message in rendering.messages(event)]


def brief(messages: list[tuple[str, Any]]) -> list[tuple[str, int | None, str | None]]:
    return [(name, (payload or {}).get("index"), (payload or {}).get("result")) for name, payload in messages]


def transcription() -> Transcription:
    return Transcription(intermediate=True, words=True, label=numbered("en"))


def test_a_text_that_comes_before_its_turn_waits_for_it() -> None:
    messages = told(
        transcription(),
        SpeechStarted(1, 0.0),
        Partial(1, 0.0, 1.0, "one", ""),
        SpeechStarted(2, 3.0),
        Partial(2, 3.0, 4.0, "t", ""),
        Partial(2, 3.0, 4.1, "tw", ""),
        final(1, 0.0, 1.5, "one."),
        Partial(2, 3.0, 4.2, "two", ""),
        final(2, 3.0, 4.4, "two."),
    )
    assert brief(messages) == [
        ("SentenceBegin", 1, None),
        ("TranscriptionResultChanged", 1, "one"),
        ("SentenceEnd", 1, "one."),
        ("SentenceBegin", 2, None),
        ("TranscriptionResultChanged", 2, "tw"),
        ("TranscriptionResultChanged", 2, "two"),
        ("SentenceEnd", 2, "two."),
    ]


def test_a_text_that_vanished_ends_its_sentence_all_the_same() -> None:
    messages = told(transcription(), Partial(1, 0.0, 1.0, "oh", ""), final(1, 0.0, 1.5, ""))
    assert brief(messages)[-1] == ("SentenceEnd", 1, "")


def test_noise_counts_for_nothing() -> None:
    messages = told(
        transcription(),
        SpeechStarted(1, 0.0),
        Partial(1, 0.0, 1.0, "", ""),
        final(1, 0.0, 1.5, ""),
        final(2, 3.0, 4.0, "two."),
    )
    assert brief(messages) == [("SentenceBegin", 1, None), ("SentenceEnd", 1, "two.")]


def segment(start: float, end: float, text: str, speaker: Speaker | None) -> Segment:
    return Segment(start, end, text, (Word(text, start, end, speaker=speaker),), speaker)


def spoken(*segments: Segment, text: str) -> Final:
    return Final(1, segments[0].start, segments[-1].end, segments[-1].end + 0.8, text, segments)


def test_a_sentence_tells_its_speaker_by_name_or_number() -> None:
    for speaker, label in ((Speaker(1), "Speaker2"), (Speaker(0, "安娜"), "安娜")):
        one = spoken(segment(0.0, 1.0, "One.", speaker), text="One.")
        payload = told(transcription(), one)[-1][1]
        assert (payload["speaker"], payload["speaker_id"]) == (label, speaker.number)


def test_without_being_asked_nothing_is_said_of_speakers() -> None:
    payload = told(transcription(), final(1, 0.0, 1.0, "One."))[-1][1]
    assert not [key for key in payload if "speaker" in key]


def test_where_the_speaker_changes_another_sentence_begins() -> None:
    """Times and texts are each one's own, and the next utterance is counted on."""
    anna, bob = Speaker(0, "Anna"), Speaker(1)
    utterance = spoken(
        segment(0.5, 1.0, "Well.", anna),
        segment(1.0, 2.0, "I see.", anna),
        segment(2.0, 3.0, "Do you?", bob),
        segment(3.1, 4.0, "Yes.", anna),
        text="Well. I see. Do you? Yes.",
    )
    following = Final(2, 6.0, 7.0, 7.8, "So.", (segment(6.0, 7.0, "So.", bob),))
    messages = told(transcription(), Partial(1, 0.5, 2.5, "Well I see do", ""), utterance, following)
    ends = [payload for name, payload in messages if name == "SentenceEnd"]
    assert [(one["index"], one["speaker"], one["result"]) for one in ends] == [
        (1, "Anna", "Well. I see."),
        (2, "Speaker2", "Do you?"),
        (3, "Anna", "Yes."),
        (4, "Speaker2", "So."),
    ]
    assert [(one["begin_time"], one["time"]) for one in ends] == [(500, 2000), (2000, 3000), (3100, 4800), (6000, 7800)]
    assert [len(one["words"]) for one in ends] == [2, 1, 1, 1]
    begins = [payload["index"] for name, payload in messages if name == "SentenceBegin"]
    assert begins == [1, 2, 3, 4]


def test_a_sentence_whose_speaker_could_not_be_told_has_none() -> None:
    nobody, bob = segment(0.0, 1.0, "One.", None), segment(1.0, 2.0, "Two.", Speaker(0))
    ends = [payload for name, payload in told(transcription(), spoken(nobody, bob, text="One. Two.")) if "End" in name]
    assert [(one["result"], one.get("speaker")) for one in ends] == [("One.", None), ("Two.", "Speaker1")]


def test_a_recognition_joins_texts_as_they_are_written() -> None:
    chinese = Recognition(intermediate=False, ends_itself=False)
    messages = told(chinese, final(1, 0, 1, "今天天气很好。"), final(2, 2, 3, "我们去公园。"), Closed(4.0))
    assert messages == [("RecognitionCompleted", {"result": "今天天气很好。我们去公园。", "duration": 4000})]


def test_a_recognition_is_in_the_order_of_speech() -> None:
    early = Recognition(intermediate=False, ends_itself=False)
    messages = told(early, Partial(2, 2, 3, "two", ""), final(1, 0, 1, "one."), final(2, 2, 3, "two."), Closed(4.0))
    assert messages == [("RecognitionCompleted", {"result": "one. two.", "duration": 4000})]


def test_a_recognition_that_ends_itself_does_so_with_the_first_words() -> None:
    rendering = Recognition(intermediate=False, ends_itself=True)
    assert told(rendering, final(1, 0, 1, "")) == []
    assert not rendering.over
    assert told(rendering, final(2, 2, 3, "Go.")) == [("RecognitionCompleted", {"result": "Go.", "duration": 3800})]
    assert rendering.over


@pytest.mark.parametrize(
    "event",
    [
        Partial(1, 0.0, LONGEST_SECONDS + 0.1, "on and on", ""),
        Final(1, 0.0, 60.0, LONGEST_SECONDS + 0.1, "on and on"),
        Closed(LONGEST_SECONDS + 0.1),
    ],
)
def test_a_recognition_of_more_than_a_minute_fails(event: StreamEvent) -> None:
    with pytest.raises(TaskFailure) as caught:
        told(Recognition(intermediate=False, ends_itself=False), event)
    assert caught.value.status is Status.TOO_LONG_SPEECH


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Hello,", "Hello"),
        ("“don't”", "don't"),
        ("天。", "天"),
        ("C++", "C++"),
        ("50%。", "50%"),
        ("C#", "C#"),
        ("&", "&"),
        ("...", None),
    ],
)
def test_words_come_without_the_marks_round_them(text: str, bare: str | None) -> None:
    assert [word.text for word in bare_words((Word(text, 0.0, 1.0),))] == ([bare] if bare else [])


def test_a_confidence_that_is_not_known_is_one() -> None:
    unsure = [Word(word.text, word.start, word.end) for word in HELLO_WORDS]
    ((_, end),) = [
        message
        for message in told(transcription(), final(1, 0.0, 1.0, "Hello, world.", tuple(unsure)))
        if message[0] == "SentenceEnd"
    ]
    assert json.dumps(end["confidence"]) == "1.0"
