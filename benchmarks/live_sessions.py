"""Live sessions at real time: each plays recordings of its own, as a microphone would, and its answers are timed."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

from benchmarks import accuracy, audio
from benchmarks.measures import Clip, Errors, percentile, total_errors
from benchmarks.memory import children
from benchmarks.progress import bar, note
from benchmarks.server import Server
from tests.real.live_client import RATE, Heard, TaskFailedError, listen

if TYPE_CHECKING:
    from benchmarks.audio import Sixteen

SOCKET = "/ws/v1/asr"
FINAL_SECONDS = 0.6
"""The most that 95 of 100 sentences may take from their endpoint to their text."""
_SLIP_SECONDS = 1.0
"""Sound that is sent later than that was not played at real time: the server does not take it, or this machine cannot
play it."""
_PATIENCE = 900.0
_LEAD, _PAUSES = 0.5, (1.2, 2.5)
_ROOM_NOISE = 12.0
_STAGGER, _SPREAD = 0.73, 5.0
"""Sessions begin so many seconds apart, within this time."""


@dataclass(frozen=True, slots=True)
class Script:
    """What one session plays, and the clips in it."""

    sound: Sixteen
    clips: tuple[Clip, ...]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.sound) / RATE


@dataclass(frozen=True, slots=True)
class Held:
    """What came of some sessions at once. Delays are in seconds, one a sentence; `slip` is how late the latest frame
    was sent; `partials` are texts before the final one; `cores` is how many the server kept busy."""

    sessions: int
    seconds: float
    finals: tuple[float, ...]
    firsts: tuple[float, ...]
    partials: int
    slip: float
    errors: Errors
    cores: float
    failures: tuple[str, ...]

    def within(self, bound: float) -> bool:
        """Whether everybody was served, and 95 of 100 final texts came within `bound` seconds of the endpoint."""
        served = not self.failures and self.slip <= _SLIP_SECONDS and bool(self.finals)
        return served and percentile(self.finals, 0.95) <= bound

    def __add__(self, other: Held) -> Held:
        """Both runs of as many sessions as one."""
        return Held(
            sessions=self.sessions,
            seconds=self.seconds + other.seconds,
            finals=self.finals + other.finals,
            firsts=self.firsts + other.firsts,
            partials=self.partials + other.partials,
            slip=max(self.slip, other.slip),
            errors=self.errors + other.errors,
            cores=(self.cores + other.cores) / 2,
            failures=self.failures + other.failures,
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """So many seconds of sound were heard in `wall` seconds, which took `work` seconds of processors."""

    seconds: float
    wall: float
    work: float

    @property
    def speed(self) -> float:
        """Seconds of sound a second."""
        return self.seconds / self.wall

    @property
    def cost(self) -> float:
        """Processor seconds a second of sound: hardly depends on what else the machine does."""
        return self.work / self.seconds


def scripts(clips: Sequence[Clip], count: int, seconds: float) -> list[Script]:
    """So many different sequences of clips with pauses, each of so many seconds, the same in every run."""
    sounds = {clip.name: audio.read(clip.path) for clip in clips}
    return [_script(clips, sounds, seconds, number) for number in range(count)]


def _script(clips: Sequence[Clip], sounds: Mapping[str, Sixteen], seconds: float, number: int) -> Script:
    chance, noise = random.Random(number), np.random.default_rng(number)

    def hush(length: float) -> Sixteen:
        return noise.normal(0.0, _ROOM_NOISE, round(length * RATE)).astype(np.int16)

    parts, chosen, left = [hush(_LEAD)], list[Clip](), round((seconds - _LEAD) * RATE)
    while fitting := [clip for clip in clips if len(sounds[clip.name]) + _PAUSES[1] * RATE <= left]:
        unheard = [clip for clip in fitting if clip not in chosen]
        clip = chance.choice(unheard or fitting)
        parts += [sounds[clip.name], hush(chance.uniform(*_PAUSES))]
        chosen.append(clip)
        left -= len(parts[-1]) + len(parts[-2])
    return Script(np.concatenate([*parts, hush(left / RATE)]), tuple(chosen))


def transcripts(server: Server, clips: Sequence[Clip]) -> dict[str, str]:
    """What the same server hears in each clip when it is uploaded, by name: what live text is compared to.

    Raises:
        RuntimeError: an answer was no transcript.
    """
    heard: dict[str, str] = {}
    with (
        httpx.Client(base_url=server.url, timeout=300, trust_env=False) as http,
        bar("the clips as files", len(clips)) as progress,
    ):
        for clip in clips:
            files = {"file": (clip.path.name, clip.path.read_bytes())}
            answer = http.post("/v1/audio/transcriptions", data={"response_format": "json"}, files=files)
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"{clip.name}: {answer.status_code} {answer.text[:300]}")
            heard[clip.name] = answer.json()["text"]
            progress.update()
    return heard


def hold(server: Server, played: Sequence[Script], offline: Mapping[str, str]) -> Held:
    """Play all at once, at real time. `offline` are the clips' transcripts; empty: texts are not compared."""
    note(f"{len(played)} sessions of {played[0].seconds:.0f} s ...")
    before, began = processor_seconds(server.pid), time.perf_counter()
    outcomes = asyncio.run(_play(server.url + SOCKET, played, pace=1.0))
    cores = (processor_seconds(server.pid) - before) / (time.perf_counter() - began)
    heard = [(script, one) for script, one in zip(played, outcomes, strict=True) if isinstance(one, Heard)]
    return Held(
        sessions=len(played),
        seconds=sum(script.seconds for script in played),
        finals=tuple(delay for _, one in heard for delay in one.final_delays()),
        firsts=tuple(delay for _, one in heard for delay in one.first_delays()),
        partials=sum(len(one.partials) for _, one in heard),
        slip=max((one.slip for _, one in heard), default=0.0),
        errors=total_errors(_errors(script, one, offline) for script, one in heard) if offline else Errors(),
        cores=cores,
        failures=tuple(str(one) for one in outcomes if isinstance(one, TaskFailedError)),
    )


def rushed(server: Server, played: Sequence[Script]) -> Pace:
    """How fast the server hears when all sessions send as fast as it takes it, without texts in between.

    Raises:
        TaskFailedError: a session was refused, or failed.
    """
    before, began = processor_seconds(server.pid), time.perf_counter()
    outcomes = asyncio.run(_play(server.url + SOCKET, played, enable_intermediate_result=False))
    wall, work = time.perf_counter() - began, processor_seconds(server.pid) - before
    for one in outcomes:
        if isinstance(one, TaskFailedError):
            raise one
    return Pace(sum(script.seconds for script in played), wall, work)


def processor_seconds(pid: int) -> float:
    """What a process and its children have computed so far."""
    total = 0
    for process in [pid, *children(pid)]:
        fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _errors(script: Script, heard: Heard, offline: Mapping[str, str]) -> Errors:
    return accuracy.errors(" ".join(offline[clip.name] for clip in script.clips), heard.text, "en")


async def _play(
    url: str, played: Sequence[Script], *, pace: float | None = None, **options: bool
) -> list[Heard | TaskFailedError]:
    async def one(number: int, script: Script) -> Heard | TaskFailedError:
        if pace:
            await asyncio.sleep(number * _STAGGER % _SPREAD)
        try:
            return await listen(url, script.sound, pace=pace, patience=_PATIENCE, **options)
        except TaskFailedError as error:
            return error

    return await asyncio.gather(*(one(number, script) for number, script in enumerate(played)))
