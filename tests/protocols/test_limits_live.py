"""Limits of each key in every live protocol, by that protocol's client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits_server import KEY, OTHER_KEY, Limited, limited
from openai_server import wait_until
from streaming.talk import said as sound
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tools.dialects import DIALECTS, said
from tools.dialects.hearing import Heard, StreamFailedError, Wishes

PROTOCOLS = list(DIALECTS)
STATUS: dict[str, tuple[object, ...]] = {
    "aliyun": (40000005,),
    "funasr": ("SERVICE_OVERLOADED",),
    "qwen": ("TOO_MANY_REQUESTS",),
    "openai": ("rate_limit_exceeded",),
    "vllm": ("processing_error",),
    "oddasr": (40000005,),
    "wyoming": ("key_limit_exceeded",),
}
TALK = sound((0, 0.3), (7, 0.6), (0, 1.2), (9, 0.6), (0, 1.3))
"""Two sentences in 4 s."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "house"


def wishes(protocol: str, key: str = KEY) -> Wishes:
    """Wyoming has no keys: an address counts."""
    return Wishes() if protocol == "wyoming" else Wishes(token=key)


def talk(server: Limited, protocol: str, key: str = KEY) -> Heard:
    return asyncio.run(said(protocol, server.url(protocol), TALK, None, wishes(protocol, key)))


def refused(server: Limited, protocol: str, told: str) -> None:
    with pytest.raises(StreamFailedError) as failure:
        talk(server, protocol)
    assert failure.value.status in STATUS[protocol], failure.value
    assert told in failure.value.reason


def keys(protocol: str) -> dict[str, object]:
    return {} if protocol == "wyoming" else {"api_keys": [KEY, OTHER_KEY]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_are_requests(folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    with limited(folder, monkeypatch, key_requests_per_minute=1, **keys(protocol)) as server:
        assert len(talk(server, protocol).text.split()) == 2
        refused(server, protocol, "requests a minute")
        if protocol != "wyoming":
            assert talk(server, protocol, OTHER_KEY).text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_streams_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    async def main(server: Limited) -> None:
        async with DIALECTS[protocol](server.url(protocol), wishes(protocol)) as first:
            await first.play(TALK)
            with pytest.raises(StreamFailedError) as failure:
                await said(protocol, server.url(protocol), TALK, None, wishes(protocol))
            assert failure.value.status in STATUS[protocol]
            assert "live streams at once" in failure.value.reason
            if protocol != "wyoming":
                await said(protocol, server.url(protocol), TALK, None, wishes(protocol, OTHER_KEY))
            assert len((await first.stop()).text.split()) == 2

    with limited(folder, monkeypatch, key_streams=1, **keys(protocol)) as server:
        asyncio.run(main(server))
        assert talk(server, protocol).text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_has_used_up_its_sound_keeps_its_texts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Of 8 s, 6 are heard: the second talk is cut off in its second sentence."""
    heard: list[Heard] = []

    async def main(server: Limited) -> None:
        async with DIALECTS[protocol](server.url(protocol), wishes(protocol)) as session:
            heard.append(session.heard)
            with pytest.raises(StreamFailedError) as failure:
                await session.play(TALK)
                await session.play(sound((0, 0.3), (11, 0.6), (0, 0.7), (13, 3.0)))
                await session.stop()
            assert failure.value.status in STATUS[protocol], failure.value
            assert "s of sound an hour" in failure.value.reason

    with limited(folder, monkeypatch, key_audio_seconds_per_hour=6, **keys(protocol)) as server:
        asyncio.run(main(server))
        told = heard[0].text or "".join(event.text for event in heard[0].events[-1:])
        assert told.split() == ["w7", "w9", "w11", "w13"]
        assert wait_until(lambda: not server.service.active_streams)
        refused(server, protocol, "s of sound an hour")
        if protocol != "wyoming":
            assert talk(server, protocol, OTHER_KEY).text


def receive_all(connection: ClientConnection) -> list[dict[str, Any]]:
    """Everything until the server closes."""
    messages: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(connection.recv(20)))
    return messages


def test_one_sentence_is_told_before_alibabas_recogniser_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(connection: ClientConnection, name: str) -> None:
        header = {"namespace": "SpeechRecognizer", "name": name, "task_id": "a" * 32, "message_id": "b" * 32}
        connection.send(json.dumps({"header": header, "payload": {"format": "pcm", "sample_rate": 16000}}))

    with (
        limited(folder, monkeypatch, key_audio_seconds_per_hour=2, api_keys=[KEY]) as server,
        connect(f"ws://127.0.0.1:{server.port}/ws/v1?token={KEY}") as connection,
    ):
        say(connection, "StartRecognition")
        connection.send(TALK.tobytes())
        say(connection, "StopRecognition")
        *_, last, failure = receive_all(connection)
    assert (last["header"]["name"], last["payload"]["result"]) == ("RecognitionResultChanged", "w7")
    assert (failure["header"]["name"], failure["header"]["status"]) == ("TaskFailed", 40000005)


@pytest.mark.parametrize("mode", ["offline", "2pass"])
def test_funasr_says_when_there_is_room_again(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    def talk(server: Limited) -> dict[str, Any]:
        """The last message."""
        with connect(f"ws://127.0.0.1:{server.port}/ws/funasr?token={KEY}") as connection:
            opening = {"mode": mode, "wav_name": "w", "wav_format": "pcm", "audio_fs": 16000, "is_speaking": True}
            connection.send(json.dumps(opening))
            connection.send(TALK.tobytes())
            connection.send(json.dumps({"is_speaking": False}))
            while True:
                message = json.loads(connection.recv(20))
                if message["is_final"] or "error" in message:
                    return message

    with limited(folder, monkeypatch, key_audio_seconds_per_hour=4, api_keys=[KEY]) as server:
        assert talk(server)["is_final"]
        error = talk(server)["error"]
        assert error["code"] == "SERVICE_OVERLOADED"
        assert error["details"]["code"] == "key_limit_exceeded"
        assert 3500 < error["details"]["retry_after"] <= 3600


def test_streams_of_a_key_share_its_sound_and_recordings_do_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()[:8]
    with limited(folder, monkeypatch, key_audio_seconds_per_hour=22, api_keys=[KEY, OTHER_KEY]) as server:
        assert talk(server, "aliyun").text
        assert server.used(digest) == (0, 0, 4)
        with server.client() as http:
            sent = {"file": ("a.wav", server.house.sound.read_bytes())}
            assert http.post("/v1/audio/transcriptions", files=sent).status_code == 200
            assert server.used(digest) == (0, 0, 20)
            assert http.post("/v1/audio/transcriptions", files=sent).status_code == 429
        with pytest.raises(StreamFailedError, match="22 s of sound an hour"):
            talk(server, "qwen")
        assert server.used(digest) == (0, 0, 22)
        assert talk(server, "qwen", OTHER_KEY).text


def test_sound_that_nobody_may_hear_is_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a minute at once is told after the first second."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()[:8]
    with limited(folder, monkeypatch, key_audio_seconds_per_hour=1, api_keys=[KEY]) as server:
        with pytest.raises(StreamFailedError, match="1 s of sound an hour"):
            asyncio.run(said("aliyun", server.url("aliyun"), np.zeros(60 * 16000, np.int16), None, wishes("aliyun")))
        assert server.used(digest) == (0, 0, 1)
        assert wait_until(lambda: not server.service.active_streams)
