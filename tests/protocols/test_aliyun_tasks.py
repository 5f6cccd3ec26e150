"""Connections of Alibaba Cloud's protocol: who may have one, what they may say when, and how they end."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aliyun_server import KEY, OTHER_KEY, AliyunServer, Talk, named, names, serving_aliyun
from openai_server import wait_until

from app.domain import errors
from app.domain.events import SpeechStarted
from app.protocols.aliyun import ws

SEED, CLOUD = "/ws/v1/asr", "/ws/v1"
SOON = 0.4
"""A time limit that a test has time for, and a busy machine's usual answer keeps."""


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AliyunServer]:
    with serving_aliyun(tmp_path_factory.mktemp("aliyun")) as running:
        yield running


@pytest.fixture
def server(_server: AliyunServer) -> Iterator[AliyunServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(heard.left for heard in _server.service.heard)), "a stream was left behind"


@pytest.fixture
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AliyunServer]:
    with serving_aliyun(tmp_path_factory.mktemp("open"), keys=()) as running:
        yield running


# --- who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"X-NLS-Token": KEY}, ""),
        ({"x-nls-token": OTHER_KEY}, ""),
        ({"Authorization": f"Bearer {KEY}"}, ""),
        ({}, f"?token={KEY}"),
        ({}, f"?appkey=any&token={KEY}"),
    ],
)
@pytest.mark.parametrize("path", [SEED, CLOUD])
def test_a_token_may_be_in_a_header_or_in_the_address(
    server: AliyunServer, path: str, headers: dict[str, str], query: str
) -> None:
    with server.talk(path + query, headers=headers) as client:
        assert client.start()["header"]["name"] == "TranscriptionStarted"


@pytest.mark.parametrize("path", [SEED, CLOUD])
@pytest.mark.parametrize(
    ("headers", "query"), [({}, ""), ({"X-NLS-Token": "a-wrong-one"}, ""), ({}, "?token=a-wrong-one")]
)
def test_without_a_good_one_the_task_fails_and_the_connection_ends(
    server: AliyunServer, path: str, headers: dict[str, str], query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), server.talk(path + query, headers=headers) as client:
        client.say("StartTranscription")
        failure = client.next()
        assert failure["header"]["status"] == 40000001
        assert failure["header"]["task_id"] == client.task_id
        assert "a-wrong-one" not in json.dumps(failure)
        assert client.ends() == 1000
    assert not server.service.heard
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets")]
    assert lines
    assert not [line for line in lines if "a-wrong-one" in line]


def test_who_waits_for_an_answer_before_saying_anything_gets_one(server: AliyunServer) -> None:
    with server.talk(headers={}) as client:
        assert client.fails()[0] == 40000001
        assert client.ends() == 1000


def test_without_keys_anybody_may(open_server: AliyunServer) -> None:
    with open_server.talk(headers={}) as client:
        assert client.start()["header"]["name"] == "TranscriptionStarted"


# --- what may be said when --------------------------------------------------------------------------------------------

State = tuple[str, Any]


def before_the_start(client: Talk, message: object) -> None:
    _say(client, message)


def in_the_middle(client: Talk, message: object) -> None:
    client.start()
    _say(client, message)


def _say(client: Talk, message: object) -> None:
    if isinstance(message, str | bytes):
        client.send(message)
    elif isinstance(message, dict):
        client.say(**message)


STOP, START = {"name": "StopTranscription"}, {"name": "StartTranscription"}
ANYWHERE = [
    ("{not json", 40000002, "MESSAGE_INVALID:The message is not JSON."),
    ("[" * 100_000, 40000002, "MESSAGE_INVALID:The message is not JSON."),
    ("[]", 40000002, "MESSAGE_INVALID:The message has no header."),
    ('"header"', 40000002, "MESSAGE_INVALID:The message has no header."),
    ('{"header": []}', 40000002, "MESSAGE_INVALID:The message has no header."),
    ({**START, "payload": []}, 40000002, "MESSAGE_INVALID:The payload is not an object."),
    ({**START, "task_id": 12}, 40000002, "MESSAGE_INVALID:task_id must be a text of at most 128 characters."),
    ({**START, "task_id": "x" * 129}, 40000002, "MESSAGE_INVALID:task_id must be a text of at most 128 characters."),
    ({**START, "namespace": "SpeechSynthesizer"}, 40010003, "DIRECTIVE_INVALID:Invalid namespace. There are"),
    ({**START, "namespace": None}, 40010003, "DIRECTIVE_INVALID:Invalid namespace. There are"),
    ({"name": "StartRecognition"}, 40010003, "DIRECTIVE_INVALID:Invalid message name. SpeechTranscriber knows"),
    ({"name": None}, 40010003, "DIRECTIVE_INVALID:Invalid message name. SpeechTranscriber knows"),
]
CASES = [
    *((before_the_start, *case) for case in ANYWHERE),
    *((in_the_middle, *case) for case in ANYWHERE),
    (before_the_start, b"sound", 40010005, "TASK_STATE_ERROR:Connection not started"),
    (before_the_start, STOP, 40010005, "TASK_STATE_ERROR:Connection not started"),
    (in_the_middle, START, 40010005, "TASK_STATE_ERROR:Connection already started."),
    (in_the_middle, {**STOP, "task_id": "0" * 32}, 40010005, "TASK_STATE_ERROR:Task ID not match."),
    (
        in_the_middle,
        {"name": "StopRecognition", "namespace": "SpeechRecognizer"},
        40010005,
        "TASK_STATE_ERROR:The task is SpeechTranscriber's.",
    ),
]


@pytest.mark.parametrize(("when", "message", "status", "told"), CASES)
def test_on_funasr_apis_paths_a_mistake_is_answered_and_forgotten(
    server: AliyunServer, when: Any, message: object, status: int, told: str
) -> None:
    with server.talk(SEED) as client:
        when(client, message)
        failure = client.fails()
        assert failure[0] == status
        assert failure[1].startswith(f"Gateway:{told}")
        if when is in_the_middle:
            client.send(b"pause")
            assert named(client.stop(), "SentenceEnd")
        else:
            assert client.goes_on()


@pytest.mark.parametrize(("when", "message", "status", "told"), CASES)
def test_on_the_real_services_path_a_mistake_ends_the_connection(
    server: AliyunServer, when: Any, message: object, status: int, told: str
) -> None:
    with server.talk(CLOUD) as client:
        when(client, message)
        failure = client.fails()
        assert failure[0] == status
        assert failure[1].startswith(f"Gateway:{told}")
        assert client.ends() == 1000


def test_a_message_that_is_no_good_is_never_repeated(server: AliyunServer) -> None:
    with server.talk(SEED) as client:
        for message in (
            '{"header": {"token": "a-secret"',
            '{"header": {"namespace": "a-secret", "name": "x"}}',
            '{"header": {"namespace": "SpeechTranscriber", "name": "a-secret"}}',
            '{"header": {"namespace": "SpeechTranscriber", "name": "StartTranscription", "task_id": ["a-secret"]}}',
        ):
            client.send(message)
            assert "a-secret" not in client.fails()[1]


@pytest.mark.parametrize("name", ["ControlTranscriber", "ControlTranscription"])
@pytest.mark.parametrize("path", [SEED, CLOUD])
def test_control_messages_are_taken_at_any_time(server: AliyunServer, path: str, name: str) -> None:
    with server.talk(path) as client:
        client.say(name, {"any": "thing"})
        client.start()
        client.say(name, {"any": "thing"})
        client.send(b"pause")
        client.say(name, {"any": "thing"}, task_id="0" * 32)
        assert named(client.stop(), "SentenceEnd")


@pytest.mark.parametrize("path", [SEED, CLOUD])
@pytest.mark.parametrize("task_id", ["any", "任务-1", "0123-4567", "\ud800"])
def test_identities_may_be_anything_and_come_back(server: AliyunServer, path: str, task_id: str) -> None:
    with server.talk(path) as client:
        client.task_id = task_id
        told = [client.start(), *client.stop()]
    expected = task_id if task_id != "\ud800" else "?"
    assert {message["header"]["task_id"] for message in told} == {expected}


def test_a_task_without_an_identity_gets_one_and_may_be_stopped_without(server: AliyunServer) -> None:
    with server.talk() as client:
        client.say("StartTranscription", task_id=None)
        given = client.next()["header"]["task_id"]
        assert len(given) == 32
        client.say("StopTranscription", task_id=None)
        (completed,) = client.until("TranscriptionCompleted")
        assert completed["header"]["task_id"] == given


def test_a_stop_may_bring_a_payload_and_be_said_twice(server: AliyunServer) -> None:
    server.service.slow = SOON
    with server.talk(SEED) as client:
        client.start()
        client.send(b"pause")
        client.say("StopTranscription", {"any": "thing"})
        client.say("StopTranscription")
        assert names(client.until("TranscriptionCompleted")) == [
            "SentenceBegin",
            "SentenceEnd",
            "TranscriptionCompleted",
        ]
        assert client.ends() == 1000


def test_sound_after_the_stop_is_not_heard(server: AliyunServer) -> None:
    server.service.slow = SOON
    with server.talk() as client:
        client.start()
        client.send(b"hello")
        client.say("StopTranscription")
        client.send(b"pause")
        client.until("TranscriptionCompleted")
    assert server.heard.data == b"hello"
    assert server.heard.finished


# --- one task after another -------------------------------------------------------------------------------------------


def test_the_real_services_path_has_as_many_tasks_as_one_likes(server: AliyunServer) -> None:
    with server.talk(CLOUD) as client:
        for speech in ("Transcription", "Recognition", "Transcription") * 5:
            client.speech = speech
            assert client.goes_on()
            client.send(b"hello", b"pause")
            told = client.stop()
            assert {message["header"]["task_id"] for message in told} == {client.task_id}
            if speech == "Transcription":
                assert [end["index"] for end in named(told, "SentenceEnd")] == [1]
    assert [heard.left for heard in server.service.heard] == [True] * 15


@pytest.mark.parametrize("path", [SEED, "/ws/v1/asr/funasr"])
@pytest.mark.parametrize("speech", ["Transcription", "Recognition"])
def test_funasr_apis_paths_end_with_the_task(server: AliyunServer, path: str, speech: str) -> None:
    with server.talk(path, speech=speech) as client:
        client.start()
        client.stop()
        assert client.ends() == 1000


def test_what_was_on_its_way_when_a_task_ended_is_no_mistake(server: AliyunServer) -> None:
    with server.talk(CLOUD, speech="Recognition") as client:
        client.start(enable_voice_detection=True)
        client.send(b"begins", b"pause")
        (completed,) = named(client.until("RecognitionCompleted"), "RecognitionCompleted")
        assert completed == {"result": "Hello, world.", "duration": 2400}
        client.send(b"more")
        client.say("StopRecognition")
        assert client.goes_on()
    assert b"more" not in server.service.heard[0].data


def test_a_stop_of_a_task_that_never_was_is_one(server: AliyunServer) -> None:
    with server.talk(CLOUD) as client:
        client.start()
        client.stop()
        client.say("StopTranscription", task_id="0" * 32)
        assert client.fails()[0] == 40010005
        assert client.ends() == 1000


# --- how tasks end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEED, CLOUD])
@pytest.mark.parametrize("before", [[], [b"begins"]])
def test_a_task_without_sound_ends_after_a_while(
    server: AliyunServer, monkeypatch: pytest.MonkeyPatch, path: str, before: list[bytes]
) -> None:
    for name in ("CLOUD", "FUNASR_API"):
        monkeypatch.setattr(ws, name, replace(getattr(ws, name), idle_seconds=SOON))
    with server.talk(path) as client:
        client.start()
        client.send(*before)
        client.say("ControlTranscriber")
        assert client.fails() == (40000004, f"Gateway:IDLE_TIMEOUT:No sound arrived for {SOON:g} s.")
        assert client.ends() == 1000


def test_sound_that_keeps_coming_keeps_the_task(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "CLOUD", replace(ws.CLOUD, idle_seconds=1.5))
    with server.talk(CLOUD) as client:
        client.start()
        for _ in range(8):
            client.send(b"silence")
            time.sleep(0.25)
        assert names(client.stop()) == ["TranscriptionCompleted"]


def test_sound_that_waits_to_be_heard_is_no_silence(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "CLOUD", replace(ws.CLOUD, idle_seconds=1.0))
    server.service.slow = 1.5
    with server.talk(CLOUD) as client:
        client.start()
        client.send(b"silence")
        time.sleep(1.8)
        client.send(b"pause")
        assert named(client.stop(), "SentenceEnd")


def test_a_connection_without_a_task_ends_after_a_while(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "BETWEEN_SECONDS", SOON)
    with server.talk(CLOUD) as client:
        assert client.fails() == (40000004, f"Gateway:IDLE_TIMEOUT:No task was started within {SOON:g} s.")
        assert client.ends() == 1000
    with server.talk(CLOUD) as client:
        client.start()
        client.stop()
        assert client.ends() == 1000


def test_a_recognizer_in_which_nobody_speaks_ends_itself(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.protocols.aliyun.task._GRACE_SECONDS", 0.0)
    with server.talk(speech="Recognition") as client:
        client.start(enable_voice_detection=True, max_start_silence=300)
        client.send(b"silence")
        (completed,) = named(client.until("RecognitionCompleted"), "RecognitionCompleted")
        assert completed["result"] == ""


def test_a_recognizer_in_which_somebody_speaks_does_not(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.protocols.aliyun.task._GRACE_SECONDS", 0.0)
    with server.talk(speech="Recognition") as client:
        client.start(enable_voice_detection=True, max_start_silence=300)
        client.send(b"begins")
        time.sleep(1.0)
        client.send(b"pause")
        (completed,) = named(client.until("RecognitionCompleted"), "RecognitionCompleted")
        assert completed["result"] == "Hello, world."


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Overloaded("Too many.", retry_after=1), 40000005),
        (errors.UnknownModel("Gone."), 40000003),
        (errors.ModelUnavailable("Loading."), 50000000),
        (errors.EngineFailure("Died."), 50000000),
        (errors.UndecodableAudio("Nobody sends that."), 40270003),
    ],
)
@pytest.mark.parametrize("path", [SEED, CLOUD])
def test_a_task_that_is_not_let_in_fails(
    server: AliyunServer, path: str, error: errors.SpeechError, status: int
) -> None:
    server.service.refusal = error
    with server.talk(path) as client:
        client.say("StartTranscription")
        failure = client.fails()
        assert failure[0] == status
        assert failure[1].endswith(f":{error.message}")
        assert client.ends() == 1000


@pytest.mark.parametrize(
    ("error", "payload", "status"),
    [
        (errors.UndecodableAudio("Not sound."), {"format": "mp3"}, 40270003),
        (errors.UndecodableAudio("Not sound."), {"format": "speex"}, 41010100),
        (errors.NoAudioStream("None."), {"format": "webm"}, 40270004),
        (errors.SlowReader("Read."), {}, 40000000),
        (errors.AudioTooLong("Too long."), {}, 41010104),
        (errors.EngineFailure("Died."), {}, 50000000),
    ],
)
def test_what_was_said_before_a_failure_is_told_before_it(
    server: AliyunServer, error: errors.SpeechError, payload: dict[str, object], status: int
) -> None:
    server.service.script["pause"] = [*server.service.script["pause"], error]
    server.service.late = 0.1  # sound is refused before that is told
    with server.talk() as client:
        client.start(**payload)
        client.send(b"pause", b"more", b"more")
        assert names([client.next(), client.next()]) == ["SentenceBegin", "SentenceEnd"]
        assert client.fails()[0] == status
        assert client.ends() == 1000


def test_a_recognizer_that_hears_more_than_a_minute_fails(server: AliyunServer) -> None:
    server.service.seconds = 61.5
    with server.talk(speech="Recognition") as client:
        client.start()
        client.say("StopRecognition")
        assert client.fails()[0] == 41010104
        assert client.ends() == 1000


def test_a_bug_is_told_as_one_without_its_secrets(server: AliyunServer, caplog: pytest.LogCaptureFixture) -> None:
    server.service.script["pause"] = [ZeroDivisionError("secret internals")]
    with server.talk() as client:
        client.start()
        client.send(b"pause")
        assert client.fails() == (50000000, "Gateway:SERVER_ERROR:The server failed; its log says why.")
        assert client.ends() == 1011
    assert "ZeroDivisionError" in caplog.text


# --- how clients leave ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SEED, CLOUD])
@pytest.mark.parametrize("how", ["close", "vanish"])
@pytest.mark.parametrize("when", ["at once", "speaking", "stopped"])
def test_a_client_that_leaves_leaves_nothing(server: AliyunServer, path: str, how: str, when: str) -> None:
    server.service.script[""] = []
    if when == "stopped":
        server.service.slow = 1.0
    with contextlib.suppress(Exception), server.talk(path) as client:
        client.start()
        if when != "at once":
            client.send(b"begins")
        if when == "stopped":
            client.say("StopTranscription")
        if how == "vanish":
            client.connection.socket.close()
    assert len(server.service.heard) == 1
    assert wait_until(lambda: server.service.heard[0].left, 15)


def test_logs_tell_of_tasks_and_not_of_what_was_said(server: AliyunServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), server.talk() as client:
        client.start(enable_intermediate_result=True, hotwords="阿里巴巴")
        client.send(b"begins", b"hello", b"pause")
        client.stop()
        client.task_id = "no\nid"
        client.start()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("app.")]
    assert any("began: SpeechTranscriber, able" in line for line in lines)
    assert any("completed with 1 sentences" in line for line in lines)
    assert not [line for line in lines if "Hello" in line or "阿里" in line or KEY in line or "\n" in line]


def test_speech_in_noise_is_waited_for_again(server: AliyunServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sounded like speech was none: silence counts from there."""
    monkeypatch.setattr("app.protocols.aliyun.task._GRACE_SECONDS", 0.0)
    server.service.script["noise"] = [SpeechStarted(1, 0.1), *server.service.script["noise"][1:]]
    with server.talk(speech="Recognition") as client:
        client.start(enable_voice_detection=True, max_start_silence=400)
        client.send(b"noise")
        assert named(client.until("RecognitionCompleted"), "RecognitionCompleted")[0]["result"] == ""
