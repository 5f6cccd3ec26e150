"""Conversations joined from single speakers' clips, so that who speaks when is known; and how a server's parts tell it.

`made` uses the shared tool that writes them (clips in turn, little overlap); `crowded` makes harder ones here, in which
every second turn begins while the last speaker still talks.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.audio.recording import Recording
from app.domain.engines import SAMPLE_RATE, SpeechSpan
from app.domain.options import SpeechDetection
from app.domain.speakers import SpeakerOptions
from app.engines import fsmn_vad, speakers
from app.modelstore.catalog import FSMN_VAD, SPEAKERS
from app.modelstore.store import ModelStore
from app.pipeline.diarization.diarizer import Diarization, Diarizer
from app.settings import Settings, available_cores
from benchmarks import audio
from benchmarks.diarization import Turn, read_rttm

MAKER = Path("../shared/tools/make_dialogue.py")
"""Relative to the repository root."""
_PAUSES = 0.2, 1.2
_OVERLAPS = 0.7, 2.5
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A recording and who really speaks in it."""

    name: str
    path: Path
    turns: tuple[Turn, ...]
    seconds: float

    @property
    def people(self) -> int:
        """How many speak."""
        return len({turn.speaker for turn in self.turns})


def existing(path: Path, seconds: float | None = None) -> Conversation:
    """A recording with an RTTM file beside it; only the first `seconds` are annotated, if given."""
    length = len(audio.read(path)) / SAMPLE_RATE
    return Conversation(path.stem, path, tuple(read_rttm(path.with_suffix(".rttm"))), min(length, seconds or length))


def made(
    folder: Path, number: int, people: int, *, minutes: float = 5.0, overlap: float = 0.0, clips: Path | None = None
) -> Conversation:
    """One from the shared tool, seeded with `number`; `overlap` is the share of turns that begin early, `clips` a
    folder other than the shared clips.
    """
    path = folder / f"dialogue-{number}-{people}-{overlap:g}.wav"
    arguments = {"--speakers": people, "--minutes": minutes, "--seed": number, "--overlap": overlap}
    flags = [str(part) for pair in arguments.items() for part in pair]
    flags += ["--clips", str(clips)] if clips else []
    subprocess.run([sys.executable, MAKER, path, *flags], check=True, stdout=subprocess.DEVNULL)
    return existing(path)


def crowded(folder: Path, clips: Sequence[Path], number: int, people: int, *, minutes: float = 5.0) -> Conversation:
    """A conversation in which every second turn begins 0.7 to 2.5 s before the last one ends. `clips` are named
    PREFIX_SPEAKER-rest; the reference are their loud parts.
    """
    chance = random.Random(number)
    by_speaker: dict[str, list[Path]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.stem.split("_", 1)[1].split("-")[0], []).append(clip)
    chosen = chance.sample(sorted(by_speaker), people)
    sound = np.zeros(round((minutes * 60 + 60) * SAMPLE_RATE), np.float32)
    turns: list[Turn] = []
    end, last = 0.5, ""
    while end < minutes * 60:
        speaker = chance.choice([name for name in chosen if name != last])
        samples, spans = _loud(chance.choice(by_speaker[speaker]))
        early = chance.random() < 0.5 and bool(turns)
        start = max(0.0, end - chance.uniform(*_OVERLAPS) if early else end + chance.uniform(*_PAUSES))
        at = round(start * SAMPLE_RATE)
        sound[at : at + len(samples)] += samples
        turns += [Turn(start + first, start + final, speaker) for first, final in spans]
        end, last = max(end, turns[-1].end), speaker
    path = folder / f"crowded-{number}-{people}.wav"
    seconds = audio.write(path, (np.clip(sound[: round((end + 0.5) * SAMPLE_RATE)], -1, 1) * 32767).astype(np.int16))
    return Conversation(path.stem, path, tuple(turns), seconds)


def _loud(clip: Path) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """A clip at -10 dBFS peak without its silent ends, and its loud parts: 10 ms frames above a quarter of the way
    from its noise floor to its loudest, in dB; gaps of 0.3 s are bridged.
    """
    samples = audio.read(clip).astype(np.float32)
    samples *= 0.3 / max(float(np.abs(samples).max()), 1.0)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.convolve((frames**2).mean(axis=1), np.ones(5) / 5, mode="same") + 1e-10)
    floor, top = np.percentile(level, (5, 95))
    loud = np.flatnonzero(level > floor + 0.25 * (top - floor))
    first, last = int(loud[0]), int(loud[-1]) + 1
    edges = np.flatnonzero(np.diff(loud) > 30)
    starts, ends = np.append(loud[0], loud[edges + 1]) - first, np.append(loud[edges], loud[-1]) + 1 - first
    spans = [(float(a) / 100, float(b) / 100) for a, b in zip(starts, ends, strict=True)]
    return samples[first * 160 : last * 160], spans


class Teller:
    """What the server tells speakers by, without the server. A context manager."""

    def __init__(self, threads: int = 0) -> None:
        settings = Settings()
        folders = ModelStore(settings).ensure_all([FSMN_VAD.id, SPEAKERS.id])
        self.threads = threads or available_cores()
        self.detector = fsmn_vad.load(FSMN_VAD.id, folders[FSMN_VAD.id], settings)
        self.models = speakers.load(SPEAKERS.id, folders[SPEAKERS.id], settings)
        self._executor = ThreadPoolExecutor(self.threads)

    def __enter__(self) -> Teller:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()

    def spans(self, recording: Recording) -> list[SpeechSpan]:
        """Where somebody speaks."""
        return self.detector.detect(recording, SpeechDetection())

    def diarizer(self, threshold: float = 1.0) -> Diarizer:
        """One for a single event loop."""
        models = self.models
        return Diarizer(models.segmenter, models.encoder, self._executor, parallel=self.threads, threshold=threshold)

    def tell(self, recording: Recording, spans: list[SpeechSpan], options: SpeakerOptions | None = None) -> Diarization:
        """Who speaks when."""
        return asyncio.run(self.diarizer().diarize(recording, spans, options or SpeakerOptions()))


def opened(path: Path, folder: Path) -> Recording:
    """Any audio file as the service has it: mapped from `folder`."""
    raw = folder / f"{path.stem}.s16"
    audio.read(path).astype("<i2").tofile(raw)
    return Recording(raw)


def turns_of(found: Diarization) -> list[Turn]:
    """What was found, as a score wants it."""
    return [Turn(turn.start, turn.end, str(turn.speaker.number)) for turn in found.turns]
