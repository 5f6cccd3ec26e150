"""What became of each request, and whether it may have: the table of faults as a program. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

FaultKind = Literal["decoder killed", "decoder hung", "disk full", "restart"]

AS_ALONE, GONE = "as alone", "client gone"
REFUSED, CUT_OFF, LATE, CLOSING = "refused", "cut off", "late", "closed by the server"
"""What a request may meet beside a status: no connection; one that ends before an answer; nothing in time; a stream
that the server ends and says so (1012)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request or stream met, times as of time.monotonic.

    `status` is HTTP's, a WebSocket's close code, or one of the words above. `right` is whether it is the status that
    was expected and the very answer that was given without faults; `stranger` whether it is the answer to another
    clip. `after` is whether the answer says when to come again. `kept` is whether the connection had served others
    before. `detail` is what to show of an answer that nobody expected.
    """

    name: str
    began: float
    ended: float
    status: str
    right: bool = False
    stranger: bool = False
    after: bool = False
    kept: bool = False
    live: bool = False
    detail: str = ""


@dataclass(slots=True)
class Fault:
    """A fault from `began` to `ended` (infinity: it goes on). `costs` is how many requests it may still cost."""

    kind: FaultKind
    began: float
    ended: float = math.inf
    costs: float = math.inf

    def meets(self, outcome: Outcome) -> bool:
        """Whether both were at the same time."""
        return self.began <= outcome.ended and outcome.began <= self.ended


FAULTS: Mapping[FaultKind, str] = MappingProxyType(
    {
        "decoder killed": "500 for at most one request; streams notice nothing",
        "decoder hung": "500 or 504 for at most one request; streams notice nothing",
        "disk full": "507 with Retry-After for recordings; streams notice nothing",
        "restart": "what was accepted is answered as alone; else no connection, or 503 with Retry-After; "
        "streams that go on are closed with 1012",
    }
)
"""What each fault may lead to, beside the usual answer. The document shows the same table."""
FULL = "full: 429 with Retry-After"


def allowed(outcome: Outcome, kind: FaultKind) -> bool:
    """Whether a fault explains what was met at the same time."""
    status = outcome.status
    if kind == "restart":
        if status == REFUSED or (status == "503" and (outcome.after or outcome.live)):
            return True
        return (outcome.live and status == CLOSING) or (outcome.kept and status == CUT_OFF)
    if outcome.live:
        return False
    if kind == "disk full":
        return status == "507" and outcome.after
    return status in ({"500"} if kind == "decoder killed" else {"500", "504"})


@dataclass(slots=True)
class Judge:
    """Counts outcomes by what explains them, and keeps those that nothing does."""

    faults: list[Fault] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By name, and by why it is as it should be."""
    unexpected: list[Outcome] = field(default_factory=list)

    @property
    def good(self) -> int:
        """Answers as they are given without faults."""
        return sum(count for (_, why), count in self.counts.items() if why == AS_ALONE)

    def why(self, outcome: Outcome) -> str | None:
        """Why an outcome is as it should be, or None: it is not. Counts it."""
        why = self._why(outcome)
        if why is None:
            self.unexpected.append(outcome)
        else:
            self.counts[outcome.name, why] += 1
        return why

    def _why(self, outcome: Outcome) -> str | None:
        if outcome.right:
            return GONE if outcome.status == GONE else AS_ALONE
        if outcome.stranger:
            return None
        if outcome.status == "429" and outcome.after:
            return FULL
        for fault in self.faults:
            if fault.meets(outcome) and fault.costs > 0 and allowed(outcome, fault.kind):
                fault.costs -= 1
                return fault.kind
        return None


def totals(counts: Iterable[tuple[tuple[str, str], int]]) -> Counter[str]:
    """How many there were of each explanation."""
    made: Counter[str] = Counter()
    for (_, why), count in counts:
        made[why] += count
    return made
