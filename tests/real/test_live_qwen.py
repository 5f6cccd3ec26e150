"""Qwen's live protocol in front of the real server: real speech as it is spoken, and clients that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks import audio

from .live_client import FRAME, PATIENCE, RATE
from .scoring import character_errors, characters, read_wav, stm_lines, wav_bytes, word_error_rate
from .server import RealServer, start_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

Told = dict[str, Any]
KEY = "a-key-of-this-test"
AT_MOST = 0.1
"""Of English words that are wrong; as files, the recordings have next to none."""
CALL_AT_MOST = 0.3
"""Of a phone call's."""


class Client:
    """One session. `told` is all that was said, with the seconds of sound that had been sent by then as `sent`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[Told] = []
        self.sent = 0.0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for raw in self.socket:
                self.told.append(json.loads(raw) | {"sent": self.sent})
        except ConnectionClosed:
            pass

    async def say(self, message: object) -> None:
        raw = isinstance(message, bytes | str)
        await self.socket.send(message if raw else json.dumps(message))  # type: ignore[arg-type]

    async def play(self, sound: Sixteen, *, rate: int = RATE, pace: float | None = None, wav: bool = False) -> None:
        """In frames, each a WAV file of its own if it is to be."""
        size = round(FRAME * rate)
        for first in range(0, len(sound), size):
            frame = sound[first : first + size]
            await self.socket.send(wav_bytes(frame) if wav else frame.astype("<i2").tobytes())
            self.sent += len(frame) / rate
            await asyncio.sleep(FRAME / pace if pace else 0)

    async def until(self, kind: str) -> Told:
        """The latest message of that type, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while not (found := self.of(kind)):
                assert not self._reading.done(), f"the connection ended before {kind}"
                await asyncio.sleep(0.01)
        return found[-1]

    async def end(self) -> int:
        """The code with which the server ends the connection."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
        return self.socket.close_code or 0

    async def stop(self) -> Told:
        """Say that there is no more; everything there is to hear."""
        await self.say({"type": "stop"})
        assert await self.end() == 1000
        assert self.told[-1]["type"] == "final", self.told[-1]
        return self.told[-1]["result"]

    def of(self, kind: str) -> list[Told]:
        return [one for one in self.told if one["type"] == kind]


@asynccontextmanager
async def client(server: RealServer, query: str = "") -> AsyncIterator[Client]:
    url = f"{server.base}/ws/v1/asr/qwen{query}".replace("http", "ws", 1)
    async with connect(url, proxy=None, max_size=None, ping_interval=None) as socket:
        yield Client(socket)


async def heard(server: RealServer, sound: Sixteen, *, pace: float | None = None, **payload: object) -> Client:
    """A whole session."""
    async with client(server) as one:
        await one.say({"type": "start", "payload": payload})
        await one.until("started")
        await one.play(sound, pace=pace)
        await one.stop()
    return one


@pytest.fixture(scope="module")
def known(shared_audio: Path) -> dict[str, str]:
    """What is said in each recording."""
    lines = (shared_audio / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    return {line.split("\t")[0]: line.split("\t")[2] for line in lines}


def test_speech_is_told_while_it_is_spoken(real_server: RealServer, shared_audio: Path, known: dict[str, str]) -> None:
    name = "en_jfk.flac"
    for pace in (1.0, 0.5, 0.25):  # a busy machine leaves guesses out first
        one = asyncio.run(heard(real_server, audio.read(shared_audio / name), pace=pace, word_timestamps=True))
        partials = [result for message in one.of("result") for result in message["results"]]
        if len(partials) >= 3 and one.of("result")[0]["sent"] < 5:
            break
    final = one.of("final")[0]["result"]

    assert word_error_rate(known[name], final["full_text"].replace("\n", " ")) <= AT_MOST
    assert final["language"] == "English"
    assert len(partials) >= 3
    assert one.of("result")[0]["sent"] < 5, "it came too late to be live"
    assert [one["chunk_id"] for one in partials if one["segment_index"] == 0][:3] == [1, 2, 3]
    words = [word for message in one.told if message["type"] in {"segment_end", "final"} for word in _words(message)]
    assert len(words) == len(known[name].split())
    assert all(before["end"] <= after["start"] + 0.01 for before, after in pairwise(words))
    assert words[-1]["end"] <= one.sent


def _words(message: Told) -> list[Told]:
    return message["result"].get("words", [])


def test_silence_ends_a_segment_and_another_begins(
    real_server: RealServer, shared_audio: Path, known: dict[str, str]
) -> None:
    english, chinese = "en_jfk.flac", "zh_asr_example.wav"
    gap = np.random.default_rng(1).normal(0.0, 3.0, 3 * RATE).astype(np.int16)
    both = np.concatenate([audio.read(shared_audio / english), gap, audio.read(shared_audio / chinese)])
    one = asyncio.run(heard(real_server, both))
    final = one.of("final")[0]["result"]
    [end] = one.of("segment_end")

    assert end["reason"] == "silence"
    assert end["result"]["text"] == end["result"]["segment_text"] == end["confirmed_texts"][0]
    assert [message["segment_index"] for message in one.of("segment_start")] == [1]
    assert final["full_text"].split("\n") == [segment["text"] for segment in final["segments"]]
    assert [segment["language"] for segment in final["segments"]] == ["English", "Chinese"]
    assert [segment["reason"] for segment in final["segments"]] == ["silence", "final"]
    assert word_error_rate(known[english], final["segments"][0]["text"]) <= AT_MOST
    said = characters(known[chinese])
    assert character_errors(said, final["text"]) <= len(said) * 0.2


@pytest.mark.parametrize("wav", [False, True], ids=["samples", "a file in each message"])
def test_headers_in_the_sound_are_not_heard(real_server: RealServer, shared_audio: Path, wav: bool) -> None:
    sound = audio.read(shared_audio / "en_jfk.flac")

    async def text(headers: bool) -> str:
        async with client(real_server) as one:
            await one.say({"type": "start", "payload": {"format": "wav", "chunk_size_sec": 60}})
            await one.until("started")
            await one.play(sound, wav=headers)
            return (await one.stop())["full_text"]

    async def file() -> str:
        async with client(real_server) as one:
            await one.say({"type": "start", "payload": {"format": "pcm", "chunk_size_sec": 60}})
            await one.say(wav_bytes(sound))
            return (await one.stop())["full_text"]

    assert asyncio.run(text(wav)) == asyncio.run(file())


def test_clients_that_do_not_behave_are_told_and_lose_nothing(
    real_server: RealServer, shared_audio: Path, known: dict[str, str]
) -> None:
    name = "en_jfk.flac"
    sound = audio.read(shared_audio / name)

    async def misbehave() -> tuple[list[str], str]:
        async with client(real_server, "?task_id=mine") as one:
            await one.say(sound[:RATE].tobytes())
            await one.say("{broken")
            await one.say({"type": "start", "payload": {"language": "Klingon"}})
            await one.say({"type": "start", "payload": {"language": "English"}})
            await one.until("started")
            await one.play(sound[: len(sound) // 2])
            await one.say({"type": "start"})
            await one.say('["no object"]')
            await one.play(sound[len(sound) // 2 :])
            final = await one.stop()
        assert {message["task_id"] for message in one.told} == {"mine"}
        return [message["error_code"] for message in one.of("error")], final["full_text"]

    codes, text = asyncio.run(misbehave())
    assert codes == ["INVALID_STATE", "INVALID_MESSAGE", "INVALID_PARAMETER", "INVALID_STATE", "INVALID_MESSAGE"]
    assert word_error_rate(known[name], text.replace("\n", " ")) <= AT_MOST


def test_who_vanishes_frees_the_place(real_server: RealServer, shared_audio: Path) -> None:
    sound = audio.read(shared_audio / "en_jfk.flac")

    async def vanish() -> None:
        async with client(real_server) as one:
            await one.say({"type": "start"})
            await one.until("started")
            await one.play(sound[: 2 * RATE])
            one.socket.transport.abort()

    async def all_of_them() -> None:
        await asyncio.gather(*(vanish() for _ in range(20)))

    asyncio.run(all_of_them())
    deadline = time.monotonic() + PATIENCE
    while (left := httpx.get(f"{real_server.base}/health").json()["active_streams"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == 0


@pytest.fixture(scope="module")
def strict_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that wants a key, and soon ends speech that does not pause."""
    server = start_server(models_dir, tmp_path_factory.mktemp("strict"), API_KEYS=KEY, MAX_UTTERANCE_SECONDS="5")
    try:
        server.wait_until_ready()
        yield server
        assert "Traceback" not in server.log.read_text()
    finally:
        server.process.kill()
        server.process.wait()


def test_a_wrong_token_is_told_and_the_connection_ends(strict_server: RealServer) -> None:
    async def knock(query: str) -> tuple[list[str], int]:
        async with client(strict_server, query) as one:
            with contextlib.suppress(ConnectionClosed):
                await one.say({"type": "start"})
                await one.say({"type": "stop"})
            code = await one.end()
        return [message.get("error_code", message["type"]) for message in one.told], code

    assert asyncio.run(knock(f"?token={KEY}")) == (["started", "final"], 1000)
    assert asyncio.run(knock("?token=a-wrong-one")) == (["AUTHENTICATION_FAILED"], 1008)
    assert asyncio.run(knock("")) == (["AUTHENTICATION_FAILED"], 1008)
    assert "a-wrong-one" not in strict_server.log.read_text()


def test_speech_without_a_pause_is_ended_and_goes_on(strict_server: RealServer, phone_call: Path) -> None:
    sound = read_wav(phone_call / "sample.wav")
    said = " ".join(words for _, _, words in stm_lines(phone_call / "sample.stm"))

    async def talk() -> Told:
        async with client(strict_server, f"?token={KEY}") as one:
            await one.say({"type": "start", "payload": {"max_sentence_silence": 6000}})
            await one.play(np.concatenate([sound, sound]))
            return await one.stop()

    final = asyncio.run(talk())
    reasons = [segment["reason"] for segment in final["segments"]]
    assert reasons[0] == "max_duration"
    assert reasons[-1] == "final"
    assert word_error_rate(f"{said} {said}", final["full_text"].replace("\n", " ")) <= CALL_AT_MOST


def test_speakers_are_told_apart(real_server: RealServer, phone_call: Path) -> None:
    sound = read_wav(phone_call / "sample.wav")
    one = asyncio.run(heard(real_server, sound, enable_speaker_diarization=True, word_timestamps=True))
    results = [message["result"] for message in one.told if message["type"] in {"segment_end", "final"}]
    turns = [turn for result in results for turn in result.get("turns", [])]

    assert {turn["speaker"] for turn in turns} == {"Speaker1", "Speaker2"}
    assert len(turns) >= 4
    assert " ".join(turn["text"] for turn in turns) == one.told[-1]["result"]["full_text"].replace("\n", " ")
    assert {word["speaker"] for result in results for word in result["words"]} == {"Speaker1", "Speaker2"}
