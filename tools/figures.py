"""What a run of streams comes to: how late texts were, in figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tools.dialects.hearing import Heard


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds: the median, what 95 % were within, the longest; `count` were measured."""

    count: int
    median: float
    most: float
    worst: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Delays | None:
        """None where nothing was measured."""
        known = sorted(seconds)
        return cls(len(known), percentile(known, 0.5), percentile(known, 0.95), known[-1]) if known else None


@dataclass(frozen=True, slots=True)
class Summary:
    """A run. `seconds` is sound, `wall` is time. Delays are None where the protocol does not tell the times they are
    reckoned from, or where sound was not sent as it is spoken."""

    heard: int
    failed: int
    sentences: int
    seconds: float
    wall: float
    first: Delays | None
    final: Delays | None
    last: Delays | None
    slip: Delays | None


def summary(heard: Sequence[Heard], failed: int, wall: float, *, paced: bool) -> Summary:
    """Of streams that were heard to their end."""
    return Summary(
        heard=len(heard),
        failed=failed,
        sentences=sum(bool(text) for one in heard for text in one.texts),
        seconds=sum(one.seconds for one in heard),
        wall=wall,
        first=Delays.of(delay for one in heard for delay in one.first_delays()) if paced else None,
        final=Delays.of(delay for one in heard for delay in one.final_delays()) if paced else None,
        last=Delays.of(one.after_the_end for one in heard),
        slip=Delays.of(one.slip for one in heard) if paced else None,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest that `share` of them are no greater than."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def lines(run: Summary) -> list[str]:
    """For people to read."""
    speed = f", {run.seconds / run.wall:.1f} times as fast as it was spoken" if run.wall > 0 else ""
    count = f"{run.heard} stream{'' if run.heard == 1 else 's'} heard, {run.failed} failed"
    sentences = f"{run.sentences} sentence{'' if run.sentences == 1 else 's'}"
    said = [f"{count}; {sentences} in {run.seconds:.1f} s of sound, in {run.wall:.1f} s{speed}"]
    rows = (
        ("first text after the sentence's beginning", run.first),
        ("final text after the sentence's end", run.final),
        ("last text after the stream's end", run.last),
        ("sound sent late by", run.slip),
    )
    known = [(name, delays) for name, delays in rows if delays]
    if known:
        said.append(f"{'':<43}{'median':>9}{'95 %':>9}{'worst':>9}")
    for name, delays in known:
        said.append(f"{name:<43}{delays.median:>7.2f} s{delays.most:>7.2f} s{delays.worst:>7.2f} s")
    return said
