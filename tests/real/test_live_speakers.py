"""Who says what in a live stream, with the real models: dialogues of people whose voices are alike and of others, a
phone call, known voices, and numbers that stay."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect

from benchmarks import audio
from benchmarks.diarization import Turn, read_rttm

from .live_client import Heard, TaskFailedError, listen
from .scoring import plain
from .server import RealServer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

RATE = 16_000
PATH = "/ws/v1"
ASKED = {"enable_speaker_diarization": True}
HIGH, LOW = ("1688", "1998"), ("2414", "2609", "2033")
"""Five people: those with high voices (medians over 200 Hz) and those with low ones (under 160 Hz)."""
PAIRS = (
    ("1688", "1998"),
    ("2414", "2609"),
    ("2609", "2033"),
    ("2033", "2414"),
    ("1688", "2414"),
    ("2609", "1998"),
    ("1998", "2033"),
)
Sentence = tuple[float, float, dict[str, Any]]


def clips_of(folder: Path, person: str) -> list[Path]:
    return sorted((folder / "speakers").glob(f"libri_{person}-*.flac"))


def dialogue(folder: Path, people: Sequence[str], turns: int, seed: int) -> tuple[Sixteen, list[Turn]]:
    """People in turn, a clip of at most 8 s each, with pauses as they are in talk; and who speaks when."""
    chance = random.Random(seed)
    sound: list[Sixteen] = [np.zeros(RATE // 2, np.int16)]
    said: list[Turn] = []
    short = {
        one: [part for path in clips_of(folder, one) if len(part := audio.read(path)) < 8 * RATE] for one in people
    }
    for place in range(turns):
        person = people[place % len(people)]
        clip = short[person][place // len(people) % len(short[person])].astype(np.float32)
        start = sum(map(len, sound)) / RATE
        said.append(Turn(start, start + len(clip) / RATE, person))
        sound.append((clip * (9_000 / np.abs(clip).max())).astype(np.int16))
        sound.append(np.zeros(round(chance.uniform(0.2, 1.2) * RATE), np.int16))
    return np.concatenate(sound), said


def sentences_of(heard: Heard) -> list[Sentence]:
    """Start, end and payload of each sentence over 2 s."""
    spans = [(one.payload["begin_time"] / 1000, one.payload["time"] / 1000, one.payload) for one in heard.finals]
    return [(start, end, payload) for start, end, payload in spans if end - start >= 2.0]


def speaker_of(start: float, end: float, turns: Sequence[Turn]) -> str:
    """Who really speaks most between two times."""
    return max(turns, key=lambda turn: min(end, turn.end) - max(start, turn.start)).speaker


def right(heard: Heard, turns: Sequence[Turn]) -> tuple[int, int]:
    """Sentences over 2 s whose speaker is the one that this person was called first, and all of those."""
    called: dict[str, str] = {}
    count = 0
    sentences = sentences_of(heard)
    for start, end, payload in sentences:
        label, person = payload["speaker"], speaker_of(start, end, turns)
        if person not in called and label not in called.values():
            called[person] = label
        count += called.get(person) == label
    return count, len(sentences)


@pytest.mark.timeout(600)
def test_two_voices_in_turn_whoever_they_are(real_server: RealServer, shared_audio: Path) -> None:
    """Pairs of high voices, of low voices, and mixed ones: nine in ten sentences of each have the right speaker."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}

    async def play(pair: tuple[str, str], seed: int) -> None:
        sound, turns = dialogue(shared_audio, pair, 8, seed)
        heard = await listen(real_server.base + PATH, sound, patience=300, enable_words=True, **ASKED)
        counts[pair] = right(heard, turns)

    async def play_all() -> None:
        for seed, pair in enumerate(PAIRS):
            await play(pair, seed)

    asyncio.run(play_all())
    print(counts)
    for pair, (good, all_of_them) in counts.items():
        assert all_of_them >= 5, pair
        assert good >= 0.9 * all_of_them, (pair, counts)


def test_three_people_keep_their_numbers(real_server: RealServer, shared_audio: Path) -> None:
    """Whoever speaks first is Speaker1 to the end, and nobody gets a second number."""
    sound, turns = dialogue(shared_audio, ("1998", "2414", "2033"), 15, 5)
    heard = asyncio.run(listen(real_server.base + PATH, sound, patience=300, **ASKED))
    good, all_of_them = right(heard, turns)
    assert all_of_them >= 10
    assert good >= 0.9 * all_of_them
    labels = [one.payload["speaker"] for one in heard.finals]
    assert list(dict.fromkeys(labels)) == ["Speaker1", "Speaker2", "Speaker3"]
    assert {(one.payload["speaker"], one.payload["speaker_id"]) for one in heard.finals} == {
        ("Speaker1", 0),
        ("Speaker2", 1),
        ("Speaker3", 2),
    }


def test_people_who_follow_each_other_without_a_pause_have_sentences_of_their_own(
    real_server: RealServer, phone_call: Path
) -> None:
    """A real phone call, in which hardly anybody waits 800 ms."""
    call = audio.read(phone_call / "sample.wav")
    heard = asyncio.run(listen(real_server.base + PATH, call, enable_punctuation_prediction=True, **ASKED))
    good, all_of_them = right(heard, read_rttm(phone_call / "sample.rttm"))
    assert all_of_them >= 4
    assert good >= 0.9 * all_of_them
    said: dict[str, str] = {}
    for one in heard.finals:
        said[one.payload["speaker"]] = said.get(one.payload["speaker"], "") + " " + plain(one.payload["result"])
    assert set(said) == {"Speaker1", "Speaker2"}
    assert "this is diane in new jersey" in said["Speaker1"]
    assert "call me a yankee down here" in said["Speaker2"]


def test_asking_changes_no_word(real_server: RealServer, phone_call: Path) -> None:
    call = audio.read(phone_call / "sample.wav")
    asked, plainly = (
        asyncio.run(listen(real_server.base + PATH, call, **payload)) for payload in (ASKED, dict[str, Any]())
    )
    assert plain(asked.text) == plain(plainly.text)
    assert not any("speaker" in key for one in plainly.finals for key in one.payload)


@pytest.fixture
def enrolled(real_server: RealServer, shared_audio: Path) -> Iterator[str]:
    """The name of a voice that is known by two clips, which are over 8 s and so in no dialogue."""
    long = [path for path in clips_of(shared_audio, "2609") if len(audio.read(path)) >= 8 * RATE][:2]
    files = [("files", (path.name, path.read_bytes())) for path in long]
    answer = httpx.post(f"{real_server.base}/v1/voices", data={"name": "Oliver"}, files=files, timeout=60)
    assert answer.status_code == 201, answer.text
    yield "Oliver"
    assert httpx.delete(f"{real_server.base}/v1/voices/{answer.json()['id']}").status_code == 200


@pytest.mark.parametrize("voices", [["Oliver"], "all"])
def test_an_enrolled_voice_has_its_name(
    real_server: RealServer, shared_audio: Path, enrolled: str, voices: object
) -> None:
    sound, turns = dialogue(shared_audio, ("2414", "2609"), 8, 7)
    heard = asyncio.run(listen(real_server.base + PATH, sound, patience=300, voices=voices))
    named = Counter((payload["speaker"], speaker_of(start, end, turns)) for start, end, payload in sentences_of(heard))
    assert named[enrolled, "2609"] >= 0.9 * sum(count for (_, person), count in named.items() if person == "2609") > 0
    assert named[enrolled, "2414"] == 0


def test_a_voice_that_nobody_enrolled_is_refused(real_server: RealServer) -> None:
    with pytest.raises(TaskFailedError, match="Rumpel"):
        asyncio.run(listen(real_server.base + PATH, np.zeros(RATE, np.int16), voices=["Rumpel"]))


def test_funasrs_clients_are_told_who_speaks(real_server: RealServer, shared_audio: Path) -> None:
    sound, turns = dialogue(shared_audio, ("1688", "2414"), 6, 11)
    messages = asyncio.run(two_pass(real_server, sound))
    sentences = [message for message in messages if message["mode"] == "2pass-offline" and message["text"].strip()]
    assert [sentence["spk"] for sentence in sentences] == [int(one["spk_name"][-1]) - 1 for one in sentences]
    counts: Counter[tuple[str, str]] = Counter()
    for sentence in sentences:
        stamps = sentence["stamp_sents"]
        start, end = stamps[0]["start"] / 1000, stamps[-1]["end"] / 1000
        if end - start >= 2.0:
            counts[speaker_of(start, end, turns), sentence["spk_name"]] += 1
    assert counts["1688", "Speaker1"] + counts["2414", "Speaker2"] >= 0.9 * counts.total() > 3


def test_funasrs_offline_mode_tells_every_sentence(real_server: RealServer, phone_call: Path) -> None:
    call = audio.read(phone_call / "sample.wav")
    [message] = asyncio.run(two_pass(real_server, call, mode="offline"))
    assert {sentence["spk_name"] for sentence in message["stamp_sents"]} == {"Speaker1", "Speaker2"}


async def two_pass(server: RealServer, sound: Sixteen, mode: str = "2pass") -> list[dict[str, Any]]:
    """Everything that a FunASR client is told."""
    told: list[dict[str, Any]] = []
    url = server.base.replace("http", "ws", 1) + "/ws/funasr"
    async with asyncio.timeout(200), connect(url, max_size=None, proxy=None) as socket:
        opening = {"mode": mode, "wav_format": "pcm", "audio_fs": RATE, "is_speaking": True, **ASKED}
        await socket.send(json.dumps(opening))
        for first in range(0, len(sound), RATE // 10):
            await socket.send(sound[first : first + RATE // 10].astype("<i2").tobytes())
        await socket.send(json.dumps({"is_speaking": False}))
        async for raw in socket:
            told.append(json.loads(raw))
            if told[-1]["is_final"] or "error" in told[-1]:
                break
    return told
