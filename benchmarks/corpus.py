"""The recordings measured on: the shared ones where this machine has them, else the phone call anybody can fetch.

Long files are joined from clips, in a shuffled order that is the same in every run: what was said in them is known.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE
from benchmarks import audio
from benchmarks.measures import Clip

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARED_AUDIO = Path("../shared/audio")
"""Relative to the repository root, from where benchmarks are run."""
REFERENCED = ("en_jfk", "en_steve_jobs_10s", "zh_asr_example", "zh_aishell_mid", "zh_aishell_long")
"""Clips of the shared manifest whose words somebody wrote down."""
_SPEED_SECONDS = 5.0, 10.0
_REPEATS = 6
"""How often the phone call's four cuts are asked for: enough requests for eight clients to be busy."""
_PAUSES = 0.3, 1.5
"""Seconds between the clips of a long file."""
_ROOM_NOISE = 12.0
"""Standard deviation in 16-bit steps (-69 dBFS): quiet, but not the digital silence no microphone makes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. `clips` None: all there are. Long files hold at most `long_seconds`."""

    clips: int | None = None
    rounds: int = 3
    long_files: int = 8
    long_seconds: float = 300.0


FULL = Scale()
QUICK = Scale(clips=16, rounds=1, long_files=8, long_seconds=30.0)


@dataclass(frozen=True, slots=True)
class Corpus:
    """`speed` are the requests of the clip section, `spoken` the distinct clips long files are joined from,
    `referenced` those with written words; `source` says what this is, for a reader of the figures.
    """

    source: str
    speed: tuple[Clip, ...]
    spoken: tuple[Clip, ...]
    referenced: tuple[Clip, ...]
    long: tuple[Clip, ...]


def load(shared: Path, phone_call: Path, folder: Path, scale: Scale) -> Corpus:
    """The corpus; files made for it are written into `folder`. `phone_call` is the store's folder of that recording."""
    call = _phone_call(phone_call)
    if (shared / "manifest.tsv").is_file() and (shared / "speakers").is_dir():
        speakers = _speakers(shared / "speakers")
        speed = tuple(clip for clip in speakers if _SPEED_SECONDS[0] <= clip.seconds <= _SPEED_SECONDS[1])[
            : scale.clips
        ]
        spoken = speakers if scale.clips is None else speed
        source = f"{len(spoken)} LibriSpeech test-other clips; words of six other recordings"
        referenced = (*_manifest(shared), call)
    else:
        spoken = _cuts(phone_call, folder)
        speed = (spoken * _REPEATS)[: scale.clips]
        source = "phone call only (30 s, four cuts repeated and joined): fetched by the project, the same everywhere"
        referenced = (call,)
    return Corpus(source, speed, spoken, referenced, _long_files(spoken, folder, scale))


def _manifest(shared: Path) -> tuple[Clip, ...]:
    with (shared / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if Path(row["path"]).stem in REFERENCED]
    rows.sort(key=lambda row: REFERENCED.index(Path(row["path"]).stem))
    return tuple(_clip(shared / row["path"], row["language"], row["text"]) for row in rows)


def _speakers(folder: Path) -> tuple[Clip, ...]:
    """Turn about between the speakers, so that any first few of them are not all one voice."""
    files = sorted(folder.glob("libri_*.flac"), key=lambda path: (path.stem.rpartition("-")[2], path.stem))
    return tuple(_clip(path, "en", "") for path in files)


def _clip(path: Path, language: str, reference: str) -> Clip:
    return Clip(path.stem, path, len(audio.read(path)) / SAMPLE_RATE, language, reference)


def _phone_call(folder: Path) -> Clip:
    text = " ".join(words for _, _, words in _turns(folder))
    path = folder / "sample.wav"
    return Clip("phone_call", path, len(audio.read(path)) / SAMPLE_RATE, "en", text)


def _turns(folder: Path) -> list[tuple[float, float, str]]:
    """Start, end and words of each turn, from the NIST stm file beside the sound."""
    lines = (folder / "sample.stm").read_text(encoding="utf-8").splitlines()
    fields = [line.split(maxsplit=5) for line in lines if line.strip() and not line.startswith(";;")]
    return sorted((float(start), float(end), words) for _, _, _, start, end, words in fields)


def _cuts(phone_call: Path, folder: Path) -> tuple[Clip, ...]:
    """The call cut between turns as soon as five seconds are full."""
    samples = audio.read(phone_call / "sample.wav")
    clips: list[Clip] = []
    gathered: list[tuple[float, float, str]] = []
    for turn in _turns(phone_call):
        gathered.append(turn)
        start, end = gathered[0][0], turn[1]
        if end - start >= _SPEED_SECONDS[0]:
            path = folder / f"phone_call_{len(clips) + 1}.wav"
            seconds = audio.write(path, samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
            clips.append(Clip(path.stem, path, seconds, "en", " ".join(words for _, _, words in gathered)))
            gathered = []
    return tuple(clips)


def _long_files(clips: Sequence[Clip], folder: Path, scale: Scale) -> tuple[Clip, ...]:
    sounds = {clip.name: audio.read(clip.path) for clip in clips}
    made: list[Clip] = []
    for number in range(scale.long_files):
        chance = random.Random(number)
        stretches: list[NDArray[np.int16]] = []
        parts: list[str] = []
        room = scale.long_seconds * SAMPLE_RATE
        for name in _endless(list(sounds), chance):
            pause = _pause(chance.uniform(*_PAUSES), number * 1000 + len(parts))
            if len(sounds[name]) + len(pause) > room:
                break
            stretches += [sounds[name], pause]
            parts.append(name)
            room -= len(sounds[name]) + len(pause)
        path = folder / f"long_{number + 1}.wav"
        made.append(Clip(path.stem, path, audio.write(path, np.concatenate(stretches)), "en", parts=tuple(parts)))
    return tuple(made)


def _endless(names: list[str], chance: random.Random) -> Iterator[str]:
    """All names in shuffled order, then all again in another."""
    while True:
        yield from chance.sample(names, len(names))


def _pause(seconds: float, seed: int) -> NDArray[np.int16]:
    noise = np.random.default_rng(seed).normal(0.0, _ROOM_NOISE, round(seconds * SAMPLE_RATE))
    return noise.astype(np.int16)
