"""How the server is, once a second: what it says of itself (/metrics), and what the system says of its processes."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import httpx

from benchmarks.soak.asks import KEY

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
_CLASSES = ("2xx", "4xx", "5xx")
STAGES = ("decode", "detect", "recognise", "write", "render")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the server's process and its descendants hold. `memory` is their anonymous memory in MiB: pages of
    files are shared with whoever else runs the same programs, and come and go with them."""

    memory: float = 0.0
    processes: int = 0
    open: Counter[str] = field(default_factory=Counter)
    """Descriptors by what they stand for."""

    @property
    def descriptors(self) -> int:
        """How many."""
        return self.open.total()

    def beyond(self, before: Holdings) -> str:
        """What is open that was not before."""
        return ", ".join(f"{what} {count}" for what, count in sorted((self.open - before.open).items()))


def tree(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for one in found:
        for listing in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in listing.read_text().split()]
    return found


def decoders(pid: int) -> list[int]:
    """The decoders among them."""
    found: list[int] = []
    for one in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if b"app.audio.worker" in Path(f"/proc/{one}/cmdline").read_bytes():
                found.append(one)
    return found


def age(pid: int) -> float:
    """Seconds since a process began; 0 where it is gone."""
    try:
        began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")


def holdings(pid: int) -> Holdings:
    """What they hold now."""
    processes = tree(pid) if pid else []
    memory, opened = 0.0, Counter[str]()
    for one in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                memory += int(line.split()[1]) / 1024 if line.startswith("Pss_Anon:") else 0.0
            for link in Path(f"/proc/{one}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                    opened[_kind(str(link.readlink()))] += 1
    return Holdings(memory, len(processes), opened)


def _kind(target: str) -> str:
    """socket:[12345] and the like without their numbers."""
    return target.partition(":[")[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """One second. `at` is seconds since the load began, `done` requests that had been answered; counters count since
    the server began, and are 0 again after a new start."""

    at: float
    done: int
    memory: float
    descriptors: int
    processes: int
    seen: int = 0
    """1 where /metrics answered."""
    http_2xx: float = 0.0
    http_4xx: float = 0.0
    http_5xx: float = 0.0
    audio_file: float = 0.0
    audio_live: float = 0.0
    requests: float = 0.0
    streams: float = 0.0
    waiting: float = 0.0
    oldest: float = 0.0
    decode_sum: float = 0.0
    decode_count: float = 0.0
    detect_sum: float = 0.0
    detect_count: float = 0.0
    recognise_sum: float = 0.0
    recognise_count: float = 0.0
    write_sum: float = 0.0
    write_count: float = 0.0
    render_sum: float = 0.0
    render_count: float = 0.0


def metrics(text: str) -> dict[str, float]:
    """Those of an exposition that a sample has."""
    values = {one.name: 0.0 for one in fields(Sample)[6:]}
    gauges = {
        "asr_requests_in_progress": "requests",
        "asr_streams_in_progress": "streams",
        "asr_pieces_waiting": "waiting",
        "asr_oldest_piece_wait_seconds": "oldest",
    }
    for found in _LINE.finditer(text):
        name, value = found["name"], float(found["value"])
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found["labels"] or ""))
        if name in gauges:
            values[gauges[name]] += value
        elif name == "asr_http_requests_total" and f"{labels['status'][0]}xx" in _CLASSES:
            if not labels["route"].startswith(("/health", "/metrics")):
                values[f"http_{labels['status'][0]}xx"] += value
        elif name == "asr_audio_seconds_total":
            values[f"audio_{labels['kind']}"] += value
        elif name.startswith("asr_stage_duration_seconds_") and labels.get("stage") in STAGES:
            part = name.rpartition("_")[2]
            if part in {"sum", "count"}:
                values[f"{labels['stage']}_{part}"] += value
    return values


class Watch:
    """Takes samples of a server, and writes them into a file as they come."""

    def __init__(self, path: Path, base: str) -> None:
        self.samples: list[Sample] = []
        self._began = time.monotonic()
        self._http = httpx.Client(
            base_url=base, trust_env=False, timeout=20, headers={"authorization": f"Bearer {KEY}"}
        )
        self._file = path.open("w", newline="")
        self._rows = csv.DictWriter(self._file, [one.name for one in fields(Sample)])
        self._rows.writeheader()

    def look(self, pid: int, done: int) -> Sample:
        """Take one; what the server does not say is 0."""
        held = holdings(pid)
        at = time.monotonic() - self._began
        told: dict[str, float] = {}
        with contextlib.suppress(httpx.TransportError):
            answer = self._http.get("/metrics", headers={"connection": "close"})
            told = {"seen": 1} | metrics(answer.text) if answer.status_code == httpx.codes.OK else {}
        sample = Sample(round(at, 2), done, round(held.memory, 2), held.descriptors, held.processes, **told)  # type: ignore[arg-type]
        self.samples.append(sample)
        self._rows.writerow(asdict(sample))
        self._file.flush()
        return sample

    def seconds(self, monotonic: float) -> float:
        """A time of time.monotonic as samples tell it."""
        return monotonic - self._began

    def close(self) -> None:
        """Close the file."""
        self._http.close()
        self._file.close()


def read(path: Path) -> Iterator[dict[str, float]]:
    """The samples of a file."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items()}
