"""Who is let in: a request is refused at the door, before its body is read, rather than served too late.

Work is counted in seconds of the whole machine. A newcomer's wait is foretold from what those inside still need, by
the same rule that the batcher shares the machine out by: keys take turns, and requests of a key take turns.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from app.domain.errors import DeadlineExceeded, Overloaded, SpeechError

_STRETCH = 9.0
"""A long recording may wait this many times its own work: nobody minds a minute before an hour of recognition."""
_MEMORY = 0.1
"""How much the latest request counts in the usual work of a request."""
_LEAST_RETRY, _MOST_RETRY = 1.0, 60.0
"""Seconds; OpenAI's clients take a Retry-After of more than a minute for none."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key` stands for the API key (never the key itself), "" where access is open.

    `patience` is how many seconds of silence the client says it will bear, if it says so. `address` is where it is
    from, `request_id` what its request or connection is called in the log, `path` what it asked ("": there is none).
    """

    key: str = ""
    patience: float | None = None
    address: str = ""
    request_id: str = "-"
    path: str = ""


class Ticket:
    """One request's place. A context manager: leaving it frees the place, and a SpeechError that leaves it ends the
    request.

    Until `expect` was told how much work it is, it counts as the usual work of recent requests.
    """

    def __init__(self, admission: Admission, caller: Caller, timeout: float) -> None:
        self._admission = admission
        self._caller = caller
        self._timeout = timeout
        self._deadline = math.inf
        self._known = False
        self._expected = 0.0
        self._failure: Exception | None = None
        self._steps: set[asyncio.Timeout] = set()
        self._goodbyes: list[Callable[[], None]] = []
        self._regrets: list[Callable[[Exception], None]] = []
        self._impatient = False
        self.worked = False
        """Whether its recognition, or that of a voice in it, has begun."""
        self.abandoned = False
        """Whether that had begun when its client's patience was over, which is less than this server's."""
        self.arrived: float | None = None
        """When the upload had, by time.monotonic; None: it has not."""
        self.remaining = admission.usual_work

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self._caller

    @property
    def key(self) -> str:
        """In whose name."""
        return self._caller.key

    def begin(self, *, streamed: bool = False) -> None:
        """The upload has arrived: from here on time counts. Said again, it changes nothing.

        A client's own patience is for silence; who is `streamed` to hears something all the time.
        """
        patience = math.inf if streamed else self._caller.patience or math.inf
        if self._deadline == math.inf:
            self.arrived = time.monotonic()
            self._impatient = patience < self._timeout
            self._deadline = self.arrived + min(patience, self._timeout)

    def expect(self, work: float) -> None:
        """Say how much work the request is, in seconds of the whole machine.

        Raises:
            Overloaded: with this much, it would wait too long.
            DeadlineExceeded: it cannot be done in time even alone.
        """
        left = self._deadline - time.monotonic()
        if work > left:
            raise DeadlineExceeded(
                f"This recording needs about {work:.0f} s of work here, and its request may take {left:.0f} s more."
            )
        self._admission.check_wait(self.key, work, most=left - work, besides=self)
        self.remaining, self._expected, self._known, self.worked = work, work, True, True
        self._admission.learn(work)

    def did(self, work: float) -> None:
        """A part of the expected work is done."""
        if self._known:
            self.remaining = max(0.0, self.remaining - work)

    @property
    def expected(self) -> bool:
        """Whether it is known how much work the request is."""
        return self._known

    @property
    def share(self) -> float | None:
        """How much of the work is done, 0 to 1; None where that is not known."""
        return 1.0 - self.remaining / self._expected if self._expected else None

    async def in_time(self, step: Awaitable[_T]) -> _T:
        """The outcome of `step`, which is cancelled at the request's deadline, or when the request is to fail.

        Raises:
            DeadlineExceeded: it was not ready.
            Exception: what `fail` was told.
        """
        left = 0.0 if self._failure else self._deadline - time.monotonic()
        limit = asyncio.timeout(None if left == math.inf else left)
        self._steps.add(limit)
        try:
            async with limit:
                return await step
        except TimeoutError as error:
            if not limit.expired():  # the step's own
                raise
            if self._failure is not None:
                raise self._failure from None
            self.abandoned = self._impatient and self.worked
            told = "The recording could not be recognised within the time a request may take."
            raise DeadlineExceeded(told) from error
        finally:
            self._steps.discard(limit)

    async def failed(self) -> None:
        """Wait until it fails.

        Raises:
            Exception: what `fail` was told.
        """
        await self.in_time(asyncio.Event().wait())

    def fail(self, failure: Exception) -> None:
        """Have the request fail: what it is at, or its next step."""
        self._failure = self._failure or failure
        for limit in self._steps:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    def when_failed(self, regret: Callable[[Exception], None]) -> None:
        """Have `regret` told each error that the request ends with. It may be told the same one twice."""
        self._regrets.append(regret)

    @contextmanager
    def worked_on(self) -> Generator[None]:
        """While something is done for it. What fails in the block, the request ends with: the place may be left later,
        by somebody who knows nothing of it."""
        try:
            yield
        except Exception as error:
            self._regret(error)
            raise

    def _regret(self, error: Exception) -> None:
        for regret in self._regrets:
            regret(error)

    def when_left(self, goodbye: Callable[[], None]) -> None:
        """Have `goodbye` called when the place is freed."""
        self._goodbyes.append(goodbye)

    def leave(self) -> None:
        """Free the place. Safe to call again."""
        self._admission.leave(self)
        while self._goodbyes:
            self._goodbyes.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, SpeechError):  # others may be a client's leaving
            self._regret(error)
        self.leave()


class Admission:
    """The door. Belongs to one event loop."""

    def __init__(self, *, max_requests: int, max_wait: float, timeout: float, keys: int = 0) -> None:
        """`max_wait` and `timeout` are in seconds: of waiting for others, and for a request in all (math.inf: any).

        Where there are several `keys`, places are kept free for each, so that one cannot take them all.
        """
        self._max_requests = max_requests
        self._max_wait = max_wait
        self._timeout = timeout
        self._max_of_a_key = most_of_a_key(max_requests, keys)
        self._inside: dict[Ticket, None] = {}
        self.usual_work = 0.0

    @property
    def active(self) -> int:
        """Requests inside."""
        return len(self._inside)

    @property
    def backlog(self) -> float:
        """Seconds of the whole machine that those inside still need."""
        return sum(ticket.remaining for ticket in self._inside)

    def enter(self, caller: Caller) -> Ticket:
        """A place for one request.

        Raises:
            Overloaded: there is none, or it would wait too long.
        """
        held = Counter(ticket.key for ticket in self._inside)
        if len(self._inside) >= self._max_requests or held[caller.key] >= self._max_of_a_key:
            raise Overloaded(
                f"The server is working on {len(self._inside)} requests already. Try again shortly.",
                retry_after=_clamped(self.wait(caller.key, self.usual_work) / 2),
            )
        patience = min(caller.patience or self._timeout, self._timeout)
        self.check_wait(caller.key, self.usual_work, most=patience - self.usual_work)
        ticket = Ticket(self, caller, self._timeout)
        self._inside[ticket] = None
        return ticket

    def wait(self, key: str, work: float, besides: Ticket | None = None) -> float:
        """Seconds that a request of `key` with so much work would wait for others, were nobody else to come."""
        of_key = work
        others: defaultdict[str, float] = defaultdict(float)
        for ticket in self._inside:
            if ticket is besides:
                continue
            if ticket.key == key:
                of_key += min(ticket.remaining, work)
            else:
                others[ticket.key] += ticket.remaining
        return of_key - work + sum(min(total, of_key) for total in others.values())

    def check_wait(self, key: str, work: float, *, most: float, besides: Ticket | None = None) -> None:
        """Refuse a request that would wait longer than it should, or than the `most` it can.

        Raises:
            Overloaded: it would.
        """
        wait = self.wait(key, work, besides)
        allowed = min(max(self._max_wait, _STRETCH * work), most)
        if wait > max(allowed, 0.0):
            raise Overloaded(
                f"The server is busy for the next {wait:.0f} s. Try again later.",
                retry_after=_clamped(wait - allowed / 2),
            )

    def learn(self, work: float) -> None:
        """Take one request's work into account in what is usual."""
        self.usual_work += (work - self.usual_work) * (_MEMORY if self.usual_work else 1.0)

    def leave(self, ticket: Ticket) -> None:
        """Free a ticket's place."""
        self._inside.pop(ticket, None)


def _clamped(seconds: float) -> float:
    return min(max(seconds, _LEAST_RETRY), _MOST_RETRY)


def most_of_a_key(places: int, keys: int) -> int:
    """How many of all `places` one key may take, so that some are kept free for each of the others."""
    kept_free = places // (2 * keys) if keys > 1 else 0
    return places - kept_free * (keys - 1)
