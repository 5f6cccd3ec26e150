"""Work on jobs that a test decides over, in a real database: what is heard, when, and what goes wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pipeline.stubs import ABLE

from app.audio.declared import DeclaredSound
from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.meters import Meter
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.pipeline.segmentation import Cut
from app.service.jobs.belonging import MARKER
from app.service.jobs.job import ENDED, Idempotency, Job, JobRequest, Plan
from app.service.jobs.recordings import Fetching, Recordings
from app.service.jobs.runner import Runner
from app.service.jobs.store import JobStore
from app.service.remembering import Memory, Watch
from app.service.residents import ServedModel

MODEL = "stub"
LEASE = 2.0
"""Seconds. A busy machine may be late by one."""


async def let_be(_job: str, _number: int) -> None:
    """Hear a piece at once."""


@dataclass
class Work:
    """Recognises `pieces` of a second each. `before` is awaited before each of them is heard, with its job and number:
    to wait, to fail, to end everything. `says` is what each piece does. `heard` counts what was recognised, kept or
    not."""

    pieces: int = 4
    before: Callable[[str, int], Awaitable[None]] = let_be
    says: Callable[[int], str] = str
    names: tuple[str, ...] = (MODEL,)
    begun: list[str] = field(default_factory=list)
    heard: Counter[tuple[str, int]] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)

    def models(self) -> Sequence[ServedModel]:
        return [ServedModel(name, 0, ABLE, "") for name in self.names]

    async def work_on(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        owner: str,
        declared: DeclaredSound | None,
        memory: Memory,
        watch: Watch,
        *,
        name: str = "-",
    ) -> Transcript:
        self.begun.append(name)
        self.paths.append(path)
        watch.at("decode")
        watch.lasts(float(self.pieces))
        watch.at("detect")
        if memory.plan(0) is None:
            await self.before(name, -1)
            await memory.keep_plan(0, plan_of(self.pieces))
        watch.at("recognise")
        texts: list[str] = []
        for number in range(self.pieces):
            found = memory.heard(0, number)
            if found is None:
                await self.before(name, number)
                self.heard[name, number] += 1
                found = Hypothesis(self.says(number), "en", {"en": 1.0})
                await memory.keep(0, number, found)
            texts.append(found.text)
        return Transcript(" ".join(texts), "en", float(self.pieces), model)


def plan_of(pieces: int) -> Plan:
    """A second of speech a piece, with nothing between."""
    spans = [SpeechSpan(float(number), number + 1.0) for number in range(pieces)]
    return Plan(spans, [Cut(span.start, span.end, (span,)) for span in spans], float(pieces))


class Counts(Meter):
    """What was told of jobs."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, float]] = []
        self.resumptions: list[int] = []

    def job(self, outcome: str, audio: float, took: float) -> None:
        assert took >= 0
        self.jobs.append((outcome, audio))

    def resumed(self, pieces: int) -> None:
        self.resumptions.append(pieces)


@dataclass
class Desk:
    """A database of jobs in a folder, and servers that work on them."""

    folder: Path
    lease: float = LEASE
    busy: float = 0.2

    @property
    def database(self) -> Path:
        return self.folder / "jobs.db"

    @property
    def recordings(self) -> list[str]:
        """The files that are kept for jobs."""
        return sorted(file.name for file in (self.folder / "jobs").iterdir() if file.name != MARKER)

    def store(self) -> JobStore:
        url = f"sqlite:///{self.database}"
        return JobStore(url, self.folder / "jobs", lease_seconds=self.lease, busy_seconds=self.busy, max_jobs=5000)

    async def submit(self, store: JobStore, *, address: str | None = None, key: str | None = None) -> Job:
        """A new job with a recording of a byte, or one at an address."""
        recording = None
        if address is None:
            recording = self.folder / "recording"
            recording.write_bytes(b"x")
        idempotency = None if key is None else Idempotency(key, "digest")
        request = JobRequest(MODEL, RecognitionOptions(), address=address)
        return (await store.submit("owner", request, recording, idempotency)).job

    @asynccontextmanager
    async def running(
        self,
        store: JobStore,
        work: Work,
        *,
        places: int = 1,
        meter: Meter | None = None,
        fetcher: Fetching | None = None,
    ) -> AsyncGenerator[Runner]:
        """A server's runner for as long as the block."""
        runner = Runner(
            store,
            work,
            Recordings(store, fetcher or _NoFetcher(), 1000),
            places=places,
            lease_seconds=self.lease,
            meter=meter or Meter(),
        )
        task = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            await runner.close()
            await killed(task)

    def locked(self) -> sqlite3.Connection:
        """Another program that keeps the database to itself until this is closed."""
        connection = sqlite3.connect(self.database, isolation_level=None, timeout=20, check_same_thread=False)
        connection.execute("BEGIN EXCLUSIVE")
        return connection


Scenario = Callable[[Desk, JobStore], Awaitable[None]]


@pytest.fixture
def playing(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario with a database of jobs."""

    def play(scenario: Scenario) -> None:
        async def main() -> None:
            desk = Desk(tmp_path)
            store = desk.store()
            try:
                async with asyncio.timeout(60):
                    await scenario(desk, store)
            finally:
                await store.close()

        asyncio.run(main())

    return play


def held_at(piece: int) -> tuple[Work, asyncio.Event]:
    """Work that waits before this piece of every job until it may go on."""
    go_on = asyncio.Event()

    async def wait(_: str, number: int) -> None:
        if number == piece:
            await go_on.wait()

    return Work(before=wait), go_on


class _NoFetcher:
    async def fetch(self, said: str, room: object, *, param: str, key: str = "") -> None:
        raise AssertionError("there is nothing to fetch")


async def killed(task: asyncio.Task[None]) -> None:
    """End a task as far as anybody can."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def ended(store: JobStore, job_id: str, seconds: float = 20.0) -> Job:
    """The job once it has ended."""
    async with asyncio.timeout(seconds):
        while (job := await store.get(None, job_id)).state not in ENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return job


async def kept(store: JobStore, job_id: str, pieces: int) -> None:
    """Wait until so many pieces are."""
    async with asyncio.timeout(20):
        while (await store.get(None, job_id)).progress.pieces_done < pieces:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
