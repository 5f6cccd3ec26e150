"""The end of live speech: its last word is heard though no silence follows, telephone sound is understood, and a
sentence ends after as much silence as was asked for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
import soxr

from benchmarks import audio
from tools.dialects import DIALECTS, said

from .live_client import RATE, funasr, listen
from .scoring import characters, plain, wav_bytes, word_error_rate
from .server import RealServer
from .wires import Wires, start_wires

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

CLIPS, AT_REAL_TIME, LOST = 50, 5, 1
AT_ONCE = 4
OTHERS = (
    *("en_jfk.flac", "en_steve_jobs_10s.wav", "zh_male_9s.wav", "zh_16k_mono.wav"),
    *("zh_asr_example.wav", "zh_aishell_mid.wav", "zh_aishell_long.wav"),
)
LESS = RATE // 20, RATE // 10
LONGEST, SLACK = 4.0, 1.0
"""A clip keeps its last 4 s, from where it is quietest in the second before them."""
STEP = RATE // 100
LOUD = 0.05
"""Speech ends with the last 10 ms that are louder than this part of the loudest."""
ROOM_NOISE = 3.0

Say = Callable[[str, "Sixteen", "float | None"], Awaitable[str]]


def loudness(sound: Sixteen) -> NDArray[np.float64]:
    """Of each 10 ms."""
    frames = sound[: len(sound) // STEP * STEP].reshape(-1, STEP).astype(np.float64)
    return np.sqrt((frames**2).mean(axis=1))


def speech_end(sound: Sixteen) -> float:
    """Seconds at which the last speech ends."""
    level = loudness(sound)
    return (int(np.flatnonzero(level > LOUD * level.max())[-1]) + 1) * STEP / RATE


def tail(sound: Sixteen) -> Sixteen:
    """The last seconds of speech, ending with it."""
    sound = sound[: round(speech_end(sound) * RATE)]
    spare = len(sound) - round(LONGEST * RATE)
    if spare <= 0:
        return sound
    first = max(0, spare - round(SLACK * RATE)) // STEP
    level = np.convolve(loudness(sound[first * STEP : spare]), np.ones(10), "same")
    return sound[(first + int(level.argmin())) * STEP :]


def last_word(text: str) -> str:
    """The last word, as Americans spell it, or the last character of Chinese."""
    words = plain(text).replace("our", "or").split() or [""]
    return words[-1] if words[-1].isascii() else characters(words[-1])[-1]


async def nls(url: str, sound: Sixteen, pace: float | None) -> str:
    """Alibaba's protocol; texts in between where it is played as it is spoken."""
    return (await listen(url, sound, pace=pace, enable_intermediate_result=pace is not None)).text


Hear = Callable[["Sixteen"], str]


@dataclass(frozen=True)
class Clip:
    """Speech without silence after it, and its last word as a file."""

    name: str
    sound: Sixteen
    last: str


@pytest.fixture(scope="module")
def hear(real_server: RealServer) -> Iterator[Hear]:
    """The last word of a file."""
    with httpx.Client(base_url=real_server.base, timeout=120) as http:

        def answer(sound: Sixteen) -> str:
            files = {"file": ("a.wav", wav_bytes(sound))}
            reply = http.post("/v1/audio/transcriptions", data={"response_format": "json"}, files=files)
            return last_word(reply.json()["text"])

        yield answer


@pytest.fixture(scope="module")
def clips(shared_audio: Path, hear: Hear) -> list[Clip]:
    paths = (*sorted((shared_audio / "speakers").glob("libri_*.flac")), *(shared_audio / name for name in OTHERS))
    sounds = [tail(audio.read(path)) for path in paths]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        heard = list(pool.map(hear, sounds))
    return [Clip(path.stem, sound, last) for path, sound, last in zip(paths, sounds, heard, strict=True)]


def wavers(clip: Clip, hear: Hear) -> bool:
    """Whether the model takes the last word of the file for another when a little less stands before all words."""
    return any(hear(clip.sound[less:]) != clip.last for less in LESS)


def check_last_words(clips: Sequence[Clip], heard: Sequence[str], hear: Hear) -> None:
    """Whether all but one of fifty are right, where the model is sure of them."""
    other = [(clip, word) for clip, word in zip(clips, heard, strict=True) if word != clip.last]
    lost = [(clip.name, clip.last, word) for clip, word in other if not wavers(clip, hear)]
    assert len(clips) - (len(other) - len(lost)) >= CLIPS, "the model is sure of too few clips to tell"
    assert len(lost) <= LOST, lost


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("paths", "say"), [(("/ws/v1/asr", "/ws/v1"), nls), (("/ws/funasr",), funasr)], ids=["aliyun", "funasr"]
)
def test_the_last_word_is_heard_though_nothing_follows(
    real_server: RealServer, clips: Sequence[Clip], hear: Hear, paths: Sequence[str], say: Say
) -> None:
    """Fifty clips, dealt to the protocol's paths."""
    room = asyncio.Semaphore(AT_ONCE)

    async def said(clip: Clip, path: str, pace: float | None) -> str:
        if pace:
            return last_word(await say(real_server.base + path, clip.sound, pace))
        async with room:
            return last_word(await say(real_server.base + path, clip.sound, None))

    async def all_of_them() -> list[str]:
        every = len(clips) // AT_REAL_TIME
        return await asyncio.gather(
            *(
                said(clip, paths[number % len(paths)], 1.0 if number % every == 0 else None)
                for number, clip in enumerate(clips)
            )
        )

    check_last_words(clips, asyncio.run(all_of_them()), hear)


@pytest.fixture(scope="module")
def wires(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    """A server with all ports."""
    opened = start_wires(models_dir, tmp_path_factory.mktemp("wires"))
    try:
        opened.server.wait_until_ready()
        yield opened
        assert opened.server.stop(signal.SIGINT) in {0, 130}
    finally:
        opened.server.process.kill()
        opened.server.process.wait()


@pytest.mark.timeout(600)
def test_the_last_word_is_heard_in_the_other_protocols(wires: Wires, clips: Sequence[Clip], hear: Hear) -> None:
    """Fifty clips, dealt to them: what is lost would be lost of every clip. One each is played as it is spoken."""
    room = asyncio.Semaphore(AT_ONCE)
    others = [name for name in DIALECTS if name not in {"aliyun", "funasr"}]

    async def last(number: int, clip: Clip) -> str:
        protocol = others[number % len(others)]
        if number < len(others):
            return last_word((await said(protocol, wires.url(protocol), clip.sound, 1.0)).text)
        async with room:
            return last_word((await said(protocol, wires.url(protocol), clip.sound)).text)

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(last, range(len(clips)), clips))

    check_last_words(clips, asyncio.run(all_of_them()), hear)


@pytest.mark.timeout(600)
def test_telephone_sound_is_understood_as_well(real_server: RealServer, shared_audio: Path) -> None:
    said = {"en_jfk.flac": "", "en_steve_jobs_10s.wav": ""}
    for line in (shared_audio / "manifest.tsv").read_text(encoding="utf-8").splitlines():
        name, _, text, _ = line.split("\t")
        said |= {name: text} if name in said else {}
    url = f"{real_server.base}/ws/v1/asr"

    async def errors(sound: Sixteen, reference: str) -> tuple[float, float]:
        narrow = soxr.resample(sound, RATE, 8000)
        wide = await listen(url, sound)
        telephone = await listen(url, narrow, rate=8000)
        assert telephone.finals[-1].payload["time"] == pytest.approx(wide.finals[-1].payload["time"], abs=200)
        return word_error_rate(reference, wide.text), word_error_rate(reference, telephone.text)

    for name, reference in said.items():
        wide, telephone = asyncio.run(errors(audio.read(shared_audio / name), reference))
        assert telephone <= wide + 0.05, name


@pytest.mark.timeout(600)
@pytest.mark.parametrize("silence", [300, 1500])
def test_a_sentence_ends_after_the_silence_that_was_asked_for(
    real_server: RealServer, shared_audio: Path, silence: int
) -> None:
    noise = np.random.default_rng(1).normal(0.0, ROOM_NOISE, 4 * RATE).astype(np.int16)
    url = f"{real_server.base}/ws/v1/asr"
    waited: dict[str, float] = {}
    for name in ("libri_2033-164914-0000", "libri_2033-164914-0004", "libri_2414-128291-0001"):
        sound = audio.read(shared_audio / "speakers" / f"{name}.flac")
        end = speech_end(sound)
        speech = sound[: round(end * RATE)]
        heard = asyncio.run(listen(url, np.concatenate([speech, noise, speech]), max_sentence_silence=silence))
        ends = [final.payload["time"] / 1000 for final in heard.finals]
        waited[name] = next(time for time in ends if time > end) - end
    assert waited == pytest.approx(dict.fromkeys(waited, silence / 1000), abs=0.15)
