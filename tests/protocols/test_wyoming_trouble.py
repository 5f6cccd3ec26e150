"""Wyoming's protocol on a real server: what is no Wyoming, what cannot be heard, who does not go on."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_service import final
from openai_server import wait_until
from wyoming_server import SECOND, SPEECH, Talk, Told, WyomingServer, serving_wyoming

from app.domain import errors
from app.protocols.wyoming import events, link, tcp
from app.protocols.wyoming.link import Link

PING = {"text": None}


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WyomingServer]:
    with serving_wyoming(tmp_path_factory.mktemp("sound"), max_hotwords=3) as server:
        yield server


@pytest.fixture
def server(_server: WyomingServer) -> Iterator[WyomingServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(listened.left for listened in _server.service.listened)), "a stream was left open"
    with _server.talk() as other:
        other.say("ping", PING)
        assert other.next() == Told("pong", PING), "the server does not answer others any more"


@pytest.fixture
def talk(server: WyomingServer) -> Iterator[Talk]:
    with server.talk() as talk:
        yield talk


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"\x16\x03\x01\x02\x00\x01\xff\xfe\n",
        b"[1]\n",
        b'"ping"\n',
        b"{}\n",
        b'{"type": 3}\n',
        b'{"type": ""}\n',
        b'{"type": "ping", "data": [1]}\n',
        b"[" * 100_000 + b"\n",
        b'{"type": "ping", "data": ' + b'{"a":' * 100_000 + b"\n",
        b'{"type": "ping", "data_length": 4}\n[12]',
        b'{"type": "ping", "data_length": 4}\nnope',
        b'{"type": "ping", "data_length": ' + b"9" * 10_000 + b"}\n",
    ],
)
def test_what_is_no_event_is_an_error_and_the_end(talk: Talk, said: bytes) -> None:
    talk.connection.sendall(said)

    assert talk.error().data["code"] == "invalid_value"


@pytest.mark.parametrize("name", ["data_length", "payload_length"])
@pytest.mark.parametrize("length", [-1, 1 << 40, 1 << 80, 1.5, True, "12", [1], events.LONGEST_PAYLOAD + 1])
def test_a_length_that_is_none_or_too_large_is_refused_before_anything_is_read(
    talk: Talk, name: str, length: object
) -> None:
    talk.say("audio-chunk", **{name: length})

    assert name in talk.error().data["text"]


def test_a_line_without_end_is_refused_once_it_is_too_long(talk: Talk) -> None:
    talk.connection.sendall(b'{"type": "' + b"a" * (events.LONGEST_LINE + 10))

    assert str(events.LONGEST_LINE) in talk.error().data["text"]


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (lambda talk: talk.say("transcribe", {"name": "nobody"}), "model_not_found", "No such model"),
        (lambda talk: talk.say("transcribe", {"name": 3}), "invalid_value", "name"),
        (lambda talk: talk.say("transcribe", {"language": "fr"}), "unsupported_feature", "able knows"),
        (lambda talk: talk.say("transcribe", {"language": "klingon"}), "invalid_value", "klingon"),
        (lambda talk: talk.say("transcribe", {"transcript_terms": "a"}), "invalid_value", "transcript_terms"),
        (lambda talk: talk.say("transcribe", {"transcript_names": ["a", 3]}), "invalid_value", "transcript_names"),
        (
            lambda talk: talk.say("transcribe", {"transcript_names": ["a", "b"], "transcript_terms": ["c", "d"]}),
            "invalid_value",
            "4 terms are more than the 3",
        ),
        (lambda talk: talk.say("select-program", {"name": "another"}), "invalid_value", "speech-server"),
        (lambda talk: talk.say("audio-start", {}), "invalid_value", "rate"),
        (lambda talk: talk.say("audio-start", {**SPEECH, "width": 1}), "invalid_value", "width"),
        (lambda talk: talk.say("audio-start", {**SPEECH, "channels": 0}), "invalid_value", "channels"),
        (lambda talk: talk.say("audio-start", {**SPEECH, "rate": 1 << 70}), "invalid_value", "rate"),
        (lambda talk: talk.say("audio-start", {**SPEECH, "rate": "16000"}), "invalid_value", "rate"),
        (lambda talk: talk.say("audio-chunk", {}, SECOND), "invalid_value", "rate"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_so(
    server: WyomingServer, talk: Talk, said: Callable[[Talk], None], code: str, told: str
) -> None:
    said(talk)

    error = talk.error().data
    assert error["code"] == code
    assert told in error["text"]
    assert server.service.listened == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [("transcribe", {}), ("audio-start", SPEECH), ("audio-chunk", {**SPEECH, "rate": 8_000})],
)
def test_what_comes_too_late_is_an_error(talk: Talk, kind: str, data: dict[str, object]) -> None:
    talk.say("audio-chunk", SPEECH, SECOND)
    talk.say(kind, data, SECOND)

    assert talk.error().data["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (errors.Overloaded("full", retry_after=3), "rate_limit_exceeded"),
        (errors.ModelUnavailable("loading"), "model_unavailable"),
        (RuntimeError("a bug"), "engine_failure"),
    ],
)
def test_a_stream_that_cannot_be_had_is_an_error(
    server: WyomingServer, talk: Talk, refusal: Exception, code: str
) -> None:
    server.service.refusal = refusal
    talk.speak(SECOND)

    error = talk.error().data
    assert error["code"] == code
    assert "a bug" not in error["text"]


def test_who_is_not_ready_says_so_rather_than_that_it_has_nothing(
    server: WyomingServer, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loading(name: str | None) -> None:
        raise errors.ModelUnavailable("The model is still loading.")

    monkeypatch.setattr(server.service, "resolve", loading)
    talk.say("describe")

    assert talk.error().data == {"text": "The model is still loading.", "code": "model_unavailable"}


@pytest.mark.parametrize("at", [32_000, "finish"])
def test_a_stream_that_fails_is_an_error_and_no_transcript(server: WyomingServer, talk: Talk, at: Any) -> None:
    server.service.script = [(32_000, final(1, 0, 1, "Hello.")), (at, errors.EngineFailure("It died."))]
    talk.say("audio-chunk", SPEECH, SECOND)
    if at == "finish":
        talk.say("audio-stop")

    told = talk.until("error")
    assert told[-1].data == {"text": "It died.", "code": "engine_failure"}
    assert "transcript" not in {event.type for event in told}
    assert talk.next() is None


def test_an_error_reaches_a_client_that_goes_on_sending(server: WyomingServer, talk: Talk) -> None:
    server.service.refusal = errors.Overloaded("full", retry_after=3)
    for _ in range(50):
        talk.say("audio-chunk", SPEECH, SECOND * 2)

    assert talk.error().data["text"] == "full"


def test_who_has_begun_and_does_not_go_on_is_told_so(
    server: WyomingServer, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "IDLE_SECONDS", 0.3)
    talk.say("audio-chunk", SPEECH, SECOND)

    assert talk.error().data["code"] == "upload_too_slow"
    assert server.listened.left


def test_an_event_in_drops_is_given_no_more_time_than_silence(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "IDLE_SECONDS", 0.5)
    talk.say("transcribe", {})
    began = time.monotonic()
    talk.connection.settimeout(0.05)
    with pytest.raises(OSError):  # however the system says that the connection is over
        while True:
            talk.connection.sendall(b" ")
            try:
                if not talk.connection.recv(1000):
                    raise OSError("closed")
            except TimeoutError:
                assert time.monotonic() < began + 10


def test_who_says_nothing_at_all_is_not_kept_for_ever(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "REST_SECONDS", 0.3)
    talk.say("ping", PING)

    assert talk.next() == Told("pong", PING)
    assert talk.next() is None


def test_who_takes_nothing_in_is_given_up_and_holds_up_nobody(
    server: WyomingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_SEND_SECONDS", 0.5)
    with server.talk() as deaf, server.talk() as other:
        for talk in (deaf, other):
            talk.say("ping", PING)
            assert talk.next() == Told("pong", PING)
        deaf.connection.setblocking(False)
        line = json.dumps({"type": "describe"}).encode() + b"\n"
        deadline = time.monotonic() + 60
        while server.connections > 1:
            with contextlib.suppress(OSError):  # nothing more goes in, or the connection is over
                deaf.connection.send(line * 1000)
            other.say("ping", PING)
            assert other.next() == Told("pong", PING)
            assert time.monotonic() < deadline


def test_one_that_is_slowly_heard_holds_up_nobody(server: WyomingServer, talk: Talk) -> None:
    server.service.slow = 1.0
    talk.say("audio-chunk", SPEECH, SECOND)
    talk.say("ping", {"text": "late"})
    with server.talk() as other:
        began = time.monotonic()
        other.say("ping", PING)
        assert other.next() == Told("pong", PING)
        assert time.monotonic() - began < 0.9
    assert talk.next() == Told("pong", {"text": "late"})


def test_keys_close_the_port_to_the_internet_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sound").mkdir()
    with serving_wyoming(tmp_path / "sound", keys=("a-key",)) as server:
        with server.talk() as talk:
            talk.say("ping", PING)
            assert talk.next() == Told("pong", PING)
        monkeypatch.setattr(Link, "nearby", False)
        with server.talk() as talk:
            assert talk.error().data["code"] == "permission_denied"


@pytest.mark.parametrize(
    ("peer", "nearby"),
    [
        (("127.0.0.1", 1), True),
        (("192.168.1.7", 1), True),
        (("172.17.0.1", 1), True),
        (("100.100.1.1", 1), True),
        (("8.8.8.8", 1), False),
        (("::1", 1, 0, 0), True),
        (("fe80::1%eth0", 1, 0, 2), True),
        (("fd00::1", 1, 0, 0), True),
        (("2001:4860:4860::8888", 1, 0, 0), False),
        (("2001:0:53aa:64c::1", 1, 0, 0), False),
        (("198.18.0.1", 1), False),
        (("::ffff:8.8.8.8", 1, 0, 0), False),
        (("::ffff:10.0.0.1", 1, 0, 0), True),
        (None, False),
    ],
)
def test_addresses_of_the_internet_are_told_from_others(peer: object, nearby: bool) -> None:
    writer: Any = SimpleNamespace(get_extra_info=lambda name: peer)

    assert Link(SimpleNamespace(), writer).nearby is nearby  # type: ignore[arg-type]  # it is not read


def test_what_goes_on_when_the_server_ends_is_told_to_its_end_and_nothing_new_begins(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    with serving_wyoming(tmp_path / "sound") as server, server.talk() as busy, server.talk() as idle:
        server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
        busy.say("audio-chunk", SPEECH, SECOND)
        for talk in (busy, idle):
            talk.say("ping", PING)
            assert talk.next() == Told("pong", PING)
        server.server.handle_exit(15, None)

        assert idle.next() is None
        busy.say("audio-chunk", SPEECH, SECOND)
        busy.say("audio-stop")
        assert busy.transcript()[-2].data["text"] == "Hello."
        assert busy.next() is None


def test_after_the_server_has_ended_what_comes_next_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    with serving_wyoming(tmp_path / "sound") as server, server.talk() as busy, server.talk() as idle:
        server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
        idle.say("transcribe", {})
        busy.say("audio-chunk", SPEECH, SECOND)
        for talk in (busy, idle):
            talk.say("ping", PING)
            assert talk.next() == Told("pong", PING)
        server.server.handle_exit(15, None)

        assert idle.next() is None, "it had said nothing to be heard"
        busy.say("audio-stop")
        with contextlib.suppress(OSError):  # it may be over by then
            for _ in range(3):
                busy.speak(SECOND)
        assert busy.transcript()[-2].data["text"] == "Hello."
        assert busy.next() is None
    assert len(server.service.listened) == 1


def test_who_says_no_more_is_told_the_transcript(server: WyomingServer) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    with server.talk() as talk:
        talk.speak(SECOND)
        talk.connection.shutdown(socket.SHUT_WR)
        assert talk.transcript()[-2].data["text"] == "Hello."


def test_half_an_event_is_waited_for_so_long(server: WyomingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENT_SECONDS", 0.3)
    with server.talk() as talk:
        talk.connection.sendall(b'{"type": "audio-chunk", "payload_length": 1000}\n' + bytes(500))
        assert "rest of an event" in talk.error().data["text"]


def test_names_that_nobody_can_say_do_no_harm(server: WyomingServer) -> None:
    server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
    with server.talk() as talk:
        talk.speak(SECOND, ask={"transcript_names": ["K\u00fcche", "\U0001f6cb", "-", "a" * 300]})
        assert talk.transcript()[-2].data["text"] == "Hello."
    assert [hotword.text for hotword in server.listened.options.hotwords] == ["K\u00fcche"]


def test_who_reads_last_has_the_transcript_when_the_server_ends(tmp_path: Path) -> None:
    """As Home Assistant does: the server ends in the middle of what it says, and it says the rest before it reads."""
    with serving_wyoming(tmp_path) as server, server.talk() as talk:
        server.service.script = [("finish", final(1, 0.0, 1.0, "Hello."))]
        talk.say("audio-start", SPEECH)
        talk.say("audio-chunk", SPEECH, SECOND)
        assert wait_until(lambda: server.service.listened and server.listened.data == SECOND)
        server.ends.finish()
        assert wait_until(lambda: server.listened.left), "what was heard was not told"
        for _ in range(20):
            talk.say("audio-chunk", SPEECH, SECOND)
        talk.say("audio-stop")

        assert talk.transcript()[-2] == Told("transcript", {"text": "Hello.", "language": "en"})
        assert talk.next() is None
