"""OddASR's live protocol with real speech and a real model, as its clients speak it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from .scoring import character_errors, read_wav, wav_bytes, word_error_rate
from .server import RealServer, start_server

KEY = "the-right-key"
PLACES = 3
START = {"name": "StartTranscription", "message_id": "", "token": KEY, "task_id": ""}
STOP = {"service_type": "ASR", "msg_type": "STOP_SESSION_REQ"}
JFK = "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
FACTORY = "富士康在印度工厂出现大规模感染目前工厂产量已下降超"
"""What the model writes as 百分之五十 or 50% follows."""
PATIENCE = 60.0


@dataclass(frozen=True)
class Port:
    """A server with a key, and a port of its own for OddASR's clients."""

    server: RealServer
    url: str


@dataclass
class Told:
    """Everything a client was told, and when (time.monotonic). `code` is what the connection was closed with."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    code: int | None = None

    def named(self, name: str) -> list[dict[str, Any]]:
        return [one["payload"] for one in self.messages if one["header"]["name"] == name]

    @property
    def sentences(self) -> list[dict[str, Any]]:
        """Those that were told, without what follows the last."""
        return [one for one in self.named("SentenceEnd") if one["result"] != "END"]

    @property
    def text(self) -> str:
        return " ".join(one["result"] for one in self.sentences)

    @property
    def last(self) -> tuple[str, str, int]:
        header, payload = self.messages[-1]["header"], self.messages[-1]["payload"]
        return header["name"], payload["result"], payload["fin"]


@pytest.fixture(scope="module")
def port(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    settings = {"ODDASR_WS_PORT": str(number), "API_KEYS": KEY, "MAX_LIVE_STREAMS": str(PLACES), "LOG_LEVEL": "DEBUG"}
    server = start_server(models_dir, tmp_path_factory.mktemp("oddasr"), **settings)
    try:
        server.wait_until_ready()
        yield Port(server, f"ws://127.0.0.1:{number}/v1/asr")
        assert httpx.get(f"{server.base}/health").json()["active_streams"] == 0
        assert server.stop(signal.SIGINT) in {0, 130}
        log = server.log.read_text()
        assert "Traceback" not in log
        assert KEY not in log
        assert "country" not in log, "what was said is nothing for a log"
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def jfk(shared_audio: Path) -> bytes:
    """A WAV file."""
    samples, rate = soundfile.read(shared_audio / "en_jfk.flac", always_2d=True)
    return wav_bytes((soxr.resample(samples.mean(axis=1), rate, 16_000) * 32767).astype(np.int16))


@pytest.fixture(scope="module")
def factory(shared_audio: Path) -> bytes:
    """Samples."""
    return read_wav(shared_audio / "zh_aishell_long.wav").astype("<i2").tobytes()


async def begin(url: str, **start: object) -> tuple[ClientConnection, dict[str, Any]]:
    """A connection on which a session was asked for, and the answer."""
    connection = await connect(url, proxy=None, open_timeout=PATIENCE)
    await connection.send(json.dumps({**START, **start}))
    return connection, json.loads(await connection.recv())


async def read(connection: ClientConnection, told: Told, until: str | None = None) -> None:
    """All messages up to one with the text `until`, or to the end of the connection."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (told.messages and told.messages[-1]["payload"]["result"] == until):
                told.messages.append(json.loads(await connection.recv()))
                told.times.append(time.monotonic())
    except ConnectionClosed:
        told.code = connection.close_code


async def play(connection: ClientConnection, sound: bytes, size: int, seconds: float) -> None:
    for first in range(0, len(sound), size):
        await connection.send(sound[first : first + size])
        await asyncio.sleep(seconds)


async def as_the_sample_client(url: str, wav: bytes) -> Told:
    """The whole file, header included, at twice its speed; never a stop; reads until the server closes."""
    connection, ack = await begin(url)
    assert (ack["header"]["name"], ack["header"]["status"]) == ("SentenceBegin", 0)
    told = Told()
    async with connection:
        await asyncio.gather(play(connection, wav, 19_200, 0.3), read(connection, told))
    return told


def test_a_client_that_never_stops_is_told_everything_and_sent_away(port: Port, jfk: bytes) -> None:
    told = asyncio.run(as_the_sample_client(port.url, jfk))

    assert word_error_rate(JFK, told.text) <= 0.15
    assert told.last == ("SentenceEnd", "END", 1)
    assert told.code == 1000
    assert told.times[-1] - told.times[-2] > 1.0, "what was said was told only when the session was over"
    check_sentences(told, seconds=11.0)


def check_sentences(told: Told, seconds: float) -> None:
    """Numbered and timed in order; each has its texts before its end, and words within it."""
    before, number = 0, 0
    for one in told.messages[:-1]:
        payload = one["payload"]
        assert payload["index"] == number + 1
        assert before <= payload["begin_time"] <= payload["end_time"] == payload["time"] <= seconds * 1000 + 100
        if one["header"]["name"] == "SentenceEnd":
            number, before = number + 1, payload["end_time"]
            assert payload["fin"] == 1
            assert 0.0 < payload["confidence"] <= 1.0
            assert payload["words"]
            times = [word[key] for word in payload["words"] for key in ("begin_time", "end_time")]
            assert times == sorted(times)
            assert payload["begin_time"] / 1000 - 0.5 <= times[0] <= times[-1] <= payload["end_time"] / 1000 + 0.5
        else:
            assert one["header"]["name"] == "TranscriptionResultChanged"
            assert payload["fin"] == 0


def test_a_browser_is_told_what_is_said_while_it_is_said(port: Port, jfk: bytes) -> None:
    """Frames of 4096 bytes as a microphone has them, then the browser client's stop."""

    async def talk() -> tuple[Told, float]:
        connection, _ = await begin(port.url.removesuffix("v1/asr"))
        told = Told()
        async with connection:
            reading = asyncio.create_task(read(connection, told, until="END"))
            await play(connection, jfk[44:], 4096, 0.128)
            stopped = time.monotonic()
            await connection.send(json.dumps(STOP))
            await reading
        return told, stopped

    told, stopped = asyncio.run(talk())

    assert word_error_rate(JFK, told.text) <= 0.15
    assert told.named("TranscriptionResultChanged")
    assert told.times[0] < stopped - 3.0
    assert told.last == ("SentenceEnd", "END", 1)
    check_sentences(told, seconds=11.0)


def test_speech_goes_on_after_a_pause_in_which_nothing_was_sent(port: Port, factory: bytes) -> None:
    """As from clients that send speech only: the first part is final meanwhile, and nothing of the second is lost."""

    async def talk() -> Told:
        connection, _ = await begin(port.url)
        told = Told()
        async with connection:
            reading = asyncio.create_task(read(connection, told, until="END"))
            await connection.send(factory)
            await asyncio.sleep(2.5)  # longer than what makes a sentence final, shorter than what ends the session
            await connection.send(factory)
            await connection.send(json.dumps(STOP))
            await reading
        return told

    told = asyncio.run(talk())

    middle = len(factory) / 32
    first = [one["result"] for one in told.sentences if one["end_time"] <= middle]
    second = [one["result"] for one in told.sentences if one["begin_time"] >= middle]
    assert len(first) + len(second) == len(told.sentences), "a sentence has words of both parts"
    for part in (first, second):
        assert character_errors(FACTORY, "".join(part)[: len(FACTORY) + 1]) <= 3


def test_several_sessions_on_one_connection(port: Port, factory: bytes) -> None:
    async def talk() -> list[Told]:
        connection, _ = await begin(port.url)
        sessions: list[Told] = []
        async with connection:
            for number in range(2):
                if number:
                    await connection.send(json.dumps(START))
                    assert json.loads(await connection.recv())["header"]["name"] == "SentenceBegin"
                await connection.send(factory)
                await connection.send(json.dumps({"name": "STOP_SESSION_REQ"}))
                sessions.append(Told())
                await read(connection, sessions[-1], until="END")
        return sessions

    first, second = asyncio.run(talk())

    assert first.text == second.text
    assert character_errors(FACTORY, first.text[: len(FACTORY) + 1]) <= 3
    assert {one["header"]["task_id"] for one in first.messages}.isdisjoint(
        one["header"]["task_id"] for one in second.messages
    )


def test_messages_that_make_no_sense_cost_no_text(port: Port, factory: bytes) -> None:
    async def talk() -> Told:
        connection, _ = await begin(port.url)
        told = Told()
        async with connection:
            reading = asyncio.create_task(read(connection, told, until="END"))
            await connection.send("no JSON")
            await connection.send(factory[:100_001])  # not even whole samples
            await connection.send(b"")
            await connection.send(json.dumps({"msg_type": "SESSION_CTRL_REQ"}))
            await connection.send(factory[100_001:])
            await connection.send("[]")
            await connection.send(json.dumps(STOP))
            await reading
        return told

    told = asyncio.run(talk())

    failures = [one["header"]["status"] for one in told.messages if one["header"]["status"]]
    assert failures == [10020001] * 3
    assert character_errors(FACTORY, told.text[: len(FACTORY) + 1]) <= 3


def test_a_wrong_token_is_refused(port: Port) -> None:
    async def talk() -> tuple[dict[str, Any], Told]:
        connection, answer = await begin(port.url, token="wrong")
        told = Told()
        async with connection:
            await read(connection, told)
        return answer, told

    answer, told = asyncio.run(talk())

    assert answer["header"]["status"] == 40000001
    assert (told.messages, told.code) == ([], 1008)


def test_who_vanishes_makes_room_for_others(port: Port, factory: bytes) -> None:
    async def talk() -> None:
        inside = [await begin(port.url) for _ in range(PLACES)]
        assert [answer["header"]["status"] for _, answer in inside] == [0] * PLACES
        refused, answer = await begin(port.url)
        assert answer["header"]["status"] == 40000005
        with pytest.raises(ConnectionClosed):
            await refused.recv()
        assert refused.close_code == 1013

        for connection, _ in inside:
            await connection.send(factory)
            connection.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while True:
                connection, answer = await begin(port.url)
                await connection.close()
                if answer["header"]["status"] == 0:
                    return
                await asyncio.sleep(0.1)

    asyncio.run(talk())


def test_speakers_are_told_apart_where_that_is_asked_for(port: Port, phone_call: Path) -> None:
    async def talk() -> Told:
        connection, answer = await begin(port.url, enable_speaker_diarization=True)
        assert answer["header"]["status"] == 0, answer["header"]
        told = Told()
        async with connection:
            reading = asyncio.create_task(read(connection, told, until="END"))
            await play(connection, read_wav(phone_call / "sample.wav").astype("<i2").tobytes(), 32_000, 0.2)
            await connection.send(json.dumps(STOP))
            await reading
        return told

    told = asyncio.run(talk())

    assert {one["speaker"].split()[0] for one in told.sentences} == {"发言人"}
