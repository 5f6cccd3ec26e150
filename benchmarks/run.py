"""`make bench`: the server over HTTP beside the usual way of calling the same model, in speed and in words."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace

from benchmarks import corpus, machine, report, sections
from benchmarks.baseline import Baseline
from benchmarks.common import Bench, finish, parser, prepared
from benchmarks.measures import Clip, joined
from benchmarks.references import gather
from benchmarks.server import Server

_DESCRIPTION = "The real server beside faster-whisper: speed on short clips and long files, and the words of both."


def main() -> int:
    """Measure; returns 1 with --check if a target was missed."""
    arguments = parser("run", _DESCRIPTION)
    arguments.add_argument("--clients", type=int, default=8, help="clients at once (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, help="rounds over the short clips (default: 3, quick: 1)")
    arguments.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    given = arguments.parse_args()
    scale = corpus.QUICK if given.quick else corpus.FULL
    scale = replace(scale, rounds=given.rounds or scale.rounds)
    began = time.monotonic()
    with prepared(
        "run", given, scale, f"{given.clients} clients; baseline: faster-whisper, cpu_threads = cores"
    ) as bench:
        _measure(bench, scale, given.clients)
        bench.report.data["seconds"] = round(time.monotonic() - began, 1)
        finish(bench, "quick" if given.quick else "bench", markdown=given.markdown)
        return 1 if given.check and not all(ratio.met for ratio in bench.report.ratios) else 0


def _measure(bench: Bench, scale: corpus.Scale, clients: int) -> None:
    """Every section, with both systems loaded and one of them idle at any time."""
    recordings = bench.corpus
    references = gather(_distinct([*recordings.spoken, *recordings.referenced]), bench.weights, bench.threads)
    report.RESULTS.mkdir(exist_ok=True)
    with (
        Baseline(bench.weights, compute_type="int8", threads=bench.threads) as baseline,
        Server(report.RESULTS / "server.log") as server,
    ):
        sections.warm_up(server, baseline, recordings.speed, clients)
        clips = sections.clips_section(server, baseline, recordings.speed, scale.rounds, clients)
        long = sections.long_section(server, baseline, recordings.long, references, clients)
        heard = joined(clips.runs["server, text"]).texts, joined(clips.runs["baseline, text"]).texts
        groups = (recordings.referenced, recordings.spoken)
        words = sections.accuracy_section(server, baseline, groups, references, clients=clients, known=heard)
        memory = {"server": machine.peak_memory(server.pid), "baseline": machine.peak_memory(baseline.pid)}
    for name, section in (("clips", clips), ("long", long), ("words", words)):
        bench.report.tables.append(section.table)
        bench.report.ratios += section.ratios
        bench.report.data[name] = {label: [asdict(run) for run in runs] for label, runs in section.runs.items()}
    bench.report.tables.append(_memory_table(memory))
    bench.report.data |= {"references": references, "peak_mebibytes": memory}


def _memory_table(memory: dict[str, float]) -> report.Table:
    rows = tuple((name, f"{peak:.0f} MiB") for name, peak in memory.items())
    note = "The most each process held, with its children; pages they share are counted in each."
    return report.Table("Memory over the whole run", ("", "peak"), rows, (note,))


def _distinct(clips: list[Clip]) -> list[Clip]:
    return list({clip.name: clip for clip in clips}.values())


if __name__ == "__main__":
    sys.exit(main())
