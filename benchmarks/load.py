"""The server under 1, 4, 8 and 32 clients, beside its bare engine in the same run: `python -m benchmarks.load`.

The bare engine is detection, cutting and recognition called directly on all threads with all clips at hand: what is
left of its speed is what uploading, decoding, batching and answering cost.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks import corpus, report
from benchmarks.common import Bench, finish, parser, prepared
from benchmarks.engine import Engine
from benchmarks.measures import Clip, Run, joined, percentile
from benchmarks.report import Table
from benchmarks.server import Server

CLIENTS = (1, 4, 8, 32)
_REQUESTS_A_CLIENT = 4


def main() -> int:
    """Measure all numbers of clients."""
    given = parser("load", "Throughput and latency by number of clients.").parse_args()
    scale = corpus.QUICK if given.quick else corpus.FULL
    with prepared("load", given, scale, "short clips; each client sends its next when it has an answer") as bench:
        measure(bench, scale.rounds)
        finish(bench, "load", markdown=given.markdown)
    return 0


def measure(bench: Bench, rounds: int) -> None:
    """Add the table to the bench's report."""
    clips = bench.corpus.speed
    engine = Engine(bench)
    engine.run(clips[:4], label="warming up")
    runs: dict[str, list[Run]] = {"bare engine": []} | {f"{count} clients": [] for count in CLIENTS}
    report.RESULTS.mkdir(exist_ok=True)
    with Server(report.RESULTS / "load.log") as server:
        server.run(clips[:4], clients=4, label="warming up")
        for _ in range(rounds):  # in turns, so that a busy neighbour hits all alike
            runs["bare engine"].append(engine.run(clips, label="bare engine"))
            for count in CLIENTS:
                runs[f"{count} clients"].append(server.run(_enough(clips, count), clients=count))
    bare = joined(runs["bare engine"]).speed
    rows = tuple(_row(name, joined(taken), bare) for name, taken in runs.items())
    columns = ("", "x real time", "of the bare engine", "requests/s", "p50 s", "p95 s")
    bench.report.tables.append(Table("Load", columns, rows))
    bench.report.data["load"] = {name: [asdict(run) for run in taken] for name, taken in runs.items()}


def _enough(clips: Sequence[Clip], clients: int) -> list[Clip]:
    """The clips as often as it takes to keep all clients busy for a few rounds."""
    return list(clips) * math.ceil(_REQUESTS_A_CLIENT * clients / len(clips))


def _row(name: str, run: Run, bare: float) -> tuple[str, ...]:
    taken = run.latencies
    times = [f"{percentile(taken, share):.2f}" for share in (0.5, 0.95)] if taken else ["", ""]
    rate = f"{len(taken) / run.wall:.2f}" if taken else ""
    return (name, f"{run.speed:.1f}", f"{run.speed / bare:.2f}", rate, *times)


if __name__ == "__main__":
    sys.exit(main())
