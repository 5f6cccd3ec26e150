"""OpenAI's Realtime protocol: what makes no sense, who may not, and what fails meanwhile."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai_server import PLAIN, wait_until
from realtime_server import SECOND, TRANSCRIPTION, RealtimeServer, Talk, kinds, serving_realtime, utterance
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.domain import errors
from app.domain.events import Partial, SpeechStarted, SpeechStopped
from app.protocols.openai.realtime import session, wire


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeServer]:
    with serving_realtime(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: RealtimeServer) -> Iterator[RealtimeServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


def closed(talk: Talk) -> int:
    """With what the server ends the connection, after all it has to say."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            talk.next()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"type": 5}',
        '{"type": null}',
        '{"type": "response.create"}',
        '{"type": "input_audio_buffer.append"}',
        '{"type": "input_audio_buffer.append", "audio": 5}',
        '{"type": "input_audio_buffer.append", "audio": "*"}',
        '{"type": "input_audio_buffer.append", "audio": "AAA"}',
        '{"type": "input_audio_buffer.append", "audio": "\\u4f60"}',
        '{"type": "session.update"}',
        '{"type": "session.update", "session": []}',
        "[" * 100_000,
        b"\x00\x01",
    ],
)
def test_what_makes_no_sense_is_told_and_the_session_goes_on(server: RealtimeServer, raw: str | bytes) -> None:
    server.service.script = utterance(1, 1, "Hello.")
    with server.talk() as talk:
        talk.connection.send(raw)
        assert talk.failure()["type"] == "invalid_request_error"
        talk.hear()
        told = talk.until("conversation.item.input_audio_transcription.completed")

    assert told[-1]["transcript"] == "Hello."
    assert server.service.listened[0].data == SECOND, "nothing of a bad message is heard"


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"type": 5}, "session.type"),
        ({"include": "logprobs"}, "session.include"),
        ({"audio": 5}, "session.audio"),
        ({"audio": {"input": []}}, "session.audio.input"),
        ({"audio": {"input": {"format": "pcm16"}}}, "session.audio.input.format"),
        ({"audio": {"input": {"format": {"type": "audio/mp3"}}}}, "session.audio.input.format.type"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 7999}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": True}}}}, "session.audio.input.format.rate"),
        ({"audio": {"input": {"noise_reduction": {"type": "none"}}}}, "session.audio.input.noise_reduction.type"),
        ({"audio": {"input": {"transcription": {"language": 5}}}}, "session.audio.input.transcription.language"),
        ({"audio": {"input": {"transcription": {"language": "qq"}}}}, "session.audio.input.transcription.language"),
        ({"audio": {"input": {"transcription": {"languages": ["qq"]}}}}, "session.audio.input.transcription.languages"),
        ({"audio": {"input": {"transcription": {"keywords": "word"}}}}, "session.audio.input.transcription.keywords"),
        ({"audio": {"input": {"transcription": {"model": "nobody's"}}}}, "model"),
        ({"audio": {"input": {"turn_detection": {"type": "magic"}}}}, "session.audio.input.turn_detection.type"),
        ({"audio": {"input": {"turn_detection": {"threshold": 2}}}}, "session.audio.input.turn_detection.threshold"),
        ({"input_audio_format": "mp3"}, "session.input_audio_format"),
        ({"input_audio_transcription": []}, "session.input_audio_transcription"),
        ({"turn_detection": "server_vad"}, "session.turn_detection"),
    ],
)
def test_a_setting_that_cannot_be_changes_nothing(server: RealtimeServer, said: dict[str, Any], param: str) -> None:
    with server.talk() as talk:
        talk.say("session.update", session=said, event_id="mine")
        error = talk.failure()
        talk.say("session.update", session={})
        after = talk.next()["session"]

    assert (error["param"], error["event_id"]) == (param, "mine")
    assert after == talk.received[0]["session"]


def test_what_is_not_known_here_is_no_error(server: RealtimeServer) -> None:
    """Clients take every error for the end of their session."""
    heard = {
        "transcription": {"model": PLAIN.id, "prompt": "A talk.", "keywords": ["词"], "delay": "low", "new": 1},
        "turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000, "create_response": False, "new": 1},
        "noise_reduction": {"type": "far_field", "strength": 0.5},
        "new": {},
    }
    with server.talk() as talk:
        talk.say("session.update", session={"type": "transcription", "audio": {"input": heard}, "include": ["new"]})
        assert talk.next()["type"] == "session.updated"


def test_languages_that_the_model_does_not_know_do_no_harm_among_others(server: RealtimeServer) -> None:
    with server.talk() as talk:
        talk.update(transcription={"languages": ["fr", "en", "zh-CN"]})
        talk.hear()
        assert talk.answers_nothing()

    options = server.service.listened[0].options
    assert (options.language, options.languages) == (None, ("en", "zh"))


def test_a_message_has_a_bound(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_AUDIO", 30_000)
    with server.talk() as talk:
        talk.hear(bytes(30_000))
        talk.hear(bytes(30_003))
        assert "30000 bytes" in talk.failure()["message"]

    assert len(server.service.listened[0].data) == 30_000


@pytest.mark.parametrize("key", [None, "wrong", "ek_wrong"])
def test_a_wrong_key_is_refused_before_the_connection_is(server: RealtimeServer, key: str | None) -> None:
    with pytest.raises(InvalidStatus) as caught, server.talk(key=key):
        pass

    assert caught.value.response.status_code == 401
    assert json.loads(caught.value.response.body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("query", "param"), [("?intent=conversation", "intent"), ("?intent=transcription&model=nobody's", "model")]
)
def test_an_address_that_asks_for_what_is_not_here_is_told_so(server: RealtimeServer, query: str, param: str) -> None:
    with server.talk(query=query, greeted=False) as talk:
        assert talk.failure()["param"] == param
        assert closed(talk) == 1008


def test_while_the_model_loads_clients_are_told_to_come_back(
    server: RealtimeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(_name: str | None) -> None:
        raise errors.ModelUnavailable("The model is still loading.")

    monkeypatch.setattr(server.service, "resolve", loading)
    with server.talk(greeted=False) as talk:
        assert talk.failure()["code"] == "model_unavailable"
        assert closed(talk) == 1013
    assert server.post("client_secrets", {}).status_code == 503


def test_a_stream_that_cannot_be_had_is_told_and_the_connection_ends(server: RealtimeServer) -> None:
    server.service.refusal = errors.Overloaded("Too many streams.", retry_after=1)
    with server.talk() as talk:
        talk.hear()
        error = talk.failure()
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert closed(talk) == 1013


def test_items_whose_text_does_not_come_have_failed(server: RealtimeServer) -> None:
    server.service.script = [
        (1, SpeechStarted(1, 0.2)),
        (1, Partial(1, 0.2, 0.5, "Hello", "Hello")),
        (1, SpeechStopped(1, 0.9, 1.4)),
        (1, errors.EngineFailure("The recogniser died.")),
    ]
    with server.talk() as talk:
        talk.hear()
        assert closed(talk) == 1011

    told = talk.received[1:]
    assert kinds(told)[-2:] == ["failed", "error"]
    assert told[-2]["item_id"] == told[0]["item_id"]
    assert told[-2]["error"]["message"] == told[-1]["error"]["message"] == "The recogniser died."


def test_what_nobody_foresaw_is_told_without_its_details(server: RealtimeServer) -> None:
    server.service.script = [(1, ZeroDivisionError("secret"))]
    with server.talk() as talk:
        talk.hear()
        error = talk.failure()
        assert error["type"] == "server_error"
        assert "secret" not in json.dumps(error)
        assert closed(talk) == 1011


def test_who_says_nothing_for_long_is_sent_away(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(session, "REST_SECONDS", 0.2)
    server.service.script = utterance(1, 1_000_000_000, "Hello.")
    with server.talk() as talk:
        talk.hear()
        assert closed(talk) == 1000

    assert talk.received[-1]["transcript"] == "Hello.", "what was said last is heard"


def test_who_leaves_leaves_nothing(server: RealtimeServer) -> None:
    with server.talk() as talk:
        talk.hear()
        assert talk.answers_nothing()

    assert wait_until(lambda: server.service.listened[0].left)
    assert not server.service.listened[0].finished


def test_vllms_dialect_is_spoken_to_who_begins_in_it(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 1, "Hello.")
    with server.talk(query="") as talk:
        assert talk.received[0]["id"].startswith("sess")
        assert isinstance(talk.received[0]["created"], int)
        talk.say("session.update", model="able")
        talk.say("input_audio_buffer.commit")
        talk.say("input_audio_buffer.append", audio=base64.b64encode(bytes(32_000)).decode())
        talk.say("input_audio_buffer.commit", final=True)
        told = talk.until("transcription.done")

    assert told[-1]["text"] == "Hello."


@pytest.mark.parametrize("transcription", [{"prompt": "\ud800"}, {"keywords": ["a", "\udfff"]}, {"language": "\ud800"}])
def test_halves_of_characters_are_refused(server: RealtimeServer, transcription: dict[str, Any]) -> None:
    with server.talk() as talk:
        talk.say("session.update", session={"audio": {"input": {"transcription": transcription}}})
        assert talk.failure()["type"] == "invalid_request_error"
        assert talk.answers_nothing()


def test_a_session_that_is_repeated_changes_nothing(server: RealtimeServer) -> None:
    server.service.script = utterance(1, 96_000, "Hello.")
    heard = {"transcription": {"language": "en"}, "turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}
    with server.talk() as talk:
        talk.update(**heard)
        for _ in range(3):
            talk.hear()
            talk.update(**heard)
            talk.update()
    assert f"{TRANSCRIPTION}.completed" in [message["type"] for message in talk.received]
    assert len(server.service.listened) == 1


def test_what_was_told_and_not_committed_has_failed_too(server: RealtimeServer) -> None:
    server.service.scripts = [utterance(1, 48_000, "Hello.")]
    with server.talk() as talk:
        talk.update(turn_detection=None)
        talk.hear()
        (delta,) = [one for one in talk.until(f"{TRANSCRIPTION}.delta") if one["type"].endswith("delta")]
        talk.update(turn_detection=None, transcription={"language": "en"})
        server.service.refusal = errors.Overloaded("Too many.", retry_after=5)
        talk.hear()
        failed = talk.until(f"{TRANSCRIPTION}.failed")[-1]
        assert closed(talk) == 1013
    assert failed["item_id"] == delta["item_id"]


def test_a_failure_while_settings_change_is_told(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.service.script = [(48_000, errors.EngineFailure("The recogniser died."))]
    usual = session.plan_of

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(0.3)
        return await usual(*given)

    monkeypatch.setattr(session, "plan_of", slow)
    with server.talk() as talk:
        talk.hear()
        talk.say("session.update", session={"audio": {"input": {"noise_reduction": {"type": "near_field"}}}})
        assert closed(talk) == 1011


def test_an_ephemeral_key_beside_a_good_one_does_no_harm(server: RealtimeServer) -> None:
    with server.talk(query="?token=ek_stale&intent=transcription") as talk:
        assert talk.received[0]["type"] == "session.created"
