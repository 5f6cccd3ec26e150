"""`python -m benchmarks.silence`: how long a pause inside a piece costs Whisper no words (Capabilities.max_silence)."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace

from benchmarks import corpus
from benchmarks.common import Bench, finish, parser, prepared
from benchmarks.engine import Engine
from benchmarks.references import PSEUDO, gather, scored
from benchmarks.report import Table, percent

_PAUSES = (3.0, 2.0, 1.5, 1.0, 0.7)
_QUICK_PAUSES = (3.0, 1.0)
_LONG_FILES = 2


def main() -> int:
    """Measure all pauses."""
    given = parser("silence", "Errors as a function of the longest pause inside a piece.").parse_args()
    scale = replace(corpus.QUICK if given.quick else corpus.FULL, long_files=_LONG_FILES)
    with prepared("silence", given, scale, "the engine alone, one piece a call, all threads") as bench:
        _measure(bench, _QUICK_PAUSES if given.quick else _PAUSES)
        finish(bench, "silence", markdown=given.markdown)
    return 0


def _measure(bench: Bench, pauses: tuple[float, ...]) -> None:
    recordings = bench.corpus
    references = gather(recordings.spoken, bench.weights, bench.threads)
    rows: list[tuple[str, ...]] = []
    for pause in pauses:
        engine = Engine(bench, max_silence=pause)
        run = engine.run(recordings.long, label=f"pauses up to {pause} s")
        errors = scored(recordings.long, run.texts, references)
        rows.append((f"{pause} s", percent(errors.rate), percent(errors.lost_rate), f"{run.speed:.1f}"))
        bench.report.data[f"pause {pause}"] = asdict(run)
    notes = (PSEUDO,) if any(not clip.reference for clip in recordings.spoken) else ()
    columns = ("longest pause in a piece", "WER", "lost", "x real time")
    bench.report.tables.append(Table("Pauses inside pieces, joined files", columns, tuple(rows), notes))


if __name__ == "__main__":
    sys.exit(main())
