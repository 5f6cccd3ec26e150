"""Sessions of Qwen's live protocol: who may have one, what may be said when, and how they end."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai_server import KEY, OTHER_KEY, wait_until
from qwen_live_server import SECOND, QwenServer, Talk, serving_qwen, utterance
from websockets.exceptions import ConnectionClosed

from app.domain import errors
from app.protocols.qwen import session, ws
from app.protocols.qwen.ws import OLD_PATH, PATH


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QwenServer]:
    with serving_qwen(tmp_path_factory.mktemp("qwen")) as running:
        yield running


@pytest.fixture
def server(_server: QwenServer) -> Iterator[QwenServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


# --- who, and when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, OLD_PATH])
@pytest.mark.parametrize(("key", "query"), [(KEY, ""), (OTHER_KEY, ""), (None, f"?token={KEY}")])
def test_a_token_may_be_in_a_header_or_in_the_address(
    server: QwenServer, path: str, key: str | None, query: str
) -> None:
    with server.talk(query, key=key, path=path) as talk:
        assert talk.start()["type"] == "started"
        talk.stop()


@pytest.mark.parametrize(("key", "query"), [(None, ""), ("a-wrong-one", ""), (None, "?token=a-wrong-one&task_id=x")])
def test_without_a_good_one_the_client_is_told_and_sent_away(
    server: QwenServer, key: str | None, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), server.talk(query, key=key) as talk:
        message = talk.next()
        assert talk.ends() == 1008

    assert message["error_code"] == "AUTHENTICATION_FAILED"
    assert "?token=" in message["message"], "it says what to do"
    assert message["details"] == {"code": "invalid_api_key"}
    assert message["task_id"] == ("x" if query else message["task_id"])
    assert "a-wrong-one" not in json.dumps(message) + caplog.text
    assert not server.service.listened


def test_without_a_task_id_one_is_made(server: QwenServer) -> None:
    with server.talk() as talk, server.talk() as other:
        made = {one.start()["task_id"] for one in (talk, other)}
        assert {len(task_id) for task_id in made} == {8}
        assert len(made) == 2
        assert {message["task_id"] for message in talk.stop()} < made
        other.stop()


def test_sound_before_the_start_is_told_once_and_forgotten(server: QwenServer) -> None:
    with server.talk() as talk:
        talk.say(SECOND, SECOND, SECOND)
        assert talk.fails() == "INVALID_STATE"
        assert talk.start()["type"] == "started"
        talk.stop()
    assert server.listened.data == b""


@pytest.mark.parametrize(
    ("said", "code", "param"),
    [
        ("{broken", "INVALID_MESSAGE", None),
        ({"type": "begin"}, "INVALID_MESSAGE", None),
        ({"type": "start", "payload": {"language": "Klingonese"}}, "INVALID_PARAMETER", "language"),
        ({"type": "start", "payload": {"model": "nobody"}}, "INVALID_PARAMETER", "model"),
        ({"type": "start", "payload": {"sample_rate": 1}}, "UNSUPPORTED_SAMPLE_RATE", "sample_rate"),
        ({"type": "start", "payload": {"voices": ["nobody"]}}, "INVALID_PARAMETER", "voices"),
    ],
)
def test_a_message_that_makes_no_sense_before_the_start_may_be_mended(
    server: QwenServer, said: Any, code: str, param: str | None
) -> None:
    with server.talk() as talk:
        talk.say(said)
        message = talk.next()
        assert (message["type"], message["error_code"], message["details"].get("param")) == ("error", code, param)
        talk.say(SECOND)  # of which nothing more need be said
        assert talk.start()["type"] == "started"
        talk.stop()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{broken", "INVALID_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ({"type": "pause"}, "INVALID_MESSAGE"),
        ({"type": "start"}, "INVALID_STATE"),
    ],
)
def test_a_message_that_makes_no_sense_in_the_middle_ends_nothing(server: QwenServer, said: Any, code: str) -> None:
    server.service.script = utterance(1, 64_000, "Hello.")
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND, said)
        assert talk.fails() == code
        talk.say(SECOND)
        assert talk.stop()[-1]["result"]["full_text"] == "Hello."


def test_a_stop_without_a_start_is_told_and_ends_the_connection(server: QwenServer) -> None:
    with server.talk() as talk:
        talk.say({"type": "stop"})
        assert talk.fails() == "INVALID_STATE"
        assert talk.ends() == 1008


def test_what_comes_after_the_stop_changes_nothing(server: QwenServer) -> None:
    server.service.script = [("finish", event) for _, event in utterance(1, 0, "Hello.", silence=0.1)]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND, {"type": "stop"})
        with contextlib.suppress(ConnectionClosed):  # it may be over by now
            talk.say({"type": "stop"}, SECOND, "{broken")
        assert talk.until("final")[-1]["result"]["text"] == "Hello."
        assert talk.ends() == 1000
    assert server.listened.data == SECOND


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "code", "closed"),
    [
        (errors.Overloaded("Too many.", retry_after=5), "TOO_MANY_REQUESTS", 1013),
        (errors.ModelUnavailable("Loading."), "DEFAULT_SERVER_ERROR", 1013),
        (errors.EngineFailure("It died."), "DEFAULT_SERVER_ERROR", 1011),
        (errors.UnknownModel("It is gone.", param="model"), "INVALID_PARAMETER", 1008),
    ],
)
def test_a_stream_that_cannot_be_had_is_told(
    server: QwenServer, refusal: errors.SpeechError, code: str, closed: int
) -> None:
    server.service.refusal = refusal
    with server.talk() as talk:
        message = talk.start()
        assert talk.ends() == closed

    assert (message["error_code"], message["message"]) == (code, refusal.message)
    assert message["details"]["code"] == refusal.code
    assert message["details"].get("retry_after") == (5 if closed == 1013 else None)
    assert message["timestamp"].endswith("Z")


def test_a_stream_that_fails_is_told_after_all_that_was_heard(server: QwenServer) -> None:
    server.service.script = [*utterance(1, 32_000, "Hello."), (32_000, errors.EngineFailure("The recogniser died."))]
    with server.talk() as talk:
        talk.start()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(50):
                talk.say(SECOND)
        assert talk.until("segment_start")[0]["confirmed_texts"] == ["Hello."]
        assert talk.fails() == "DEFAULT_SERVER_ERROR"
        assert talk.ends() == 1011


def test_a_failure_at_the_very_end_is_told_and_there_is_no_final(server: QwenServer) -> None:
    server.service.script = [("finish", errors.UndecodableAudio("That is no sound."))]
    with server.talk() as talk:
        talk.start()
        talk.say({"type": "stop"})
        assert talk.fails() == "DEFAULT_CLIENT_ERROR"
        assert talk.ends() == 1008


def test_a_fault_nobody_foresaw_is_told_without_its_internals(server: QwenServer) -> None:
    server.service.script = [(1, ZeroDivisionError("secret internals"))]
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        message = talk.next()
        assert talk.ends() == 1011
    assert message["error_code"] == "DEFAULT_SERVER_ERROR"
    assert "secret" not in json.dumps(message)


@pytest.mark.parametrize("said", [[], [SECOND], [SECOND, {"type": "stop"}]])
def test_a_client_that_vanishes_leaves_nothing(server: QwenServer, said: list[Any]) -> None:
    with server.talk() as talk:
        talk.start()
        talk.say(*said)
        talk.connection.socket.close()
    assert wait_until(lambda: server.listened.left)


def test_a_client_that_falls_silent_is_told_and_sent_away(server: QwenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    with server.talk() as talk:
        talk.start()
        assert talk.fails() == "IDLE_TIMEOUT"
        assert talk.ends() == 1008


def test_a_client_that_never_starts_is_told_and_sent_away(server: QwenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "START_SECONDS", 0.3)
    with server.talk() as talk:
        assert talk.fails() == "IDLE_TIMEOUT"
        assert talk.ends() == 1008


def test_what_was_said_before_it_fell_silent_is_told_first(server: QwenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    server.service.script = utterance(1, 1, "Hello.", "Hel") + utterance(2, 1_000_000, "World.", silence=0.1)
    with server.talk() as talk:
        talk.start()
        talk.say(SECOND)
        last = talk.until("final")[-1]
        assert last["result"]["full_text"] == "Hello.\nWorld."
        assert talk.fails() == "IDLE_TIMEOUT"
        assert talk.ends() == 1008


@pytest.mark.parametrize("idle", ["{}", "nonsense", b""])
def test_only_sound_keeps_a_session(server: QwenServer, monkeypatch: pytest.MonkeyPatch, idle: str | bytes) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.5)
    with server.talk() as talk:
        talk.start()
        began = time.monotonic()
        codes: list[str] = []
        while "IDLE_TIMEOUT" not in codes:
            assert time.monotonic() - began < 10
            with contextlib.suppress(ConnectionClosed):
                talk.say(idle)
            with contextlib.suppress(TimeoutError):
                codes.append(json.loads(talk.connection.recv(0.1)).get("error_code"))


def test_a_start_is_awaited_so_long_whatever_else_comes(server: QwenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "START_SECONDS", 0.5)
    with server.talk() as talk:
        began = time.monotonic()
        codes: list[str] = []
        while "IDLE_TIMEOUT" not in codes:
            assert time.monotonic() - began < 10
            with contextlib.suppress(ConnectionClosed):
                talk.say({"type": "nothing"})
            with contextlib.suppress(TimeoutError):
                codes.append(json.loads(talk.connection.recv(0.1)).get("error_code"))


def test_two_clients_at_once_hear_only_their_own(server: QwenServer) -> None:
    server.service.scripts = [utterance(1, 1, text) for text in ("One.", "Two.")]
    with server.talk("?task_id=one") as one, server.talk("?task_id=two") as two:
        for talk in (one, two):
            talk.start()
            talk.say(SECOND)
        assert _told(two) == ({"two"}, "Two.")
        assert _told(one) == ({"one"}, "One.")


def _told(talk: Talk) -> tuple[set[str], str]:
    messages = talk.stop()
    return {message["task_id"] for message in messages}, messages[-1]["result"]["full_text"]


def test_neither_words_nor_contexts_are_logged(server: QwenServer, caplog: pytest.LogCaptureFixture) -> None:
    server.service.script = utterance(1, 1, "Attack at dawn.", "Attack")
    with caplog.at_level(logging.INFO), server.talk("?task_id=fine") as talk:
        talk.start(context="Burgess")
        talk.say(SECOND, '{"broken Burgess')
        talk.until("error")
        talk.stop()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("app.")]
    assert any("fine" in line for line in lines)
    assert not [line for line in lines if "Attack" in line or "Burgess" in line]
