"""Room for notices: so many in all, of one owner, and for one receiver, so that nobody holds anybody else up."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Whose:
    """An owner, and the host where it is told."""

    owner: str
    host: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many there may be at once: in all, of one owner, for one host, and of one owner for one host."""

    most: int
    of_an_owner: int
    for_a_host: int
    of_an_owner_for_a_host: int


class Room:
    """Counts who is in it. What is counted by owner and by host is forgotten when the last one has left."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._all = 0
        self._owners: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()
        self._pairs: Counter[Whose] = Counter()

    def is_full(self) -> bool:
        """Whether there are as many as may be in all."""
        return self._all >= self._bounds.most

    def has_room(self, whose: Whose) -> bool:
        """Whether one more may enter, as far as its owner and its host are concerned."""
        return (
            self._owners[whose.owner] < self._bounds.of_an_owner
            and self._hosts[whose.host] < self._bounds.for_a_host
            and self._pairs[whose] < self._bounds.of_an_owner_for_a_host
        )

    def full_owners(self) -> frozenset[str]:
        """Of whom no more may enter: where there are as many as may be in all, everybody of whom one is in it."""
        if self.is_full():
            return frozenset(self._owners)
        return frozenset(owner for owner, number in self._owners.items() if number >= self._bounds.of_an_owner)

    def of_owner(self, owner: str) -> int:
        """How many of an owner's are in it."""
        return self._owners[owner]

    def enter(self, whose: Whose) -> None:
        """Count one in, whether there is room or not."""
        self._all += 1
        self._owners[whose.owner] += 1
        self._hosts[whose.host] += 1
        self._pairs[whose] += 1

    def leave(self, whose: Whose) -> None:
        """Count out one that has entered."""
        self._all -= 1
        take_from(self._owners, whose.owner)
        take_from(self._hosts, whose.host)
        take_from(self._pairs, whose)


_Waiter: TypeAlias = tuple[Whose, "asyncio.Future[None]"]


class Places:
    """Places that are waited for. A free one goes to the owner who has the fewest, and there to who has waited longest:
    whoever has many at once does not hold up who has few. Belongs to one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self._room = Room(bounds)
        self._waiting: list[_Waiter] = []

    async def take(self, whose: Whose) -> None:
        """Wait for a place, which is to be given back by `free`."""
        waiter = whose, asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._give()
        try:
            await waiter[1]
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:
                self.free(whose)
            raise

    def free(self, whose: Whose) -> None:
        """Give a place back."""
        self._room.leave(whose)
        self._give()

    def _give(self) -> None:
        while not self._room.is_full():
            able = [one for one in self._waiting if self._room.has_room(one[0]) and not one[1].cancelled()]
            if not able:
                return
            waiter = min(able, key=lambda one: self._room.of_owner(one[0].owner))  # of equals the first
            self._waiting.remove(waiter)
            self._room.enter(waiter[0])
            waiter[1].set_result(None)


def take_from(counter: Counter[_Key], key: _Key) -> None:
    """One less, which is forgotten when it was the last."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
