"""The database of enrolled voices: that deleting deletes, who can read it, and what can happen to a file."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from enrolling import ENCODER, run, voiceprint
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from app.domain.errors import UnknownVoice, VoiceExists, VoicesUnavailable
from app.service import database
from app.service.voices.store import MAX_SAMPLES, VoiceStore
from app.service.voices.tables import Base


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "voices.db"


def on_disk(path: Path) -> bytes:
    """All bytes of the database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def replace(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def allow_writing(path: Path) -> None:
    path.parent.chmod(0o700)
    path.chmod(0o600)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_deleting_leaves_no_byte(path: Path) -> None:
    """Also of rows that SQLite has moved between pages meanwhile, which it does not zero."""
    chance = random.Random(7)
    alive: dict[str, list[bytes]] = {}
    gone: list[bytes] = []

    async def enrol(store: VoiceStore, number: int) -> None:
        name = f"{chance.randbytes(20).hex()} {number}"
        samples = [voiceprint(number * 100 + place) for place in range(chance.randint(1, 8))]
        voice = await store.enrol(chance.choice(["one", "two"]), name, samples)
        blobs = [sample.embedding.astype("<f4").tobytes() for sample in samples]
        alive[voice.id] = [
            name.encode(),
            voice.id.encode(),
            *(part for blob in blobs for part in (blob[:32], blob[-32:])),
        ]

    async def delete(store: VoiceStore) -> None:
        voice_id = chance.choice(list(alive))
        for owner in ("one", "two"):
            if voice_id in {voice.id for voice in await store.list(owner)}:
                await store.delete(owner, voice_id)
        gone.extend(alive.pop(voice_id))
        content = on_disk(path)
        assert [trace for trace in gone if trace in content] == []

    async def scenario(store: VoiceStore) -> None:
        for number in range(150):
            if number < 90 or chance.random() < 0.3:
                await enrol(store, number)
            if number > 60:
                await delete(store)
        content = on_disk(path)
        assert all(trace in content for traces in alive.values() for trace in traces)
        assert path.with_name("voices.db-wal").stat().st_size == 0

    run(path, scenario)


def test_deleting_sweeps_what_was_left_before(path: Path) -> None:
    anna = run(path, lambda store: store.enrol("key", "Anna", [voiceprint(1)]))
    run(path, lambda store: store.enrol("key", "Bert", [voiceprint(2)]))
    with closing(sqlite3.connect(path)) as careless, careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("DELETE FROM voice_samples WHERE voice_id != ?", [anna.id])
    assert voiceprint(2).embedding.tobytes()[-32:] in on_disk(path)
    run(path, lambda store: store.delete("key", anna.id))
    assert voiceprint(2).embedding.tobytes()[-32:] not in on_disk(path)


def test_deleting_without_a_sweep_already_zeroes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = run(path, lambda store: store.enrol("key", "Anna", [voiceprint(1)]))
    monkeypatch.setattr(database, "sweep", lambda *_: None)
    run(path, lambda store: store.delete("key", anna.id))
    content = on_disk(path)
    assert not any(trace in content for trace in (b"Anna", voiceprint(1).embedding.tobytes()[-32:]))


def test_what_cannot_be_swept_now_is_said_and_swept_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: VoiceStore) -> None:
        anna, bert = [await store.enrol("key", name, [voiceprint(1)]) for name in ("Anna", "Bert")]
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM voices").fetchone()
            await store.delete("key", anna.id)
        assert "traces of a deleted voice" in caplog.text
        with pytest.raises(UnknownVoice):
            await store.get("key", anna.id)
        await store.delete("key", bert.id)
        assert voiceprint(1).embedding.tobytes()[:32] not in on_disk(path)

    run(path, scenario)


# --- the database -----------------------------------------------------------------------------------------------------


def test_only_the_servers_user_can_read_it(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        assert not path.parent.exists(), "nothing is made before it is needed"
        await store.enrol("key", "Anna", [voiceprint(1)])
        assert path.parent.stat().st_mode & 0o777 == 0o700
        files = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert files == {"voices.db": 0o600, "voices.db-wal": 0o600, "voices.db-shm": 0o600}

    before = os.umask(0o022)
    try:
        run(path, scenario)
    finally:
        os.umask(before)


def test_tables_and_migrations_agree(path: Path) -> None:
    run(path, lambda store: store.open())
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_newer_versions_database_is_left_alone(path: Path) -> None:
    run(path, lambda store: store.enrol("key", "Anna", [voiceprint(1)]))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()

    async def scenario(store: VoiceStore) -> None:
        for attempt in (store.list("key"), store.enrol("key", "Bert", [voiceprint(2)])):
            with pytest.raises(VoicesUnavailable, match="newer version"):
                await attempt

    run(path, scenario)
    assert path.read_bytes() == before


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE voice_samples (something)")

    async def scenario(store: VoiceStore) -> None:
        with pytest.raises(VoicesUnavailable):
            await store.open()

    run(path, scenario)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == [("voice_samples",)]


def test_a_locked_database_can_be_read_and_later_written(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        anna = await store.enrol("key", "Anna", [voiceprint(1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for attempt in (store.enrol("key", "Bert", [voiceprint(2)]), store.delete("key", anna.id)):
                with pytest.raises(VoicesUnavailable, match="held by another program"):
                    await attempt
        assert await store.list("key") == [anna]
        await store.enrol("key", "Bert", [voiceprint(2)])

    run(path, scenario)


def test_a_damaged_database_is_said_and_can_be_put_back(path: Path) -> None:
    run(path, lambda store: store.enrol("key", "Anna", [voiceprint(1)]))
    good = path.read_bytes()

    async def scenario(store: VoiceStore) -> None:
        for bad in (
            b"not a database at all" * 1000,
            good[: len(good) // 2],
            good[:4096] + b"\xff" * (len(good) - 4096),
        ):
            replace(path, bad)
            for attempt in (store.list("key"), store.enrol("key", "Bert", [voiceprint(2)])):
                with pytest.raises(VoicesUnavailable, match="is damaged") as caught:
                    await attempt
                assert str(path) not in caught.value.message
            assert on_disk(path) == bad
        replace(path, good)
        assert [voice.name for voice in await store.list("key")] == ["Anna"]

    run(path, scenario)


def test_a_database_that_is_removed_and_put_back(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        anna = await store.enrol("key", "Anna", [voiceprint(1)])
        aside = path.parent.rename(path.parent.with_name("aside"))
        bert = await store.enrol("key", "Bert", [voiceprint(2)])
        assert await store.list("key") == [bert]
        path.parent.rename(path.parent.with_name("also aside"))
        aside.rename(path.parent)
        assert await store.list("key") == [anna]

    run(path, scenario)


def test_a_folder_that_cannot_be_made(path: Path) -> None:
    async def scenario(store: VoiceStore) -> None:
        path.parent.write_text("a file")
        with pytest.raises(VoicesUnavailable):
            await store.enrol("key", "Anna", [voiceprint(1)])
        path.parent.unlink()
        await store.enrol("key", "Anna", [voiceprint(1)])

    run(path, scenario)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom file modes bind."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_database() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voices.db"

        async def scenario(store: VoiceStore) -> None:
            with unprivileged(), pytest.raises(VoicesUnavailable) as caught:
                await store.enrol("key", "Bert", [voiceprint(2)])
            assert isinstance(caught.value.__cause__, DBAPIError)
            allow_writing(path)
            assert [voice.name for voice in await store.list("key")] == ["Anna"]

        run(path, lambda store: store.enrol("key", "Anna", [voiceprint(1)]))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        run(path, scenario)


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = database._prepare

    def small(raw: sqlite3.Connection, entry: ConnectionPoolEntry, *, busy_seconds: float) -> None:
        prepare(raw, entry, busy_seconds=busy_seconds)
        raw.execute("PRAGMA max_page_count = 10")

    async def scenario(store: VoiceStore) -> None:
        anna = await store.enrol("key", "Anna", [voiceprint(1)])
        with pytest.raises(VoicesUnavailable, match="the disk is full") as caught:
            await store.enrol("key", "Bert", [voiceprint(seed) for seed in range(MAX_SAMPLES)])
        assert "parameters hidden" in str(caught.value.__cause__)
        monkeypatch.undo()
        assert await store.list("key") == [anna]
        await store.enrol("key", "Bert", [voiceprint(seed) for seed in range(MAX_SAMPLES)])

    monkeypatch.setattr(database, "_prepare", small)
    run(path, scenario)


def test_a_log_of_everything_has_neither_names_nor_voiceprints(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: VoiceStore) -> None:
        voice = await store.enrol("key", "Annabella", [voiceprint(1)])
        await store.known("key", ENCODER, ["Annabella"])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            second = "Annabella the Second"  # not in the line that a traceback shows
            with pytest.raises(VoicesUnavailable) as caught:
                await store.enrol("key", second, [voiceprint(1)])
            logging.getLogger("tests").error("failed", exc_info=caught.value)
        with pytest.raises(VoiceExists):
            await store.enrol("key", "ANNABELLA", [voiceprint(1)])
        await store.list("key")
        await store.delete("key", voice.id)

    with caplog.at_level(logging.DEBUG):
        run(path, scenario)
    assert "database is locked" in caplog.text
    assert "annabella" not in caplog.text.lower()
    blob = voiceprint(1).embedding.tobytes()
    assert repr(blob[:8])[2:-1] not in caplog.text
