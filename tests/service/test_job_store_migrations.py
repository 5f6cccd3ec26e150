"""Databases of jobs that other versions made: older ones are brought up to this one's, newer ones left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from service.job_stores import FIXTURES, HOOK, MODEL, Place, a_plan, heard, leased, recognising, sqlite_place, submitted
from sqlalchemy import create_engine

from app.domain.errors import JobsUnavailable
from app.domain.hotwords import Hotword
from app.domain.transcript import Segment, Transcript, Usage
from app.service.jobs.job import Idempotency
from app.service.jobs.store import JobStore
from app.service.jobs.tables import Base

place, made_sqlite, made_postgresql, postgresql = FIXTURES
FIRST, SECOND, THIRD = (f"job_{number:024x}" for number in (1, 2, 3))


def load(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript((Path(__file__).with_name("job_databases") / script).read_text())


@pytest.mark.parametrize("script", ["jobs_0001.sql"])
def test_an_older_versions_database_keeps_every_job(tmp_path: Path, script: str) -> None:
    here = sqlite_place(tmp_path)
    assert here.file is not None
    load(here.file, script)
    here.clock.now = 1_000_030.0

    async def scenario(store: JobStore) -> None:
        queued, running, ended = [await store.get(None, job_id) for job_id in (FIRST, SECOND, THIRD)]
        assert [job.state for job in (queued, running, ended)] == ["queued", "running", "succeeded"]
        assert [job.id for job in await store.list("anna")] == [SECOND, FIRST]
        assert (queued.request.webhook, queued.request.metadata) == (HOOK, {"number": "0"})
        assert queued.request.options.hotwords == (Hotword("Ada", 2.5),)
        assert await store.transcript("bert", THIRD) == Transcript(
            "hello", "en", 2.5, MODEL, (Segment(0.0, 1 / 3, "hello"),), Usage(2.5)
        )
        again = await store.submit("anna", queued.request, None, Idempotency("key", "digest"))
        assert (again.job.id, again.again) == (FIRST, True)
        first, second = await leased(store), await leased(store)
        assert (first.job.id, second.job.id) == (FIRST, SECOND), "the lease that it had is over"
        kept = await store.kept("anna", SECOND)
        assert [cut.start for cut in kept.plans[0].cuts] == [0.2, 10.7]
        assert kept.heard[0, 0].words[0].end == 1 / 3
        assert await store.keep(second, 0, 1, heard("two"), recognising(20))
        here.clock.now = 1_000_060.0
        notice = await store.due("sender", 30)
        assert notice is not None
        assert (notice.state, notice.tries) == ("queued", 1)

    here.run(scenario)


def test_an_older_database_of_each_kind_is_brought_up_to_date(place: Place) -> None:
    """Down to the first version and up again, with a job in it."""
    job = place.run(submitted)
    engine = create_engine(place.url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "app.service.jobs:migrations")
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    engine.dispose()

    async def scenario(store: JobStore) -> None:
        assert await store.get("anna", job.id) == job
        lease = await leased(store)
        assert await store.keep_plan(lease, 0, a_plan())

    place.run(scenario)


def test_tables_and_migrations_agree(place: Place) -> None:
    engine = create_engine(place.url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_newer_versions_database_is_left_alone(place: Place) -> None:
    engine = create_engine(place.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    async def scenario(store: JobStore) -> None:
        for _ in range(2):
            with pytest.raises(JobsUnavailable, match="newer version"):
                await store.list("anna")

    place.run(scenario)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "9999"
    engine.dispose()
