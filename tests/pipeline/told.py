"""A meter that keeps what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.domain.meters import Meter


@dataclass
class Told(Meter):
    """Everything, in order."""

    stages: list[tuple[str, float]] = field(default_factory=list)
    calls: list[tuple[str, int, float, list[float]]] = field(default_factory=list)
    sound: list[tuple[str, float]] = field(default_factory=list)
    first_partials: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)

    def stage(self, stage: str, seconds: float) -> None:
        self.stages.append((stage, seconds))

    def call(self, model: str, pieces: int, fill: float, waited: Sequence[float]) -> None:
        self.calls.append((model, pieces, fill, list(waited)))

    def heard(self, model: str, seconds: float) -> None:
        self.sound.append((model, seconds))

    def first_partial(self, seconds: float) -> None:
        self.first_partials.append(seconds)

    def final(self, seconds: float) -> None:
        self.finals.append(seconds)

    def restarted(self, what: str) -> None:
        self.restarts.append(what)
