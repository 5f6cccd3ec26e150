"""How fast a recogniser is, learnt from the calls that were timed: what forecasts of waiting rest on."""

from __future__ import annotations

_MEMORY = 0.1
"""How much the latest call counts."""


class Speed:
    """Cost a second, in the recogniser's own measure of cost."""

    def __init__(self) -> None:
        self._speed: float | None = None

    def learn(self, cost: float, seconds: float) -> None:
        """Something that cost so much took so long."""
        speed = cost / max(seconds, 1e-6)
        self._speed = speed if self._speed is None else self._speed + _MEMORY * (speed - self._speed)

    def seconds(self, cost: float) -> float:
        """How long what costs so much takes; 0 until something was timed."""
        return cost / self._speed if self._speed else 0.0
