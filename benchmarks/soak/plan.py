"""What is asked, in which order, and when which fault comes: the same for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.soak.asks import ASKS, Ask
from benchmarks.soak.outcomes import FaultKind
from tools.dialects import DIALECTS

Doing = Literal["ask", "stream", "job", "vanish", "vanish from a stream", "stream with a wrong key"]
_SHARES: dict[Doing, int] = {
    "ask": 73,
    "stream": 14,
    "job": 3,
    "vanish": 5,
    "vanish from a stream": 3,
    "stream with a wrong key": 2,
}
STREAMS = tuple(name for name in DIALECTS if name != "vllm")
"""Protocols whose texts are compared. vLLM's only grows: what was guessed stays in it, and that is a matter of time."""
VANISHING = ("before the body", "in the body", "before the answer", "in the answer")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a client does with clip number `clip`; `ask` is what is asked over HTTP, `protocol` what a stream
    speaks, `moment` when it vanishes, `seed` whatever else is by chance."""

    doing: Doing
    clip: int
    seed: int
    ask: Ask = ASKS[0]
    protocol: str = ""
    moment: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault that comes when this share of everything is done."""

    share: float
    kind: FaultKind


def items(count: int, clips: int, seed: int) -> Iterator[Item]:
    """So many of them."""
    chance = random.Random(seed)
    protocols = [name for name, dialect in DIALECTS.items() if "token" in dialect.can_say]
    for _ in range(count):
        (doing,) = chance.choices(list(_SHARES), list(_SHARES.values()))
        (ask,) = chance.choices(ASKS, [one.weight for one in ASKS])
        clip, own = chance.randrange(clips), chance.randrange(1 << 30)
        protocol = chance.choice(protocols if doing == "stream with a wrong key" else list(DIALECTS))
        if doing == "stream":
            protocol = chance.choice(STREAMS)
        yield Item(doing, clip, own, ask, protocol, chance.choice(VANISHING))


def faults(count: int) -> list[Planned]:
    """When each comes. One new start at least, early: memory is judged once the server is warm after the last. More
    faults for each 5,000 requests."""
    rounds = max(1, count // 5_000)
    planned: list[Planned] = []
    for number in range(rounds):
        first, width = number / rounds, 1 / rounds
        kinds: list[tuple[float, FaultKind]] = [
            (0.10, "decoder killed"),
            (0.20, "disk full"),
            (0.35, "decoder hung"),
            (0.60, "decoder killed"),
            (0.70, "disk full"),
            (0.85, "decoder killed"),
        ]
        planned += [Planned(first + width * share, kind) for share, kind in kinds]
    planned += [Planned(share, "restart") for share in ((0.28,) if rounds == 1 else (0.13, 0.25))]
    return sorted(planned, key=lambda one: one.share)
