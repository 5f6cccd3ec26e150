"""Databases by address: which there may be, what is said of those that cannot be used, and that no password is told."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from service.job_stores import FIXTURES, Place, leased, submitted
from service.postgresql import PostgreSQL
from sqlalchemy import text

from app.domain.errors import ConfigUnusable, JobsUnavailable
from app.service.database import Database, Holding, database_url
from app.service.jobs.store import JobStore
from app.service.vocabularies.store import VocabularyStore
from app.service.voices.store import VoiceStore

postgresql = FIXTURES[-1]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "is no address of a database"),
        ("jobs.db", "is no address of a database"),
        ("postgres://speech:hidden@host/jobs", "is no address of a database"),
        ("postgresql+psycopg://speech:hidden@host:hidden/jobs", "is no address of a database"),
        ("nosuch://speech:hidden@host/jobs", "is no address of a database"),
        ("mysql://speech:hidden@host/jobs", "mysql is not supported"),
        ("postgresql://speech:hidden@host/jobs", "postgresql is not supported"),
        ("postgresql+asyncpg://speech:hidden@host/jobs", "is not supported"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:////jobs.db?mode=ro", "must name a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_without_its_password(said: str, told: str) -> None:
    with pytest.raises(ConfigUnusable, match="JOBS_DATABASE_URL") as caught:
        database_url(said, "JOBS_DATABASE_URL")
    assert told in caught.value.message
    assert "hidden" not in "".join(traceback.format_exception(caught.value)).replace(repr(said), "")


def test_a_driver_that_is_missing_is_told_with_the_file_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigUnusable, match=r"pip install -r requirements-postgres\.txt"):
        database_url("postgresql+psycopg://speech:hidden@host/jobs", "JOBS_DATABASE_URL")


def test_a_files_address_is_where_it_lies(tmp_path: Path) -> None:
    async def main() -> None:
        store = JobStore(f"sqlite:///{tmp_path}/a folder/jobs.db", tmp_path / "jobs")
        await store.open()
        await store.close()

    asyncio.run(main())
    assert (tmp_path / "a folder" / "jobs.db").exists()


def test_databases_that_are_made_at_once_have_each_their_own_tables(tmp_path: Path) -> None:
    async def main(folder: Path) -> None:
        stores = (
            JobStore(f"sqlite:///{folder}/jobs.db", folder / "jobs"),
            VoiceStore(folder / "voices.db"),
            VocabularyStore(folder / "vocabularies.db"),
        )
        await asyncio.gather(*(store.open() for store in stores))
        assert await stores[1].list("owner") == []
        assert await stores[2].list("owner") == []
        assert await stores[0].waiting() == (0, 0.0)
        for store in stores:
            await store.close()

    def tables(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}

    for number in range(10):
        asyncio.run(main(tmp_path / str(number)))
        jobs, voices, words = (
            tables(tmp_path / str(number) / f"{name}.db") - {"alembic_version"}
            for name in ("jobs", "voices", "vocabularies")
        )
        assert not jobs & (voices | words)
        assert not voices & words


def test_those_that_wait_for_a_server_that_does_not_answer_are_told_with_the_first(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    came: list[object] = []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        await reader.read()

    async def refused(store: JobStore) -> None:
        with pytest.raises(JobsUnavailable, match="cannot be reached"):
            await store.list("anna")

    async def main() -> None:
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        address = f"postgresql+psycopg://u:p@127.0.0.1:{port}/x?connect_timeout=2&sslmode=disable&gssencmode=disable"
        store = JobStore(address, tmp_path)
        await asyncio.gather(*(refused(store) for _ in range(8)))
        assert len(came) == 1
        await refused(store)
        assert len(came) == 2, "who comes later tries anew"
        await store.close()
        server.close()

    asyncio.run(main())


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_without_its_password(
    tmp_path: Path, postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    closed = f"postgresql+psycopg://speech:hidden@127.0.0.1:{port}/jobs"
    wrong = postgresql.url("postgres").replace(":secret@", ":hidden@")
    nowhere = postgresql.url("no_such_database")

    with caplog.at_level(logging.DEBUG):
        for url, told in ((closed, "cannot be reached"), (wrong, "cannot be"), (nowhere, "cannot be")):

            async def scenario(store: JobStore, told: str = told) -> None:
                with pytest.raises(JobsUnavailable, match=told) as caught:
                    await store.list("anna")
                logging.getLogger("tests").error("failed", exc_info=caught.value)

            Place(url, tmp_path).run(scenario)
    assert "hidden" not in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_was_started_anew_is_used_again(tmp_path: Path, postgresql: PostgreSQL) -> None:
    here = Place(postgresql.url(postgresql.new_database()), tmp_path)

    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        postgresql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'speech-server'"
        )
        assert await store.list("anna") == [job]
        lease = await leased(store)
        assert lease.job.id == job.id

    here.run(scenario)


def test_what_another_program_holds_is_not_waited_for_forever(tmp_path: Path, postgresql: PostgreSQL) -> None:
    name = postgresql.new_database()
    here = Place(postgresql.url(name), tmp_path)

    async def scenario(store: JobStore) -> None:
        job = await submitted(store)
        with postgresql.holding("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE", name):
            began = time.monotonic()
            with pytest.raises(JobsUnavailable, match="held by another program"):
                await submitted(store, "bert")
            assert time.monotonic() - began >= 0.2
        assert (await submitted(store, "bert")).id != job.id

    here.run(lambda store: store.open())
    here.run(scenario, busy_seconds=0.2)


def test_a_statement_does_not_take_for_ever(
    tmp_path: Path, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        address = database_url(postgresql.url(postgresql.new_database()), "JOBS_DATABASE_URL")
        used = Database(address, Holding("job", "jobs", "app.service.jobs:migrations", JobsUnavailable))
        with pytest.raises(JobsUnavailable, match="takes too long"):
            await used.read(lambda session: session.execute(text("SELECT pg_sleep(100)")))
        assert await used.read(lambda session: session.scalar(text("SELECT 1"))) == 1
        await used.close()

    monkeypatch.setattr("app.service.database._STATEMENT_MS", 500)
    asyncio.run(main())
