"""Many clients at once, each doing its next thing when the last is answered; who is turned away comes again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from benchmarks.progress import note
from benchmarks.soak import jobs, live
from benchmarks.soak.asks import ASKS, Ask, plain
from benchmarks.soak.clients import PATIENCE, Vanishing, ask
from benchmarks.soak.outcomes import AS_ALONE, GONE, Judge, Outcome
from benchmarks.soak.plan import STREAMS, Item
from benchmarks.soak.serving import Server

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Sixteen = NDArray[np.int16]

_SHOWN = 10
"""Unexpected answers that are shown as they come."""
_AGAIN_SECONDS = 0.5
_GIVE_UP_SECONDS = 180.0
"""From when who was turned away again and again is not waited for any more: that is an outcome, too."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A few seconds of speech, as samples and as a file."""

    sound: Sixteen
    wav: bytes


@dataclass(slots=True)
class Known:
    """What is answered to each clip when nothing else happens, by name of what is asked. `words` is all that was
    said."""

    answers: dict[tuple[str, int], str] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)

    def of(self, name: str, clip: int) -> str:
        """What is expected."""
        return self.answers[name, clip]

    def others(self, name: str, clip: int) -> set[str]:
        """What is said to the others' clips, and not to this."""
        said = {text for (asked, which), text in self.answers.items() if asked == name and which != clip}
        return said - {self.answers[name, clip]}


async def learn(server: Server, clips: list[Clip], told: Callable[[], object]) -> Known:
    """Ask everything once of every clip, one after the other, and of the first one twice.

    Raises:
        RuntimeError: an answer is not what it must be, or not the same again.
    """
    known = Known()
    async with httpx.AsyncClient(base_url=server.base, timeout=PATIENCE, trust_env=False) as http:
        for wanted in ASKS:
            for number, clip in enumerate(clips):
                known.answers[wanted.name, number] = await _answer(http, wanted, clip)
                told()
            if await _answer(http, wanted, clips[0]) != known.answers[wanted.name, 0]:
                raise RuntimeError(f"{wanted.name}: the second answer differs from the first")
        for number, clip in enumerate(clips):
            known.answers[jobs.JOB, number] = await jobs.learn(http, clip.wav, f"alone {number}")
            told()
    for protocol in STREAMS:
        for number, clip in enumerate(clips):
            heard = await live.play(server.url(protocol), protocol, clip.sound, random.Random(number))
            known.answers[f"live {protocol}", number] = live.tag(heard)
            known.words.add(heard.text)
            told()
    return known


async def _answer(http: httpx.AsyncClient, wanted: Ask, clip: Clip) -> str:
    """Raises RuntimeError."""
    answer = await http.post(wanted.path, headers=wanted.headers, **wanted.content(clip.wav))
    if answer.status_code != wanted.status:
        raise RuntimeError(f"{wanted.name}: {answer.status_code} in place of {wanted.status}: {answer.text[:300]}")
    return plain(answer.text)


@dataclass(slots=True)
class Load:
    """The clients. `done` counts what has been done with, answered or given up; `stopped` makes them end soon;
    `jobs` are those that were accepted, by id, with their clips."""

    server: Server
    clips: list[Clip]
    known: Known
    judge: Judge
    plan: Iterator[Item]
    told: Callable[[], object]
    done: int = 0
    stopped: bool = False
    jobs: dict[str, int] = field(default_factory=dict)

    async def run(self, clients: int) -> None:
        """Until the plan is done, or it is stopped."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=clients)
        async with (
            httpx.AsyncClient(base_url=self.server.base, timeout=PATIENCE, trust_env=False, limits=limits) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in range(clients):
                group.create_task(self._client(http, kept=number % 2 == 0))

    async def _client(self, http: httpx.AsyncClient, *, kept: bool) -> None:
        while not self.stopped and (item := next(self.plan, None)) is not None:
            since = time.monotonic()
            while True:
                outcome = await self._do(http, item, kept=kept)
                why = self.judge.why(outcome)
                if why is None and len(self.judge.unexpected) <= _SHOWN:
                    note(f"unexpected: {outcome.name}, {outcome.status}: {outcome.detail}")
                if why in {AS_ALONE, GONE, None} or self.stopped:
                    break
                if time.monotonic() - since > _GIVE_UP_SECONDS:
                    self.judge.unexpected.append(outcome)
                    break
                await asyncio.sleep(_AGAIN_SECONDS)
            self.done += 1
            self.told()

    async def _do(self, http: httpx.AsyncClient, item: Item, *, kept: bool) -> Outcome:
        clip, chance = self.clips[item.clip], random.Random(item.seed)
        url = self.server.url(item.protocol) if item.protocol else ""
        match item.doing:
            case "ask":
                name, number = item.ask.name, item.clip
                others = self.known.others(name, number)
                expected = self.known.of(name, number)
                return await ask(http, item.ask, clip.wav, kept=kept, expected=expected, others=others)
            case "stream":
                name = f"live {item.protocol}"
                expected, others = self.known.of(name, item.clip), self.known.others(name, item.clip)
                return await live.heard_or_not(
                    url, item.protocol, clip.sound, expected=expected, others=others, chance=chance
                )
            case "job":
                name = f"{item.seed} {item.clip}"
                return await jobs.hand_over(
                    http, clip.wav, name, kept=kept, accepted=lambda job_id: self.jobs.update({job_id: item.clip})
                )
            case "vanish":
                going = Vanishing(item.moment, chance.random() < 0.5, chance)
                return await going.go(self.server.port, item.ask, clip.wav)
            case "vanish from a stream":
                return await live.vanish(url, item.protocol, clip.sound, chance)
            case "stream with a wrong key":
                return await live.refused(url, item.protocol)


@contextlib.contextmanager
def stopping(load: Load) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the load once, so that there is a verdict so far."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        load.stopped = True
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sign)

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop)
    try:
        yield
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sign)
