"""Memory while a job of many hours is worked on: `python -m benchmarks.long_job`.

Two jobs on one server, an hour of real clips and eight hours of them, with speakers told apart as by default. Memory is
looked at twice a second; shown is the most there was in each quarter of the work, and how much more the longer took.
With `--small` a Whisper of random weights recognises, so that eight hours pass in some minutes: what is decoded, kept
and joined is as long all the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import machine, report
from benchmarks.memory import Peak, sample, spoken, write
from benchmarks.progress import bar
from benchmarks.server import MODEL, Server
from tests.models.small_whisper import make_small_whisper

_RATIO = 1.15
"""Eight hours may take so many times what one takes: a list of what was said must grow, nothing else."""
_LOOK_SECONDS = 0.5
_QUARTERS = 4
_PATH = "/v1/jobs"


@dataclass(frozen=True, slots=True)
class Look:
    """How far a job was, 0 to 1, and what the server held."""

    share: float
    held: Peak


@dataclass(frozen=True, slots=True)
class Worked:
    """One job from end to end."""

    name: str
    seconds: float
    took: float
    pieces: int
    looks: Sequence[Look]

    @property
    def peak(self) -> float:
        """The most anonymous memory there was, in MiB."""
        return max(look.held.own for look in self.looks)

    def row(self) -> tuple[str, ...]:
        """Of the table."""
        quarters = [
            [look.held.own for look in self.looks if min(int(look.share * _QUARTERS), _QUARTERS - 1) == quarter]
            for quarter in range(_QUARTERS)
        ]
        shown = [f"{max(seen):.0f}" if seen else "" for seen in quarters]
        with_file = max(look.held.with_file for look in self.looks)
        pace = f"{self.seconds / self.took:.0f}"
        return self.name, str(self.pieces), f"{self.took:.0f}", pace, *shown, f"{self.peak:.0f}", f"{with_file:.0f}"


def main() -> int:
    """Print the table; 1 when the bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0, help="length of the longer recording (default 8)")
    parser.add_argument("--small", action="store_true", help="a small model of random weights in place of whisper-base")
    given = parser.parse_args()
    report.RESULTS.mkdir(exist_ok=True)
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        settings = {"DATA_DIR": str(folder / "data"), "MAX_RUNNING_JOBS": "1"}
        if given.small:
            real = ModelStore(Settings()).ensure(MODEL)
            settings["ASR_MODEL_DIR_WHISPER_BASE"] = str(make_small_whisper(folder / "small", real))
        clips = spoken(folder)
        recordings = {
            hours: write(folder / f"{hours:g}h.flac", clips, hours * 3600, pause=0.5) for hours in (1, given.hours)
        }
        server = held.enter_context(Server(report.RESULTS / "long_job.log", **settings))
        http = held.enter_context(httpx.Client(base_url=server.url, timeout=600, trust_env=False))
        _work(http, server.pid, "warm", write(folder / "warm.flac", clips, 120, pause=0.5))
        idle = sample(server.pid)
        short, long = (_work(http, server.pid, f"{hours:g} h", path) for hours, path in recordings.items())
    return _shown(idle, short, long)


def _work(http: httpx.Client, pid: int, name: str, recording: Path) -> Worked:
    """Hand a recording over and look until it is done. Raises RuntimeError: it is not, or not all of it."""
    with recording.open("rb") as file:
        answer = http.post(_PATH, files={"file": (recording.name, file)}, data={"language": "en"})
    if not answer.is_success:
        raise RuntimeError(f"no job: {answer.status_code} {answer.text[:300]}")
    job: dict[str, Any] = answer.json()
    looks: list[Look] = []
    began = time.monotonic()
    with bar(f"a job of {name}, percent", 100) as progress:
        while job["state"] in {"queued", "running"}:
            time.sleep(_LOOK_SECONDS)
            job = http.get(f"{_PATH}/{job['id']}").raise_for_status().json()
            percent = job["progress"]["percent"]
            looks.append(Look(percent / 100, sample(pid)))
            progress.set_postfix_str(f"{job['progress']['step']}, {looks[-1].held.own:.0f} MiB", refresh=False)
            progress.update(percent - progress.n)
    took = time.monotonic() - began
    if job["state"] != "succeeded":
        raise RuntimeError(f"the job of {name} has {job['state']}: {job['error']}")
    text = http.get(f"{_PATH}/{job['id']}/result", params={"response_format": "verbose_json"}).raise_for_status().json()
    if text["segments"][-1]["end"] < text["duration"] - 60:
        raise RuntimeError(f"the transcript of {name} ends before the recording")
    return Worked(name, text["duration"], took, job["progress"]["pieces_done"], looks)


def _shown(idle: Peak, short: Worked, long: Worked) -> int:
    ratio = long.peak / short.peak
    columns = ("", "pieces", "took, s", "x real time", "1st quarter", "2nd", "3rd", "4th", "most", "with file")
    notes = (
        machine.read().describe(),
        f"idle: {idle.own:.0f} MiB; {long.name} / {short.name}: {ratio:.2f} (bound {_RATIO})",
    )
    print(report.Table("A long job: anonymous memory, MiB", columns, (short.row(), long.row()), notes).text())
    return 0 if ratio <= _RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
