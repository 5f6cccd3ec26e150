"""`python -m benchmarks.padding`: how much silence around speech the recogniser needs (segmentation.PADDING)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from unittest.mock import patch

from app.pipeline import segmentation
from benchmarks import corpus
from benchmarks.common import Bench, finish, parser, prepared
from benchmarks.engine import Engine
from benchmarks.measures import Clip
from benchmarks.references import PSEUDO, gather, scored
from benchmarks.report import Table, percent

_PADDINGS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_QUICK_PADDINGS = (0.1, 0.3, 0.5, 0.7)
_LONG_FILES = 2
_CHINESE = "zh, CER"


def main() -> int:
    """Measure all paddings."""
    given = parser("padding", "Errors as a function of the padding round each piece of speech.").parse_args()
    scale = replace(corpus.QUICK if given.quick else corpus.FULL, long_files=_LONG_FILES)
    with prepared("padding", given, scale, f"segmentation.PADDING is {segmentation.PADDING} s") as bench:
        _measure(bench, _QUICK_PADDINGS if given.quick else _PADDINGS)
        finish(bench, "padding", markdown=given.markdown)
    return 0


def _measure(bench: Bench, paddings: Sequence[float]) -> None:
    recordings = bench.corpus
    references = gather([*recordings.spoken, *recordings.referenced], bench.weights, bench.threads)
    groups: dict[str, list[Clip]] = {
        _CHINESE: [clip for clip in recordings.referenced if clip.language == "zh"],
        "en, WER": [clip for clip in recordings.referenced if clip.language == "en"],
        "short clips, WER": list(recordings.spoken),
        "joined files, WER": list(recordings.long),
    }
    groups = {name: clips for name, clips in groups.items() if clips}
    everything = [clip for clips in groups.values() for clip in clips]
    chinese = groups.get(_CHINESE, [])
    engine, unstyled = Engine(bench), Engine(bench, chinese_style=False)
    rows: list[tuple[str, ...]] = []
    for padding in paddings:
        with patch.object(segmentation, "PADDING", padding):
            run = engine.run(everything, label=f"padding {padding} s")
            plain = unstyled.run(chinese, label=f"padding {padding} s, Chinese without style")
        errors = [scored(clips, run.texts, references) for clips in groups.values()]
        without = (percent(scored(chinese, plain.texts, references).rate),) if chinese else ()
        cells = (*(percent(each.rate) for each in errors), percent(errors[-1].lost_rate), *without)
        rows.append((f"{padding} s", *cells, f"{run.speed:.1f}"))
        bench.report.data[f"padding {padding}"] = {"all": asdict(run), "zh without style": asdict(plain)}
    sizes = ", ".join(f"{name.partition(',')[0]}: {len(clips)}" for name, clips in groups.items())
    columns = (
        "padding",
        *groups,
        "joined files, lost",
        *(("zh without style, CER",) if chinese else ()),
        "x real time",
    )
    style = "Without style: ASR_CHINESE_STYLE=false, no example of Chinese as readers expect it before each piece."
    notes = (
        style,
        f"Recordings - {sizes}.",
        *((PSEUDO,) if any(not clip.reference for clip in recordings.spoken) else ()),
    )
    bench.report.tables.append(Table("Padding", columns, tuple(rows), notes))


if __name__ == "__main__":
    sys.exit(main())
