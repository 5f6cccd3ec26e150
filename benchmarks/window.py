"""`python -m benchmarks.window`: Whisper encoding 15 s at a time against the 30 s it was trained on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from unittest.mock import patch

from app.engines.whisper import recognizer
from benchmarks import corpus
from benchmarks.common import Bench, finish, parser, prepared
from benchmarks.engine import Engine
from benchmarks.measures import Clip, Run, joined
from benchmarks.references import PSEUDO, gather, scored
from benchmarks.report import Table, percent

_LONG_FILES = 4


@dataclass(frozen=True, slots=True)
class _Way:
    """Pieces of up to `pieces` seconds; encoded in a window of `short` seconds where they fit, else in 30 s."""

    label: str
    pieces: float
    short: float = 15.0

    def run(self, engine: Engine, clips: Sequence[Clip], label: str) -> Run:
        """Recognise the clips this way."""
        # The recogniser has no setting for the short window: other lengths only cost time or words, as this shows.
        with patch.object(recognizer, "_SHORT_WINDOW", self.short):
            return engine.run(clips, label=f"{label}: {self.label}")


_WAYS = (
    _Way("10 s pieces, 10 s window", 10.0, short=10.0),
    _Way("15 s pieces, 15 s window (ASR_WHISPER_WINDOW=15)", 15.0),
    _Way("30 s pieces, window by length (ASR_WHISPER_WINDOW=30)", 30.0),
    _Way("15 s pieces, always 30 s window", 15.0, short=0.0),
    _Way("30 s pieces, always 30 s window", 30.0, short=0.0),
)


def main() -> int:
    """Measure all ways."""
    given = parser("window", "Speed and words of Whisper's short and long encoder window.").parse_args()
    scale = replace(corpus.QUICK if given.quick else corpus.FULL, long_files=_LONG_FILES)
    with prepared("window", given, scale, "the engine alone, one piece a call, all threads") as bench:
        _measure(bench)
        finish(bench, "window", markdown=given.markdown)
    return 0


def _measure(bench: Bench) -> None:
    recordings = bench.corpus
    references = gather(recordings.spoken, bench.weights, bench.threads)
    groups: dict[str, list[list[Clip]]] = {  # what is recognised in one go before the next way has its turn
        "short clips": [list(recordings.spoken)],
        "joined files": [[clip] for clip in recordings.long],
    }
    engines = {seconds: Engine(bench, window_seconds=seconds) for seconds in (10.0, 15.0, 30.0)}
    for way in _WAYS:
        way.run(engines[way.pieces], recordings.spoken[:2], "warm-up")
    rows: list[tuple[str, ...]] = []
    for name, shares in groups.items():
        runs: dict[_Way, list[Run]] = {way: [] for way in _WAYS}
        for share in shares:
            for way in _WAYS:
                runs[way].append(way.run(engines[way.pieces], share, name))
        for way in _WAYS:
            run = joined(runs[way])
            errors = scored([clip for share in shares for clip in share], run.texts, references)
            rows.append((name, way.label, f"{run.speed:.1f}", percent(errors.rate), percent(errors.lost_rate)))
            bench.report.data[f"{name}: {way.label}"] = asdict(run)
    notes = (PSEUDO,) if any(not clip.reference for clip in recordings.spoken) else ()
    columns = ("recordings", "pieces and window", "x real time", "WER", "lost")
    bench.report.tables.append(Table("Encoder window", columns, tuple(rows), notes, text_columns=2))


if __name__ == "__main__":
    sys.exit(main())
