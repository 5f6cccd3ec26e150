"""vLLM's realtime dialect on a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_service import ScriptedStream, final
from openai_server import wait_until
from vllm_server import CALLER, SECOND, Talk, VllmServer, done, serving_vllm

from app.audio.declared import DeclaredSound
from app.domain import errors
from app.domain.events import Partial, SpeechStarted, SpeechStopped
from app.domain.hotwords import Hotword
from app.protocols.sockets import Farewell, Socket
from app.protocols.vllm import session, wire


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    with serving_vllm(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: VllmServer) -> Iterator[VllmServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(listened.left for listened in _server.service.listened)), "a stream was left open"


@pytest.fixture
def talk(server: VllmServer) -> Iterator[Talk]:
    with server.talk() as talk:
        yield talk


def deltas(messages: list[dict[str, Any]]) -> list[str]:
    return [message["delta"] for message in messages if message["type"] == "transcription.delta"]


def partial(index: int, text: str, stable: str) -> Partial:
    return Partial(index, 0.0, 1.0, text, stable)


def test_text_is_added_to_while_somebody_speaks_and_done_is_all_of_it(server: VllmServer, talk: Talk) -> None:
    server.service.script = [
        (32_000, SpeechStarted(1, 0.0)),
        (32_000, partial(1, "Hello wor", "Hello")),
        (32_000, partial(1, "Hello world and", "Hello world")),
        (64_000, SpeechStopped(1, 1.0, 1.8)),
        (64_000, final(1, 0.0, 1.0, "Hello world!")),
        ("finish", partial(2, "What", "")),
        ("finish", final(2, 2.0, 3.0, "What is it?")),
        ("finish", final(3, 3.0, 4.0, "")),
    ]
    talk.commit()
    talk.speak(SECOND)
    first = [talk.next(), talk.next()]
    talk.speak(SECOND)
    talk.commit(final=True)
    rest = talk.until("transcription.done")

    assert deltas([*first, *rest]) == ["Hello", " world", "!", " What is it?"]
    assert rest[-1] == done("Hello world! What is it?")
    assert server.listened.data == SECOND * 2
    assert server.listened.declared == DeclaredSound("s16le", 16_000)
    assert server.listened.caller == CALLER
    assert server.listened.live.partials


def test_what_was_said_stands_where_the_final_text_differs(server: VllmServer, talk: Talk) -> None:
    server.service.script = [
        (32_000, partial(1, "hello word", "hello word")),
        ("finish", final(1, 0.0, 1.0, "Hello world, again.")),
    ]
    talk.speak(SECOND)
    talk.commit(final=True)

    messages = talk.until("transcription.done")
    assert "".join(deltas(messages)) == messages[-1]["text"] == "hello word, again."


def test_tokens_are_the_recognisers(server: VllmServer, talk: Talk) -> None:
    said = final(1, 0.0, 1.0, "Hello.")
    said = replace(said, segments=tuple(replace(segment, tokens=(1, 2, 3)) for segment in said.segments))
    server.service.script = [("finish", said)]
    talk.speak(SECOND)
    talk.commit(final=True)

    assert talk.until("transcription.done")[-1] == done("Hello.", 3)


def test_a_client_says_how_it_wants_to_be_heard(server: VllmServer) -> None:
    with server.talk(language="zh-CN", prompt="Names: Müller", hotwords="Müller, Meier") as talk:
        talk.commit()
        talk.commit(final=True)
        assert talk.next() == done("")

    options = server.listened.options
    assert (server.listened.model, options.language, options.prompt) == ("able", "zh", "Names: Müller")
    assert options.hotwords == (Hotword("Müller"), Hotword("Meier"))


def test_a_connection_goes_on_and_may_change_its_mind_between(server: VllmServer, talk: Talk) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    talk.commit()
    talk.speak(SECOND)
    talk.say("session.update", model="group/plain", language="zh")  # too late for what is being said
    talk.commit()
    talk.commit(final=True)
    first = talk.until("transcription.done")
    talk.speak(SECOND)
    talk.commit(final=True)

    assert first[-1] == talk.until("transcription.done")[-1] == done("Hello.")
    assert [(listened.model, listened.options.language) for listened in server.service.listened] == [
        ("able", None),
        ("group/plain", "zh"),
    ]


def test_what_is_said_while_the_last_words_are_heard_waits_for_its_turn(server: VllmServer, talk: Talk) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    for _ in range(3):
        talk.speak(SECOND)
        talk.commit(final=True)

    assert [talk.until("transcription.done")[-1] for _ in range(3)] == [done("Hello.")] * 3
    assert [listened.data for listened in server.service.listened] == [SECOND] * 3


@pytest.mark.parametrize(
    ("update", "code"),
    [
        ({"model": "nobody"}, "model_not_found"),
        ({"model": 3}, "invalid_event"),
        ({"language": "klingon"}, "invalid_event"),
        ({"language": 3}, "invalid_event"),
        ({"model": "group/plain", "prompt": "style"}, "invalid_event"),
        ({"prompt": "a" * 20_000}, "invalid_event"),
        ({"hotwords": "a, b, c, d"}, "invalid_event"),
        ({"enable_speaker_diarization": True}, "invalid_event"),
        ({"voices": "all"}, "invalid_event"),
        ({"session": {}}, "invalid_event"),
    ],
)
def test_a_session_that_cannot_be_had_is_refused_and_may_be_mended(
    server: VllmServer, update: dict[str, object], code: str
) -> None:
    with server.talk(**update) as talk:
        talk.commit()
        refused, unfit = talk.next(), talk.next()
        talk.say("session.update", model="able")
        talk.speak(SECOND)
        talk.commit(final=True)

        assert (refused["type"], refused["code"]) == ("error", code)
        assert isinstance(refused["error"], str)
        assert unfit["code"] == "model_not_validated"
        assert talk.next() == done("")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("nonsense", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ("[1]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type": 3}', "invalid_event"),
        (b"\x00\x01", "invalid_event"),
        ('{"type": "response.create"}', "unknown_event"),
        ('{"type": "response.create", "x": "' + "a" * (wire.LONGEST_CONTROL + 1) + '"}', "invalid_event"),
        ('{"type": "input_audio_buffer.append"}', "invalid_audio"),
        ('{"type": "input_audio_buffer.append", "audio": ""}', "invalid_audio"),
        ('{"type": "input_audio_buffer.append", "audio": [1]}', "invalid_audio"),
        ('{"type": "input_audio_buffer.append", "audio": "abc"}', "invalid_audio"),
        ('{"type": "input_audio_buffer.append", "audio": "富士康"}', "invalid_audio"),
        ('{"type": "input_audio_buffer.commit", "final": "yes"}', "invalid_event"),
    ],
)
def test_a_message_that_makes_no_sense_is_told_and_nothing_is_lost(
    server: VllmServer, talk: Talk, said: str | bytes, code: str
) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    talk.speak(SECOND)
    talk.connection.send(said)
    talk.speak(SECOND)
    talk.commit(final=True)

    error = talk.next()
    assert (error["type"], error["code"]) == ("error", code)
    assert isinstance(error["error"], str)
    assert talk.until("transcription.done")[-1] == done("Hello.")
    assert server.listened.data == SECOND * 2


@pytest.mark.parametrize(
    ("refusal", "close"),
    [
        (errors.Overloaded("full", retry_after=3), 1013),
        (errors.ModelUnavailable("loading"), 1013),
        (errors.UnknownModel("unloaded"), 1008),
        (RuntimeError("a bug"), 1011),
    ],
)
def test_a_stream_that_cannot_be_had_is_an_error_and_the_end(
    server: VllmServer, talk: Talk, refusal: Exception, close: int
) -> None:
    server.service.refusal = refusal
    talk.commit()

    error = talk.next()
    assert (error["type"], error["code"]) == ("error", "processing_error")
    assert "a bug" not in error["error"]
    assert talk.closing()[0] == close


def test_a_server_that_is_not_ready_says_so(server: VllmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def loading(name: str | None) -> None:
        raise errors.ModelUnavailable("The model is still loading.")

    monkeypatch.setattr(server.service, "resolve", loading)
    with server.talk() as talk:
        assert talk.next() == {"type": "error", "error": "The model is still loading.", "code": "processing_error"}
        assert talk.closing() == (1013, "The model is still loading.")


@pytest.mark.parametrize("at", [32_000, "finish"])
def test_a_stream_that_fails_is_an_error_and_never_done(server: VllmServer, talk: Talk, at: Any) -> None:
    server.service.script = [(32_000, final(1, 0, 1, "Hello.")), (at, errors.EngineFailure("It died."))]
    talk.speak(SECOND)
    if at == "finish":
        talk.commit(final=True)

    told = talk.until("error")
    assert told[-1] == {"type": "error", "error": "It died.", "code": "processing_error"}
    assert "transcription.done" not in {message["type"] for message in told}
    assert talk.closing() == (1011, "It died.")


def test_who_has_begun_and_does_not_go_on_is_told_so(
    server: VllmServer, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    talk.speak(SECOND)

    assert talk.next()["code"] == "processing_error"
    assert talk.closing()[0] == 1008


def test_who_says_nothing_is_not_kept_for_ever(server: VllmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REST_SECONDS", 0.3)
    with server.talk() as talk:
        assert talk.closing() == (1000, "nothing was said")


@pytest.mark.parametrize("ending", [False, True])
def test_a_client_that_leaves_is_forgotten(server: VllmServer, monkeypatch: pytest.MonkeyPatch, ending: bool) -> None:
    async def never(stream: ScriptedStream) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ScriptedStream, "finish", never)
    with server.talk() as talk:
        talk.speak(SECOND)
        if ending:
            talk.commit(final=True)
        assert wait_until(lambda: bool(server.service.listened))
    # `server` checks that no stream is open


def test_a_client_that_has_ended_what_it_said_when_the_server_ends_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's farewell is read while the last words are heard, to which it comes too late."""
    farewells: list[Farewell] = []
    heard = threading.Event()
    receive, finish = Socket.receive, ScriptedStream.finish

    async def watched(socket: Socket) -> str | bytes | None:
        message = await receive(socket)
        if isinstance(message, Farewell):
            farewells.append(message)
        return message

    async def slowly(stream: ScriptedStream) -> None:
        await asyncio.to_thread(heard.wait, 20)
        await finish(stream)

    monkeypatch.setattr(Socket, "receive", watched)
    monkeypatch.setattr(ScriptedStream, "finish", slowly)
    with serving_vllm(tmp_path) as server, server.talk() as talk:
        server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
        talk.speak(SECOND)
        talk.commit(final=True)
        assert wait_until(lambda: server.service.listened and server.listened.data == SECOND)
        server.ends.finish()
        try:
            assert wait_until(lambda: farewells), "the last words were not being heard"
        finally:
            heard.set()

        assert talk.until("transcription.done")[-1] == done("Hello.")
        assert talk.closing()[0] == 1012
        assert len(server.service.listened) == len(farewells) == 1
