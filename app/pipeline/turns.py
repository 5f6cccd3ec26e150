"""Whose piece is next: live before files, keys in turn, requests of a key in turn, pieces of a request in order."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Turn:
    """In whose name a piece waits: a request, the key it came with, and whether somebody is listening live."""

    request: Hashable
    key: Hashable = ""
    live: bool = False


class Turns(Generic[_T]):
    """Waiting items. Only who was served goes to the back of the line, so nobody starves."""

    def __init__(self) -> None:
        self._lines: dict[bool, OrderedDict[Hashable, OrderedDict[Hashable, deque[_T]]]] = {
            True: OrderedDict(),
            False: OrderedDict(),
        }
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: _T, turn: Turn) -> None:
        """Put `item` behind what its request has waiting already."""
        requests = self._lines[turn.live].setdefault(turn.key, OrderedDict())
        requests.setdefault(turn.request, deque()).append(item)
        self._count += 1

    def take(self, fits: Callable[[_T], bool]) -> _T | None:
        """The next item that `fits`; None when none does. A request's items are never overtaken by its own."""
        for live in (True, False):
            line = self._lines[live]
            for key, requests in line.items():
                for request, items in requests.items():
                    if fits(items[0]):
                        item = items[0]
                        self._drop(item, Turn(request, key, live))
                        if request in requests:
                            requests.move_to_end(request)
                        if key in line:
                            line.move_to_end(key)
                        return item
        return None

    def remove(self, item: _T, turn: Turn) -> None:
        """Take `item` out wherever it waits; nothing happens when it does not."""
        if item in self._lines[turn.live].get(turn.key, {}).get(turn.request, ()):
            self._drop(item, turn)

    def _drop(self, item: _T, turn: Turn) -> None:
        line = self._lines[turn.live]
        requests = line[turn.key]
        items = requests[turn.request]
        items.remove(item)
        self._count -= 1
        if not items:
            del requests[turn.request]
        if not requests:
            del line[turn.key]
