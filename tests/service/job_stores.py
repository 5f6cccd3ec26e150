"""Stores of jobs, what is put into them, and a clock that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from service.postgresql import PostgreSQL, postgresql

from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript, Word
from app.pipeline.segmentation import Cut
from app.service.jobs.belonging import MARKER
from app.service.jobs.job import Idempotency, Job, JobRequest, Lease, Plan, Progress, Webhook
from app.service.jobs.store import JobStore

MODEL = "whisper-base"
HOOK = Webhook("https://example.com/hook", "a secret of sixteen")
_T = TypeVar("_T")


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Place:
    """Where a store is: its database, its recordings, its clock. `file` is the database's, if it is SQLite's."""

    url: str
    folder: Path
    file: Path | None = None
    clock: Clock = field(default_factory=Clock)

    def store(self, **changes: object) -> JobStore:
        return JobStore(self.url, self.folder / "jobs", **{"clock": self.clock, "busy_seconds": 30.0, **changes})

    def run(self, scenario: Callable[[JobStore], Awaitable[_T]], **changes: object) -> _T:
        """What `scenario` returns; the store is closed in any case."""

        async def main() -> _T:
            store = self.store(**changes)
            try:
                async with asyncio.timeout(120):
                    return await scenario(store)
            finally:
                await store.close()

        return asyncio.run(main())

    def recording(self, name: str = "upload", data: bytes = b"sound" * 1000) -> Path:
        """A file to hand over."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def recordings(self) -> list[str]:
        """The files that are kept."""
        kept = self.folder / "jobs"
        return sorted(file.name for file in kept.iterdir() if file.name != MARKER) if kept.exists() else []


def sqlite_place(tmp_path: Path) -> Place:
    file = tmp_path / "data" / "jobs.db"
    return Place(f"sqlite:///{file}", tmp_path, file)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of each kind that is made but empty, those of PostgreSQL where there is one to start."""
    if request.param == "sqlite":
        made: bytes = request.getfixturevalue("made_sqlite")
        new = sqlite_place(tmp_path)
        assert new.file is not None
        new.file.parent.mkdir(mode=0o700)
        new.file.touch(mode=0o600)
        new.file.write_bytes(made)
        return new
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return Place(server.url(server.new_database(request.getfixturevalue("made_postgresql"))), tmp_path)


@pytest.fixture(scope="module")
def made_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with the tables in it."""
    new = sqlite_place(tmp_path_factory.mktemp("made"))
    assert new.file is not None
    new.run(lambda store: store.open())
    return new.file.read_bytes()


@pytest.fixture(scope="module")
def made_postgresql(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with the tables in it."""
    name = postgresql.new_database()
    Place(postgresql.url(name), tmp_path_factory.mktemp("made")).run(lambda store: store.open())
    return name


FIXTURES = place, made_sqlite, made_postgresql, postgresql
"""What a file of tests gives these names to have them."""


def a_request(**changes: object) -> JobRequest:
    return JobRequest(**{"model": MODEL, "options": RecognitionOptions(), **changes})


async def submitted(store: JobStore, owner: str = "anna", **changes: object) -> Job:
    """A job of a recording at an address, of which there is no file."""
    request = a_request(**{"address": "https://example.com/a.wav", **changes})
    return (await store.submit(owner, request, None)).job


async def leased(store: JobStore, runner: str = "runner") -> Lease:
    lease = await store.lease(runner, [MODEL])
    assert lease is not None
    return lease


def a_plan(pieces: int = 4, seconds: float = 10.0) -> Plan:
    cuts = tuple(
        Cut(place * seconds, (place + 1) * seconds - 1, (SpeechSpan(place * seconds, (place + 1) * seconds - 1),))
        for place in range(pieces)
    )
    return Plan(tuple(span for cut in cuts for span in cut.spans), cuts, pieces * seconds)


def heard(text: str) -> Hypothesis:
    return Hypothesis(text, "en", {"en": 0.75, "de": 0.25}, (Word(text, 0.1, 0.3, 1 / 3),), (1, 2, 3))


def a_transcript(text: str = "one two", duration: float = 40.0) -> Transcript:
    return Transcript(text, "en", duration, MODEL, (Segment(0.0, 1.5, text, (Word(text, 0.0, 1.5),)),))


def recognising(done: float, duration: float = 40.0) -> Progress:
    return Progress("recognise", duration, done, 4, round(4 * done / duration), 0.99 * done / duration)


def named(key: str, digest: str = "digest") -> Idempotency:
    return Idempotency(key, digest)
