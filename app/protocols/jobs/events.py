"""A job followed from afar: server-sent events, one at once and one whenever something of it has changed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, aclosing, contextmanager
from typing import Final

from starlette.requests import Request

from app.domain.errors import EngineFailure, Overloaded, SpeechError, UnknownJob
from app.protocols.connected import end
from app.protocols.event_stream import KEEP_ALIVE, KEEP_ALIVE_SECONDS
from app.protocols.jobs.wire import job_body
from app.protocols.openai.errors import internal_envelope
from app.protocols.openai.streaming import last_event
from app.service.jobs.job import ENDED, Job
from app.service.lifecycle import Lifecycle

AGAIN_MILLISECONDS: Final = 2000
"""After which an EventSource whose connection broke asks again."""
NEVER_MILLISECONDS: Final = 86_400_000
"""The same once there is nothing more to tell. It cannot be told to stay away; a day is as good."""
MOST_FOLLOWERS: Final = 256
"""Of one key. Each looks into the database once a second."""
_RETRY_SECONDS: Final = 10.0
_logger = logging.getLogger(__name__)


class Followers:
    """How many follow jobs, by key. Belongs to one event loop."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    @contextmanager
    def place(self, key: str) -> Generator[None]:
        """A place for one more, for as long as the block.

        Raises:
            Overloaded: the key has as many as it may.
        """
        if self._inside[key] >= MOST_FOLLOWERS:
            told = f"You follow {MOST_FOLLOWERS} jobs already, as many as you may. List them instead."
            raise Overloaded(told, retry_after=_RETRY_SECONDS)
        self._inside[key] += 1
        try:
            yield
        finally:
            self._inside[key] -= 1
            self._inside += Counter()  # which forgets keys that have none


def followers_of(request: Request) -> Followers:
    """The application's."""
    state = request.app.state
    if not hasattr(state, "job_followers"):
        state.job_followers = Followers()
    return state.job_followers


class Following:
    """A job as it changes: the newest of what `looks` has, from one task, so that its clean-up runs where it ran.

    A guest of `lifecycle`: no server waits for jobs to end before it does.
    """

    def __init__(self, looks: AsyncGenerator[Job, None], lifecycle: Lifecycle, resources: ExitStack) -> None:
        """`resources` are freed when it closes."""
        self._lifecycle = lifecycle
        self._resources = resources
        self._newest: Job | None = None
        self._news = asyncio.Event()
        self._pump = asyncio.create_task(self._run(looks))
        self._pump.add_done_callback(lambda _: self._news.set())
        lifecycle.welcome(self)

    async def _run(self, looks: AsyncGenerator[Job, None]) -> None:
        async with aclosing(looks):
            async for job in looks:
                self._newest = job
                self._news.set()

    def heed(self) -> None:
        """The server's phase has changed."""
        self._news.set()

    @property
    def over(self) -> bool:
        """Whether the server ends: whoever asks again finds another one, or this one once it is back."""
        return self._lifecycle.closed

    async def first(self) -> Job:
        """The job as it is when it is first looked at.

        Raises:
            SpeechError: it cannot be followed.
        """
        while (job := await self.next(KEEP_ALIVE_SECONDS)) is None:
            pass
        return job

    async def next(self, patience: float) -> Job | None:
        """The job as it is now; None where nothing of it has changed within `patience` seconds, or the server ends.

        Raises:
            SpeechError: it cannot be followed any more.
        """
        if self._newest is None and not self._pump.done():
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                return None
        self._news.clear()
        job, self._newest = self._newest, None
        if job is None and self._pump.done():
            self._pump.result()
            raise EngineFailure("The job cannot be followed any more.")
        return job

    async def aclose(self) -> None:
        """Look no more."""
        try:
            await end(self._pump)
        finally:
            self._resources.close()


async def events(following: Following, first: Job, number: int, *, request_id: str) -> AsyncGenerator[bytes, None]:
    """An event for `first`, numbered `number`, and one for each change after it, until the job or the server ends; what
    goes wrong is the last one."""
    job: Job | None = first
    yield _retry(AGAIN_MILLISECONDS)
    try:
        while True:
            if job is not None:
                yield _event(job, number)
                number += 1
                if job.state in ENDED:
                    return
            elif not following.over:
                yield KEEP_ALIVE
            if following.over:
                return
            job = await following.next(KEEP_ALIVE_SECONDS)
    except SpeechError as error:
        _logger.info("request %s: events of a job ended by %s", request_id, error.code)
        yield (_retry(NEVER_MILLISECONDS) if isinstance(error, UnknownJob) else b"") + last_event(error)
    except Exception:  # the request ends here, and its status line has long been sent
        _logger.exception("request %s failed while following a job", request_id)
        yield b"data: " + internal_envelope().model_dump_json(exclude_none=True).encode() + b"\n\n"


def last_number(said: str | None) -> int:
    """What Last-Event-ID says: how many events whoever asks has had of this job."""
    return int(said) if said is not None and said.isascii() and said.isdigit() and len(said) < 10 else 0


def _event(job: Job, number: int) -> bytes:
    head = f"id: {number}\nevent: job\n".encode() + (_retry(NEVER_MILLISECONDS) if job.state in ENDED else b"")
    return head + b"data: " + job_body(job).model_dump_json().encode() + b"\n\n"


def _retry(milliseconds: int) -> bytes:
    return f"retry: {milliseconds}\n".encode()
