"""OddASR's live protocol on a real server: sessions from the first message to the end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from live_service import Script, ScriptedStream, final
from oddasr_server import START, STOP, OddServer, serving_oddasr
from openai_server import KEY, OTHER_KEY, wait_until

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.events import Committed, Partial, SpeechStarted, SpeechStopped, StreamEvent
from app.domain.transcript import Word
from app.protocols.oddasr import session, ws
from app.service.auth import KeyRing

SECOND = bytes(32_000)
HELLO = (Word("Hello,", 0.52, 0.9, 0.9), Word("world.", 1.0, 1.6, 0.8))
SCRIPT: Script = [
    (32_000, SpeechStarted(1, 0.5)),
    (32_000, Partial(1, 0.5, 1.0, "Hello", "Hello")),
    (64_000, Partial(1, 0.5, 1.7, "Hello world", "Hello")),
    (96_000, SpeechStopped(1, 1.6, 2.4)),
    (96_000, final(1, 0.5, 1.6, "Hello, world.", HELLO)),
    ("finish", SpeechStarted(2, 3.0)),
    ("finish", SpeechStopped(2, 4.0, 4.8)),
    ("finish", final(2, 3.0, 4.0, "再见。")),
]


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OddServer]:
    with serving_oddasr(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: OddServer) -> Iterator[OddServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(listened.left for listened in _server.service.listened)), "a stream was left open"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch, _server: OddServer) -> None:
    """Waits are a tenth as long."""
    monkeypatch.setattr(session, "FLUSH_SECONDS", 0.15)
    monkeypatch.setattr(_server.service.settings, "oddasr_idle_seconds", 0.5)
    monkeypatch.setattr(ws, "REST_SECONDS", 0.5)


def told(messages: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [
        (one["header"]["name"], one["payload"]["index"], one["payload"]["result"]) for one in messages
    ]  # fmt: skip


def test_a_session_from_its_start_to_its_stop(server: OddServer) -> None:
    server.service.script = SCRIPT
    with server.talk() as talk:
        ack = talk.start(message_id="m1")
        talk.say(SECOND, SECOND, SECOND, STOP)
        messages = talk.until_end()

    assert ack["header"] == {
        "namespace": "SpeechTranscriber",
        "name": "SentenceBegin",
        "status": 0,
        "status_text": "",
        "task_id": ack["header"]["task_id"],
        "message_id": "m1",
    }
    assert ack["header"]["task_id"]
    assert ack["payload"] == {
        "index": 0,
        "time": 0,
        "begin_time": 0,
        "end_time": 0,
        "result": "",
        "confidence": 1.0,
        "fin": 1,
        "words": [],
    }
    assert told(messages) == [
        ("TranscriptionResultChanged", 1, "Hello"),
        ("TranscriptionResultChanged", 1, "Hello world"),
        ("SentenceEnd", 1, "Hello, world."),
        ("SentenceEnd", 2, "再见。"),
    ]
    assert {one["header"]["task_id"] for one in messages} == {ack["header"]["task_id"]}
    assert {one["header"]["status"] for one in messages} == {0}
    assert server.listened.finished
    assert server.listened.data == SECOND * 3


@pytest.mark.parametrize(
    "stop", [STOP, {"name": "STOP_SESSION_REQ", "task_id": "", "message_id": ""}, {"name": "StopTranscription"}]
)
def test_every_way_to_stop_ends_the_session(server: OddServer, stop: dict[str, str]) -> None:
    server.service.script = SCRIPT
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND, stop)
        assert told(talk.until_end())[-1] == ("SentenceEnd", 2, "再见。")


@pytest.mark.usefixtures("hurried")
def test_a_connection_that_has_stopped_and_begins_no_more_is_closed(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND, STOP)
        talk.until_end()
        assert talk.ends() == 1000


@pytest.mark.usefixtures("hurried")
def test_a_client_that_only_stops_sending_is_told_everything_and_sent_away(server: OddServer) -> None:
    server.service.script = [
        (32_000, SpeechStarted(1, 0.5)),
        (32_000, Partial(1, 0.5, 1.0, "Hello", "Hello")),
        ("commit", SpeechStopped(1, 1.0, 1.0)),
        ("commit", final(1, 0.5, 1.0, "Hello.")),
        ("commit", Committed(1, True, 1.0)),
    ]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        messages = talk.until_end()
        assert talk.ends() == 1000

    assert told(messages) == [("TranscriptionResultChanged", 1, "Hello"), ("SentenceEnd", 1, "Hello.")]
    assert server.listened.cues == ["commit", "finish"], "what was said is over once, and long before the session"


def test_how_long_a_client_may_be_silent_is_a_setting(server: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is less than what makes a sentence final: nothing waits for that then."""
    monkeypatch.setattr(session, "FLUSH_SECONDS", 600.0)
    monkeypatch.setattr(server.service.settings, "oddasr_idle_seconds", 0.1)
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        assert talk.until_end() == []
        assert talk.ends() == 1000

    assert server.listened.cues == ["commit", "finish"]


@pytest.mark.usefixtures("hurried")
def test_sound_goes_on_after_a_pause_that_ended_a_sentence(server: OddServer) -> None:
    server.service.script = [
        ("commit", SpeechStarted(1, 0.5)),
        ("commit", SpeechStopped(1, 1.0, 1.0)),
        ("commit", final(1, 0.5, 1.0, "Hello.")),
        (64_000, SpeechStarted(2, 1.5)),
        (64_000, SpeechStopped(2, 2.0, 2.0)),
        (64_000, final(2, 1.5, 2.0, "Bye.")),
    ]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        first = talk.next()
        talk.say(SECOND)
        second = talk.next()
        assert talk.until_end() == []

    assert told([first, second]) == [("SentenceEnd", 1, "Hello."), ("SentenceEnd", 2, "Bye.")]
    assert server.listened.cues == ["commit", "commit", "finish"]
    assert server.listened.data == SECOND * 2


def test_a_client_may_take_its_time_for_the_first_sound(server: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser's user may have to allow the microphone first."""
    monkeypatch.setattr(session, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(server.service.settings, "oddasr_idle_seconds", 0.02)
    monkeypatch.setattr(session, "FIRST_SECONDS", 0.5)
    with server.talk() as talk:
        talk.start()
        assert talk.until_end() == []
        assert talk.ends() == 1000

    assert server.listened.cues == ["finish"], "there was nothing to be over"


def test_a_text_that_makes_no_sense_is_answered_and_ends_nothing(server: OddServer) -> None:
    server.service.script = SCRIPT
    with server.talk() as talk:
        task_id = talk.start()["header"]["task_id"]
        talk.say("no JSON", {"name": "Pause", "message_id": "m7"}, {**START, "token": KEY})
        answers = [talk.next() for _ in range(3)]
        talk.say(SECOND, SECOND, SECOND, STOP)
        assert len(talk.until_end()) == 4

    assert [one["header"]["status"] for one in answers] == [10020001] * 3
    assert [one["header"]["name"] for one in answers] == ["", "Pause", "StartTranscription"]
    assert [one["header"]["message_id"] for one in answers] == ["", "m7", ""]
    assert {one["header"]["task_id"] for one in answers} == {task_id}


def test_sessions_follow_each_other_on_one_connection(server: OddServer) -> None:
    server.service.script = SCRIPT
    with server.talk() as talk:
        first = talk.start()["header"]["task_id"]
        talk.say(SECOND, STOP, SECOND, STOP)  # what was on its way when it stopped is passed over
        before = talk.until_end()
        second = talk.start()["header"]["task_id"]
        talk.say(SECOND, STOP)
        assert told(talk.until_end()) == told(before)
        assert talk.start(task_id=second)["header"]["task_id"] == second, "its own session may be continued"

    assert first != second
    assert [listened.data for listened in server.service.listened[:2]] == [SECOND, SECOND]


def test_a_start_that_comes_with_the_stop_is_not_overlooked(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start()
        talk.say(STOP, {**START, "token": KEY}, SECOND, STOP)
        assert talk.until_end() == []
        assert talk.next()["header"]["name"] == "SentenceBegin"
        assert talk.until_end() == []

    assert server.listened.data == SECOND


def test_many_connections_at_once_do_not_mix(server: OddServer) -> None:
    server.service.scripts = [
        [("finish", SpeechStarted(1, 0.0)), ("finish", final(1, 0.0, 1.0, text))] for text in ("One.", "Other.")
    ]
    with server.talk() as one, server.talk("/") as other:
        ids = {one.start()["header"]["task_id"], other.start()["header"]["task_id"]}
        for talk, sound in ((one, b"\x01\x00"), (other, b"\x02\x00"), (one, b"\x03\x00")):
            talk.say(sound)
        one.say(STOP)
        other.say(STOP)
        assert told(one.until_end()) == [("SentenceEnd", 1, "One.")]
        assert told(other.until_end()) == [("SentenceEnd", 1, "Other.")]

    assert len(ids) == 2
    assert sorted(listened.data for listened in server.service.listened) == [b"\x01\x00\x03\x00", b"\x02\x00"]


@pytest.mark.usefixtures("hurried")
def test_a_compressed_file_that_ends_without_a_word_is_told_to_its_end(server: OddServer) -> None:
    server.service.script, server.service.compressed = SCRIPT, True
    with server.talk() as talk:
        talk.start()
        talk.say(b"fLaC" + bytes(1000))
        assert told(talk.until_end())[-1] == ("SentenceEnd", 2, "再见。")
        assert talk.ends() == 1000

    assert server.listened.cues == ["finish"]


def test_words_come_unless_they_are_not_wanted(server: OddServer) -> None:
    server.service.script = SCRIPT
    counts = []
    for fields in ({}, {"enable_words": False}):
        with server.talk() as talk:
            talk.start(**fields)
            talk.say(SECOND, STOP)
            counts.append([len(one["payload"]["words"]) for one in talk.until_end() if "words" in one["payload"]])

    assert [max(one) for one in counts] == [2, 0]


def test_an_error_has_no_name_that_means_success(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start()
        for name in ("SentenceEnd", "SentenceBegin", "TranscriptionResultChanged"):
            talk.say({"name": name})
            header = talk.next()["header"]
            assert (header["name"], header["status"]) == ("", 10020001)


@pytest.mark.parametrize("hotwords", [False, 0, 3.5, True])
def test_hotwords_are_no_numbers(server: OddServer, hotwords: object) -> None:
    with server.talk() as talk:
        talk.say({**START, "token": KEY, "hotwords": hotwords})
        assert talk.fails()[0] == 10020001


def test_what_is_empty_at_the_top_does_not_hide_the_payload(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start(max_sentence_silence=None, payload={"max_sentence_silence": 300})

    assert server.listened.live.silence_seconds == 0.3


def test_sound_is_samples_at_16_khz_unless_the_start_says_otherwise(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start()
    with server.talk() as talk:
        talk.start(format="wav", sample_rate="8000")

    assert [one.declared for one in server.service.listened] == [
        DeclaredSound("s16le", 16_000),
        DeclaredSound("s16le", 8_000),
    ]


@pytest.mark.parametrize("path", ["/v1/asr", "/", "/anything/else"])
def test_every_path_will_do(server: OddServer, path: str) -> None:
    with server.talk(path) as talk:
        assert talk.start()["header"]["status"] == 0


def test_a_browser_that_looks_at_the_port_is_told_what_it_is(server: OddServer) -> None:
    answer = httpx.get(f"http://127.0.0.1:{server.port}/")

    assert answer.status_code == 426
    assert "OddASR" in answer.text


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", None, 7, "\ud800"])
def test_without_a_good_key_nothing_begins(server: OddServer, token: object) -> None:
    with server.talk() as talk:
        talk.say({**START, "token": token})
        status, text = talk.fails()
        assert talk.ends() == 1008

    assert (status, text.split(":")[0]) == (40000001, "EM_ERR_ASR_AUTH_ERROR")
    assert server.service.listened == []


def test_the_key_may_be_in_the_start_a_header_or_the_address(server: OddServer) -> None:
    with server.talk() as talk:
        talk.start(token=OTHER_KEY)
    with server.talk(headers={"Authorization": f"Bearer {OTHER_KEY}"}) as talk:
        talk.start(token="any")
    with server.talk(f"/v1/asr?token={KEY}") as talk:
        talk.start(token="")

    keyring: KeyRing = server.state.keyring
    owners = [keyring.owner([(b"x-nls-token", key.encode())]) for key in (OTHER_KEY, OTHER_KEY, KEY)]
    assert [one.caller.key for one in server.service.listened] == owners


def test_a_server_without_keys_takes_any_token(server: OddServer) -> None:
    with server.keys(), server.talk() as talk:
        assert talk.start(token="whatever")["header"]["status"] == 0


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "name", "told"),
    [
        ("no JSON", "", "must be a JSON object"),
        ("[]", "", "must be a JSON object"),
        ("{}", "", "The first message must be"),
        ({"name": "StopTranscription"}, "StopTranscription", "The first message must be"),
        ({"header": {"name": "StartTranscription"}, "payload": {}}, "", "Alibaba Cloud's is at /ws/v1"),
        (b"\x00\x00", "", "The first message must be"),
        ("[" * 100_000, "", "must be a JSON object"),
        (" " * 1_100_000, "", "characters at most"),
    ],
)
def test_a_first_message_that_is_no_start_is_refused(server: OddServer, first: Any, name: str, told: str) -> None:
    with server.talk() as talk:
        talk.say(first)
        message = talk.next()
        assert talk.ends() == 1008

    assert (message["header"]["name"], message["header"]["status"]) == (name, 10020001)
    assert message["header"]["status_text"].startswith("EM_ERR_ASR_ARGS_ERROR: ")
    assert told in message["header"]["status_text"]
    assert message["payload"]["result"] == ""


def test_nobody_elses_session_can_be_continued(server: OddServer) -> None:
    with server.talk() as talk, server.talk() as other:
        other.say({**START, "token": KEY, "task_id": talk.start()["header"]["task_id"]})
        status, text = other.fails()
        assert other.ends() == 1008

    assert (status, text.split(":")[0]) == (10020003, "EM_ERR_ASR_SESSION_ID_NOVALID")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Overloaded("Full.", retry_after=5.0), 40000005, 1013),
        (errors.ModelUnavailable("Loading.", retry_after=5.0), 51040103, 1013),
        (errors.EngineFailure("Broken."), 50000000, 1011),
        (RuntimeError("a secret"), 50000000, 1011),
    ],
)
def test_a_stream_that_is_not_to_be_had_is_refused(server: OddServer, error: Exception, status: int, code: int) -> None:
    server.service.refusal = error
    with server.talk() as talk:
        talk.say({**START, "token": KEY})
        failure = talk.fails()
        assert talk.ends() == code

    assert failure[0] == status
    assert "secret" not in failure[1]


def test_a_stream_that_fails_tells_what_it_knew_and_then_why(server: OddServer) -> None:
    server.service.script = [*SCRIPT[:5], (128_000, errors.UndecodableAudio("No sound."))]
    with server.talk() as talk:
        task_id = talk.start()["header"]["task_id"]
        talk.say(SECOND, SECOND, SECOND)
        assert told([talk.next() for _ in range(3)])[-1] == ("SentenceEnd", 1, "Hello, world.")
        talk.say(SECOND)
        message = talk.next()
        assert talk.ends() == 1008

    assert (message["header"]["status"], message["header"]["task_id"]) == (41040203, task_id)


def test_a_client_that_never_begins_is_sent_away(server: OddServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "START_SECONDS", 0.2)
    with server.talk() as talk:
        assert talk.fails()[0] == 40000004
        assert talk.ends() == 1008


@pytest.mark.parametrize("said", [(), (SECOND,), (SECOND, STOP)])
def test_a_client_that_vanishes_leaves_nothing(server: OddServer, said: tuple[Any, ...]) -> None:
    server.service.slow = 0.05
    with server.talk() as talk:
        talk.start()
        talk.say(*said)
        talk.connection.socket.close()

    assert wait_until(lambda: server.listened.left)


def test_sound_that_comes_after_a_failure_takes_no_text_away(
    server: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was heard before it is still on its way to the client when the next sound cannot be heard any more."""
    events = ScriptedStream.events

    async def late(stream: ScriptedStream) -> AsyncIterator[StreamEvent]:
        await asyncio.sleep(0.3)
        async for event in events(stream):
            yield event

    monkeypatch.setattr(ScriptedStream, "events", late)
    server.service.script = [(32_000, final(1, 0.5, 1.6, "Hello.")), (32_000, errors.EngineFailure("Broken."))]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND, SECOND)
        assert told([talk.next()]) == [("SentenceEnd", 1, "Hello.")]
        assert talk.fails()[0] == 50000000
        assert talk.ends() == 1011
