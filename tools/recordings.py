"""Finding recordings and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError

from app.audio.suffixes import BARE_SUFFIXES, SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

RATE = 16_000
"""Hz of what is read."""


class UnreadableError(Exception):
    """There is no such recording, or no sound in it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and what to call it."""

    name: str
    path: Path


def find(paths: Iterable[Path]) -> list[Recording]:
    """Files as they are, folders' recordings in order of their names, and those that a Kaldi list names (FILE.scp: a
    name and a path in each line, relative to the list).

    Raises:
        UnreadableError: there is nothing at a path, or nothing to play in it.
    """
    found = [recording for path in paths for recording in _at(path)]
    if not found:
        raise UnreadableError("nothing to play: name at least one recording, folder or .scp list")
    return found


def read(path: Path) -> Sixteen:
    """Any audio or video file as int16 mono 16 kHz samples; .pcm and .raw are taken for such samples.

    Raises:
        UnreadableError: it cannot be read, or there is no sound in it.
    """
    try:
        samples = _bare(path) if path.suffix.lower() in BARE_SUFFIXES else _decoded(path)
    except FFmpegError as error:
        raise UnreadableError(f"no sound can be read from it ({error.strerror})") from error
    except OSError as error:
        raise UnreadableError(f"it cannot be read ({error.strerror})") from error
    if not len(samples):
        raise UnreadableError("there is no sound in it")
    return samples


def _bare(path: Path) -> Sixteen:
    data = path.read_bytes()
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16)


def _decoded(path: Path) -> Sixteen:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return np.zeros(0, np.int16)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None) if frames else []
    pieces = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(pieces).astype(np.int16) if pieces else np.zeros(0, np.int16)


def _at(path: Path) -> Iterator[Recording]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UnreadableError(f"{path}: no recordings in this folder")
        yield from (Recording(str(file.relative_to(path)), file) for file in files)
    elif not path.is_file():
        raise UnreadableError(f"{path}: there is no such file")
    elif path.suffix.lower() == ".scp":
        yield from _listed(path)
    else:
        yield Recording(path.name, path)


def _listed(path: Path) -> Iterator[Recording]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, place = line.strip().partition(" ")
        if not name:
            continue
        file = path.parent / place.strip()
        if not place.strip() or not file.is_file():
            told = "a name and the path of a file were expected (commands are not run)"
            raise UnreadableError(f"{path}, line {number}: {told}: {line.strip()}")
        yield Recording(name, file)
