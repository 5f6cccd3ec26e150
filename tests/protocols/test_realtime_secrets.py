"""Ephemeral keys: what they open, in whose name, and what they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai_server import KEY, OTHER_KEY, wait_until
from realtime_server import RealtimeServer, serving_realtime
from websockets.exceptions import InvalidStatus

from app.service.auth import KeyRing

SESSION = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}, "turn_detection": None}}}


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimeServer]:
    with serving_realtime(tmp_path_factory.mktemp("sound")) as server:
        yield server


@pytest.fixture
def server(_server: RealtimeServer) -> Iterator[RealtimeServer]:
    _server.service.forget()
    yield _server
    assert wait_until(lambda: all(one.left for one in _server.service.listened)), "a stream was left open"


def owner(key: str) -> str:
    return KeyRing([KEY, OTHER_KEY]).owner([(b"authorization", f"Bearer {key}".encode())])


def test_a_secret_opens_a_session_as_it_was_asked_for_in_its_owners_name(server: RealtimeServer) -> None:
    given = server.post("client_secrets", {"session": SESSION}, key=OTHER_KEY).json()
    with server.talk(key=given["value"]) as talk:
        session = talk.received[0]["session"]
        talk.hear()
        assert talk.answers_nothing()

    assert given["value"].startswith("ek_")
    assert session | {"id": ""} == given["session"] | {"id": ""}
    assert session["audio"]["input"]["turn_detection"] is None
    (heard,) = server.service.listened
    assert heard.caller.key == owner(OTHER_KEY)
    assert heard.options.language == "en"


def test_the_betas_route_gives_the_session_with_the_secret_in_it(server: RealtimeServer) -> None:
    body = {
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"language": "de"},
        "client_secret": {"expires_at": {"anchor": "created_at", "seconds": 30}},
    }
    given = server.post("transcription_sessions", body).json()
    with server.talk(key=given["client_secret"]["value"], headers={"openai-beta": "realtime=v1"}) as talk:
        session = talk.received[0]["session"]

    assert session["input_audio_format"] == given["input_audio_format"] == "g711_alaw"
    assert session["input_audio_transcription"]["language"] == "de"


@pytest.mark.parametrize("how", ["subprotocol", "address"])
def test_a_browser_has_places_for_it(server: RealtimeServer, how: str) -> None:
    value = server.post("client_secrets", {"session": SESSION}).json()["value"]
    query = "?intent=transcription" + (f"&api_key={value}" if how == "address" else "")
    offered = ["realtime", f"openai-insecure-api-key.{value}"] if how == "subprotocol" else None
    with server.talk(key=None, query=query, subprotocols=offered) as talk:
        assert talk.received[0]["session"]["audio"]["input"]["turn_detection"] is None
        assert talk.connection.subprotocol == ("realtime" if offered else None)


def test_a_secret_is_good_for_nothing_else(server: RealtimeServer) -> None:
    value = server.post("client_secrets", {}).json()["value"]
    answer = server.post("client_secrets", {}, key=value)

    assert answer.status_code == 401


def test_an_expired_secret_opens_nothing(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    value = server.post("client_secrets", {"expires_after": {"seconds": 10}}).json()["value"]
    now = server.keys._clock()
    monkeypatch.setattr(server.keys, "_clock", lambda: now + 11)

    with pytest.raises(InvalidStatus) as caught, server.talk(key=value):
        pass
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"session": {"type": "realtime"}}, "session.type"),
        ({"session": 5}, "session"),
        (
            {"session": {"audio": {"input": {"transcription": {"language": "qq"}}}}},
            "session.audio.input.transcription.language",
        ),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "tomorrow"}}, "expires_after.anchor"),
        ({"expires_after": 60}, "expires_after"),
    ],
)
def test_a_session_that_cannot_be_gets_no_secret(server: RealtimeServer, body: Any, param: str | None) -> None:
    answer = server.post("client_secrets", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_body_has_a_bound(server: RealtimeServer) -> None:
    assert server.post("client_secrets", {"session": {"note": "x" * 40_000}}).status_code == 413


def test_no_key_gives_no_secret(server: RealtimeServer) -> None:
    answer = httpx.post(f"http://127.0.0.1:{server.port}/v1/realtime/client_secrets", json={})

    assert answer.status_code == 401


def test_where_no_key_is_needed_a_secret_still_brings_its_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving_realtime(tmp_path_factory.mktemp("open"), keys=()) as server:
        value = server.post("client_secrets", {"session": SESSION}).json()["value"]
        with server.talk(key=value) as talk:
            assert talk.received[0]["session"]["audio"]["input"]["turn_detection"] is None
        with server.talk(key=None) as talk:
            assert talk.received[0]["session"]["audio"]["input"]["turn_detection"] is not None
        with pytest.raises(InvalidStatus), server.talk(key="ek_forgotten"):
            pass


def test_there_is_a_bound_for_each_key(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.keys, "_grants", {})
    monkeypatch.setattr(server.keys, "_most_of_an_owner", 1)
    assert server.post("client_secrets", {}).status_code == 200
    answer = server.post("client_secrets", {})

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
