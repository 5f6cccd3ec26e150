"""Short requests beside a job, and without one: `python -m benchmarks.jobs`.

One client asks for 5 s clips and for 30 s recordings, one after the other, of a server that has nothing else to do, and
of the same one while it works on a long job; in turns, so that a busy neighbour hits both alike.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from app.modelstore.catalog import PHONE_CALL
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import audio, machine, report
from benchmarks.measures import percentile
from benchmarks.progress import note
from benchmarks.server import MODEL, Server

_RATE = 16_000
_ANSWER_SECONDS, _BEGIN_SECONDS = 900.0, 300.0


@dataclass
class Taken:
    """Seconds that requests of one length took, without a job and beside one."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def row(self, name: str) -> tuple[str, ...]:
        """Of the table."""
        figures = [percentile(taken, share) for share in (0.5, 0.95) for taken in (self.alone, self.beside)]
        median, median_beside, tail, tail_beside = figures
        ratios = f"{median_beside / median:.2f}", f"{tail_beside / tail:.2f}"
        times = [f"{figure:.3f}" for figure in (median, median_beside, tail, tail_beside)]
        return (name, str(len(self.beside)), *times[:2], ratios[0], *times[2:], ratios[1])

    @property
    def ratio(self) -> float:
        """Of the 95th percentiles."""
        return percentile(self.beside, 0.95) / percentile(self.alone, 0.95)


def main() -> int:
    """Print the table; 1 when a bound was given and is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="of each part (default 4)")
    parser.add_argument("--short", type=int, default=30, help="5 s clips in a round (default 30)")
    parser.add_argument("--long", type=int, default=8, help="30 s recordings in a round (default 8)")
    parser.add_argument("--minutes", type=int, default=60, help="length of the job's recording (default 60)")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next request")
    parser.add_argument("--bound", type=float, help="the p95 ratio that must not be exceeded")
    given = parser.parse_args()
    folder = ModelStore(Settings()).ensure_all([MODEL, "fsmn-vad", PHONE_CALL.id], console_progress())[PHONE_CALL.id]
    neighbours = machine.Neighbours()
    report.RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        call = audio.read(folder / "sample.wav")
        requests = {"5 s": _clips(call, Path(made)), "30 s": [folder / "sample.wav"]}
        recording = Path(made) / "long.wav"
        audio.write(recording, np.tile(call, -(-given.minutes * 60 * _RATE // len(call))))
        taken = {name: Taken() for name in requests}
        speeds: list[float] = []
        counts = dict(zip(requests, (given.short, given.long), strict=True))
        with (
            Server(report.RESULTS / "jobs.log", DATA_DIR=made, MAX_RUNNING_JOBS="1") as server,
            httpx.Client(base_url=server.url, timeout=_ANSWER_SECONDS, trust_env=False) as http,
        ):
            requests["5 s"] = [path for path in requests["5 s"] if _ask(http, path)[1]]  # and it is warm now
            for number in range(given.rounds):
                note(f"round {number + 1} of {given.rounds}: alone ...")
                for name, paths in requests.items():
                    taken[name].alone += _ask_all(http, paths, counts[name], given.pause)
                note("beside a job ...")
                with _job(http, recording, speeds):
                    for name, paths in requests.items():
                        taken[name].beside += _ask_all(http, paths, counts[name], given.pause)
    return _shown(taken, speeds, neighbours, given.pause, given.bound)


def _clips(call: audio.Sixteen, folder: Path) -> list[Path]:
    """The call in clips of 5 s."""
    length = 5 * _RATE
    paths: list[Path] = []
    for start in range(0, len(call) - length + 1, length):
        paths.append(folder / f"clip-{start // length}.wav")
        audio.write(paths[-1], call[start : start + length])
    return paths


def _ask_all(http: httpx.Client, paths: Sequence[Path], count: int, pause: float) -> list[float]:
    """Seconds from asking to answer, of so many requests one after the other."""
    taken: list[float] = []
    for number in range(count):
        taken.append(_ask(http, paths[number % len(paths)])[0])
        time.sleep(pause)
    return taken


def _ask(http: httpx.Client, path: Path) -> tuple[float, str]:
    """Seconds from asking to answer, and what is said."""
    content = path.read_bytes()
    form = {"language": "en", "response_format": "json"}
    began = time.perf_counter()
    answer = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", content)}, data=form)
    seconds = time.perf_counter() - began
    if not answer.is_success:
        raise RuntimeError(f"no transcript: {answer.status_code} {answer.text[:300]}")
    return seconds, answer.json()["text"]


@contextmanager
def _job(http: httpx.Client, recording: Path, speeds: list[float]) -> Generator[None]:
    """While a job runs, of which `speeds` is told how many times as fast as real time it went meanwhile."""
    with recording.open("rb") as file:
        answer = http.post("/v1/jobs", files={"file": ("long.wav", file)}, data={"language": "en"})
    if not answer.is_success:
        raise RuntimeError(f"no job: {answer.status_code} {answer.text[:300]}")
    path = f"/v1/jobs/{answer.json()['id']}"
    try:
        deadline = time.monotonic() + _BEGIN_SECONDS
        while _progress(http, path)["pieces_done"] < 2:  # decoded, and well under way
            if time.monotonic() > deadline:
                raise RuntimeError("the job did not begin")
            time.sleep(0.2)
        began, before = time.monotonic(), _progress(http, path)["seconds_done"]
        yield
        speeds.append((_progress(http, path)["seconds_done"] - before) / (time.monotonic() - began))
    finally:
        http.delete(path).raise_for_status()
        time.sleep(2.0)  # what it had in hand ends


def _progress(http: httpx.Client, path: str) -> dict[str, float]:
    job = http.get(path).raise_for_status().json()
    if job["state"] not in {"queued", "running"}:
        raise RuntimeError(f"the job is not running any more but {job['state']}: a longer one is needed (--minutes)")
    return job["progress"]


def _shown(
    taken: dict[str, Taken],
    speeds: Sequence[float],
    neighbours: machine.Neighbours,
    pause: float,
    bound: float | None,
) -> int:
    columns = ("", "requests", "p50 alone", "beside", "ratio", "p95 alone", "beside", "ratio")
    rows = tuple(one.row(name) for name, one in taken.items())
    notes = (
        machine.read().describe(),
        neighbours.describe(),
        f"{MODEL} int8, language given; seconds from asking to answer; {pause:g} s of pause between requests",
        f"beside them the job went at {sum(speeds) / len(speeds):.1f} x real time",
    )
    print(report.Table("Beside a job", columns, rows, notes).text())
    return 0 if bound is None or all(one.ratio <= bound for one in taken.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
