"""What is measured and how it is summed up: clips, runs over them, error counts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to recognise. `reference` is what was said ("" if nobody wrote it down); `parts` are the names of the
    clips it was joined from, in order.
    """

    name: str
    path: Path
    seconds: float
    language: str
    reference: str = ""
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One pass of one system over some clips. `wall` is seconds from the first request to the last answer,
    `latencies` are seconds from asking to answer in the order asked, `texts` are by clip name.
    """

    wall: float
    audio: float
    latencies: tuple[float, ...]
    texts: dict[str, str]

    @property
    def speed(self) -> float:
        """Seconds of audio per second of wall time."""
        return self.audio / self.wall


@dataclass(frozen=True, slots=True)
class Errors:
    """Edits between a reference of `length` words (or characters) and what was heard; `lost` are the deletions."""

    edits: int = 0
    lost: int = 0
    length: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.edits + other.edits, self.lost + other.lost, self.length + other.length)

    @property
    def rate(self) -> float:
        """Edits per word of the reference."""
        return self.edits / max(1, self.length)

    @property
    def lost_rate(self) -> float:
        """Lost words per word of the reference."""
        return self.lost / max(1, self.length)


def total_errors(errors: Iterable[Errors]) -> Errors:
    """All together: long clips count for more."""
    return sum(errors, Errors())


def joined(runs: Sequence[Run]) -> Run:
    """Rounds as one run: speeds are weighted by time; of repeated clips the last text stays."""
    return Run(
        wall=sum(run.wall for run in runs),
        audio=sum(run.audio for run in runs),
        latencies=tuple(latency for run in runs for latency in run.latencies),
        texts={name: text for run in runs for name, text in run.texts.items()},
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def queued(latencies: Sequence[float], clients: int) -> list[float]:
    """What `clients` who ask again at once would wait if one worker served them in turn with these service times."""
    return [sum(latencies[max(0, index - clients + 1) : index + 1]) for index in range(len(latencies))]
