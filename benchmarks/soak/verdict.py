"""What a soak says in the end: each check with its bound, from figures alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.soak.looking import Sample

MIB_A_THOUSAND = 1.0
"""By how much memory may grow with a thousand requests."""
ENOUGH = 5_000
"""Requests in the second half from which a slope is judged: below it, what is made once for good (threads' arenas,
caches of the server and of its libraries) is more than what the bound forbids."""
WARM = 3_000
"""Requests after a start in which that is made: no growth of those that follow is judged by them."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict. `met` is None where it cannot be judged."""

    name: str
    measured: str
    bound: str
    met: bool | None

    @property
    def row(self) -> tuple[str, str, str, str]:
        """As a table has it."""
        return self.name, self.measured, self.bound, {True: "met", False: "MISSED", None: "not judged"}[self.met]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The second by the first, by least squares; NaN where that cannot be told."""
    if len(points) < 3:
        return math.nan
    middle = sum(x for x, _ in points) / len(points)
    level = sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * (y - level) for x, y in points) / spread if spread else math.nan


def growth(samples: Sequence[Sample], since: float) -> Check:
    """Memory against requests, in the second half of them and once it is warm after `since`, when it last began."""
    name, bound = "memory, MiB a 1,000 requests", f"<= {MIB_A_THOUSAND:g}"
    half = samples[-1].done / 2 if samples else 0.0
    warm = next((one.done for one in samples if one.at > since), 0.0) + WARM
    points = [(one.done / 1000, one.memory) for one in samples if one.done >= max(half, warm) and one.memory]
    grown = slope(points)
    if math.isnan(grown):
        return Check(name, "too short to judge", bound, None)
    requests = 1000 * (points[-1][0] - points[0][0])
    if requests < ENOUGH:
        return Check(name, f"{grown:+.2f}: too short to judge", f"{bound}, from {2 * ENOUGH:,} requests", None)
    return Check(name, f"{grown:+.2f} over {requests:.0f} requests", bound, grown <= MIB_A_THOUSAND)


def none_of(name: str, found: Sequence[str], shown: int = 3) -> Check:
    """A list that must be empty."""
    return Check(name, f"{len(found)}: {', '.join(found[:shown])}" if found else "0", "0", not found)


def no_more(name: str, before: int, after: int, told: str = "") -> Check:
    """A number that must be back where it was; `told` says what is more."""
    more = f" ({told})" if told and after > before else ""
    return Check(name, f"{before} -> {after}{more}", f"<= {before}", after <= before)
