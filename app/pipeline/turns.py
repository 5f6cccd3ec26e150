"""Whose piece is next: live before files, files before jobs, keys in turn, requests of a key in turn, pieces of a
request in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

_T = TypeVar("_T")

JOB_SHARE = 10
"""Of so many calls of a busy recogniser, one is for jobs that wait: so they end, and nobody else notices."""


class Urgency(IntEnum):
    """What somebody waits for at this moment goes first. Of live speech, what was said before guesses at what is being
    said, which are worth nothing when they are late; and the first guess, which shows that somebody is heard, before
    better ones. For a job nobody waits."""

    FINAL = 0
    FIRST_DRAFT = 1
    DRAFT = 2
    FILE = 3
    JOB = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """In whose name a piece waits: a request, the key it came with, and how urgent it is."""

    request: Hashable
    key: Hashable = ""
    urgency: Urgency = Urgency.FILE


class Overtaking:
    """Counts how often others go before jobs that wait."""

    def __init__(self) -> None:
        self._others = 0

    @property
    def over(self) -> bool:
        """Whether it is a job's turn, whoever else waits."""
        return self._others >= JOB_SHARE - 1

    def note(self, *, job: bool, waiting: bool) -> None:
        """Somebody goes: a `job`, or somebody else while jobs are `waiting`, or not."""
        if job:
            self._others = 0
        elif waiting:
            self._others += 1


class Turns(Generic[_T]):
    """Waiting items. Only who was served goes to the back of the line, so nobody starves (but jobs might: who takes
    items sees to it, see Overtaking)."""

    def __init__(self) -> None:
        self._lines: dict[Urgency, OrderedDict[Hashable, OrderedDict[Hashable, deque[_T]]]] = {
            urgency: OrderedDict() for urgency in Urgency
        }
        self._counts = dict.fromkeys(Urgency, 0)

    def __len__(self) -> int:
        return sum(self._counts.values())

    @property
    def jobs(self) -> int:
        """How many of them are jobs'."""
        return self._counts[Urgency.JOB]

    def add(self, item: _T, turn: Turn) -> None:
        """Put `item` behind what its request has waiting already."""
        requests = self._lines[turn.urgency].setdefault(turn.key, OrderedDict())
        requests.setdefault(turn.request, deque()).append(item)
        self._counts[turn.urgency] += 1

    def heads(self) -> Iterator[_T]:
        """What each request has waited for longest."""
        for line in self._lines.values():
            for requests in line.values():
                for items in requests.values():
                    yield items[0]

    def take(self, fits: Callable[[_T], bool]) -> _T | None:
        """The next item that `fits`; None when none does. A request's items are never overtaken by its own."""
        for urgency, line in self._lines.items():
            for key, requests in line.items():
                for request, items in requests.items():
                    if fits(items[0]):
                        item = items[0]
                        self._drop(item, Turn(request, key, urgency))
                        if request in requests:
                            requests.move_to_end(request)
                        if key in line:
                            line.move_to_end(key)
                        return item
        return None

    def remove(self, item: _T, turn: Turn) -> None:
        """Take `item` out wherever it waits; nothing happens when it does not."""
        if item in self._lines[turn.urgency].get(turn.key, {}).get(turn.request, ()):
            self._drop(item, turn)

    def _drop(self, item: _T, turn: Turn) -> None:
        line = self._lines[turn.urgency]
        requests = line[turn.key]
        items = requests[turn.request]
        items.remove(item)
        self._counts[turn.urgency] -= 1
        if not items:
            del requests[turn.request]
        if not requests:
            del line[turn.key]
