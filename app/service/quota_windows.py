"""What callers used in the past minute or hour: moving windows, exact, and gone from memory as soon as they are over.

Not the `limits` package, whose windows in memory keep every caller's name for ever, by the wall clock, can take nothing
back, and do not tell when there is room for more than one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

_GRAINS = 3600
"""What is used within this part of a window counts as used at the end of it: so many entries are kept at most."""
_MILLISECONDS = 1000
_ROUNDING = 1e-6
"""Seconds: who waits as long as was told must not come too early because of how numbers are rounded."""


class Entry:
    """An amount that was used at about one time."""

    __slots__ = ("amount", "first", "last")

    def __init__(self, amount: int, now: float) -> None:
        self.amount = amount
        self.first = self.last = now


class _Window:
    """One caller's, the oldest entry first."""

    __slots__ = ("entries", "used")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.used = 0

    def forget(self, until: float) -> None:
        """Drop what was used until then."""
        over = 0
        for entry in self.entries:
            if entry.last > until:
                break
            over += 1
            self.used -= entry.amount
            entry.amount = 0  # what cannot be given back any more
        if over:
            del self.entries[:over]


class Used:
    """Something that was used, and may be given back."""

    def __init__(self, window: _Window, entry: Entry, amount: int) -> None:
        self._window = window
        self._entry = entry
        self._amount = amount

    def give_back(self) -> None:
        """As if it had not been used. Said again, or once it does not count any more, it changes nothing."""
        amount, self._amount = min(self._amount, self._entry.amount), 0
        self._entry.amount -= amount
        self._window.used -= amount


class Windows:
    """All callers' windows of one measure. Belongs to one event loop."""

    def __init__(self, span: float, clock: Callable[[], float]) -> None:
        """`span` is how long what is used counts, in seconds of `clock`, which never goes back."""
        self._span = span
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # who used something last comes last

    @property
    def callers(self) -> Sequence[str]:
        """Who has used something that still counts."""
        self._forget(self._clock())
        return [caller for caller, window in self._windows.items() if window.used]

    def used(self, caller: str) -> int:
        """How much of what a caller used counts now."""
        window = self._current(caller, self._clock())
        return window.used if window else 0

    def wait(self, caller: str, amount: int, limit: int) -> float:
        """Seconds, in whole milliseconds, until a caller that may use `limit` can use so much; infinite: never can it.

        0: now. Whoever waits so long finds the room, and nobody finds it earlier, if nothing else is used meanwhile."""
        now = self._clock()
        window = self._current(caller, now)
        over = amount - limit + (window.used if window else 0)
        if over <= 0:
            return 0.0
        for entry in window.entries if window else ():
            over -= entry.amount
            if over <= 0:
                return self._until_over(entry, now)
        return math.inf

    def resets(self, caller: str) -> float:
        """Seconds until nothing that a caller used counts any more; 0: nothing does."""
        now = self._clock()
        window = self._current(caller, now)
        counting = (entry for entry in reversed(window.entries) if entry.amount) if window else ()  # not given back
        return next((self._until_over(entry, now) for entry in counting), 0.0)

    def use(self, caller: str, amount: int) -> Used:
        """Have a caller use so much, whatever it may."""
        now = self._clock()
        window = self._current(caller, now) or _Window()
        last = window.entries[-1] if window.entries else None
        if last is not None and now - last.first < self._span / _GRAINS:
            last.amount += amount
            last.last = now
        else:
            last = Entry(amount, now)
            window.entries.append(last)
        window.used += amount
        self._windows[caller] = window
        self._windows.move_to_end(caller)
        return Used(window, last, amount)

    def _until_over(self, entry: Entry, now: float) -> float:
        return math.ceil((entry.last + self._span - now) * _MILLISECONDS) / _MILLISECONDS

    def _current(self, caller: str, now: float) -> _Window | None:
        self._forget(now)
        window = self._windows.get(caller)
        if window is not None:
            window.forget(self._beginning(now))
        return window

    def _forget(self, now: float) -> None:
        """Drop the windows that are over. They stand in the order in which they will be."""
        beginning = self._beginning(now)
        while self._windows:
            caller = next(iter(self._windows))
            if self._windows[caller].entries[-1].last > beginning:
                break
            self._windows.pop(caller).forget(beginning)
            if not self._windows:
                self._windows.clear()  # what was taken out one by one keeps its room

    def _beginning(self, now: float) -> float:
        """What was used up to then does not count any more."""
        return now - self._span + _ROUNDING
