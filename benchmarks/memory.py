"""Memory while long recordings are recognised: `python -m benchmarks.memory`.

Samples the server and its decoders while it is idle, while it recognises an hour of speech, and while it takes three
hours of sound (mostly silence, so that it fits a coffee break: what is decoded is as long all the same). Pages of the
decoded recording itself are a memory-mapped file, which the system drops when it needs the room: they are counted
("with file") and shown without ("own", anonymous memory), which is what the bounds are about.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import av
import httpx
import numpy as np

from app.domain.engines import SAMPLE_RATE
from app.modelstore.catalog import PHONE_CALL
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import audio, corpus, report
from benchmarks.progress import bar
from benchmarks.server import Server

_ABOVE_IDLE_MIB, _RATIO = 300.0, 1.1
_SAMPLE_SECONDS = 0.2
_SPARSE_PAUSE = 60.0
"""Seconds of room noise between two clips of the sparse recording."""


@dataclass(frozen=True, slots=True)
class Peak:
    """The most seen at once, in MiB: anonymous memory, and with mapped files."""

    own: float
    with_file: float


def main() -> int:
    """Print the table; 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the dense recording (default 60)")
    parser.add_argument("--hours", type=float, default=3.0, help="length of the sparse recording (default 3)")
    given = parser.parse_args()
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Server(report.RESULTS / "memory.log") as server:
        clips = spoken(Path(folder))
        dense = write(Path(folder, "dense.flac"), clips, given.minutes * 60, pause=0.5)
        sparse = write(Path(folder, "sparse.flac"), clips, given.hours * 3600, pause=_SPARSE_PAUSE)
        ask(server, clips[0])  # what is allocated once is no growth
        idle = sample(server.pid)
        peaks = [asyncio.run(watched(server, path)) for path in (dense, sparse)]
    rows = [("idle", f"{idle.own:.0f}", f"{idle.with_file:.0f}", "")]
    for name, peak in zip((f"{given.minutes:g} min of speech", f"{given.hours:g} h, sparse"), peaks, strict=True):
        rows.append((name, f"{peak.own:.0f}", f"{peak.with_file:.0f}", f"{peak.own - idle.own:.0f}"))
    above, ratio = peaks[0].own - idle.own, peaks[1].own / peaks[0].own
    notes = (
        f"above idle: {above:.0f} MiB (bound {_ABOVE_IDLE_MIB:.0f}); longer / shorter: {ratio:.2f} (bound {_RATIO})",
    )
    table = report.Table("Memory, MiB", ("", "own", "with file", "own above idle"), tuple(rows), notes)
    print(table.text())
    return 0 if above <= _ABOVE_IDLE_MIB and ratio <= _RATIO else 1


def spoken(folder: Path) -> list[Path]:
    """Real clips to join."""
    phone_call = ModelStore(Settings()).ensure(PHONE_CALL.id)
    recordings = corpus.load(corpus.SHARED_AUDIO, phone_call, folder, replace(corpus.QUICK, long_files=1))
    return [clip.path for clip in recordings.spoken]


def write(path: Path, clips: list[Path], seconds: float, *, pause: float) -> Path:
    """A recording of so many seconds: clips in a shuffled order with room noise between, as FLAC."""
    rng, noise = random.Random(7), np.random.default_rng(7)
    sounds = [audio.read(clip) for clip in clips]
    left = round(seconds * SAMPLE_RATE)
    with av.open(path, "w") as container, bar(f"writing {path.name}", round(seconds)) as progress:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono")
        while left > 0:
            hush = noise.normal(0, 12, round(pause * SAMPLE_RATE)).astype(np.int16)
            part = np.concatenate([rng.choice(sounds), hush])[:left]
            frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            left -= len(part)
            progress.update(len(part) // SAMPLE_RATE)
        container.mux(stream.encode(None))
    return path


def ask(server: Server, path: Path) -> dict[str, object]:
    """Have a recording recognised.

    Raises:
        RuntimeError: the answer is no transcript, or ends long before the recording does.
    """
    with path.open("rb") as file:
        form = {"response_format": "verbose_json", "language": "en"}
        url = f"{server.url}/v1/audio/transcriptions"
        answer = httpx.post(url, files={"file": file}, data=form, timeout=7200, trust_env=False)
    body = answer.json()
    if answer.status_code != httpx.codes.OK or not body["segments"]:
        raise RuntimeError(f"{path.name}: {answer.status_code} {answer.text[:300]}")
    if body["segments"][-1]["end"] < body["duration"] - 2 * _SPARSE_PAUSE:
        raise RuntimeError(f"{path.name}: the transcript ends before the recording")
    return body


async def watched(server: Server, path: Path) -> Peak:
    """The most memory in use while a recording is recognised."""
    work = asyncio.create_task(asyncio.to_thread(ask, server, path))
    own = with_file = 0.0
    with bar(f"recognising {path.name} (samples taken)", None) as progress:
        while not work.done():
            now = sample(server.pid)
            own, with_file = max(own, now.own), max(with_file, now.with_file)
            progress.update(1)
            await asyncio.sleep(_SAMPLE_SECONDS)
    await work
    return Peak(own, with_file)


def sample(pid: int) -> Peak:
    """Memory of a process and its children now; what several share is counted once, in parts."""
    own = files = 0.0
    for process in [pid, *children(pid)]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
        own += sizes["Pss_Anon"]
        files += sizes["Pss"]
    return Peak(own / 1024, files / 1024)


def children(pid: int) -> list[int]:
    """Processes started by `pid`."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in listing.read_text().split()]
    return found


if __name__ == "__main__":
    sys.exit(main())
