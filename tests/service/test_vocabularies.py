"""Stored vocabularies: whose they are, how many there may be, and that what is deleted or replaced is gone."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from app.domain.errors import InvalidParameter, UnknownVocabulary, VocabulariesUnavailable, VocabularyExists
from app.domain.hotwords import Hotword
from app.service.vocabularies.lists import MAX_ID_CHARACTERS, Vocabulary
from app.service.vocabularies.store import VocabularyStore
from app.service.vocabularies.tables import Base

_T = TypeVar("_T")
NAMES = (Hotword("阿里巴巴", 2.0), Hotword("Kubernetes"), Hotword("Zoë 🎉", 0.5))
NOBODY = "vocab_" + "0" * 24


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vocabularies.db"


def run(path: Path, scenario: Callable[[VocabularyStore], Awaitable[_T]], **changes: object) -> _T:
    """What `scenario` returns; the store is closed in any case."""

    async def main() -> _T:
        store = VocabularyStore(path, **{"busy_seconds": 0.1, **changes})
        try:
            async with asyncio.timeout(60):
                return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(main())


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def terms(*texts: str) -> list[Hotword]:
    return [Hotword(text) for text in texts]


def on_disk(path: Path) -> bytes:
    """All bytes of the database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_stored_is_there_also_after_a_restart(path: Path) -> None:
    async def store_it(store: VocabularyStore) -> Vocabulary:
        made = await store.create("key", "  客户 ", NAMES)
        assert (made.name, made.count, made.hotwords) == ("客户", 3, NAMES)
        assert abs(made.created_at - time.time()) < 10
        assert made.updated_at == made.created_at
        assert len(made.id) == len(NOBODY)
        return made

    async def again(store: VocabularyStore) -> None:
        assert await store.get("key", made.id) == made
        assert await store.hotwords_of("key", made.id) == NAMES
        (summary,) = await store.list("key")
        assert (summary.id, summary.name, summary.count) == (made.id, "客户", 3)
        assert (summary.created_at, summary.updated_at) == (made.created_at, made.updated_at)
        assert not hasattr(summary, "hotwords")

    made = run(path, store_it)
    run(path, again)


def test_replacing(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "Names", NAMES)
        other = await store.create("key", "Places", terms("Köln"))
        await asyncio.sleep(1.1)  # times are whole seconds
        renamed = await store.replace("key", made.id, name="People")
        assert (renamed.name, renamed.hotwords, renamed.created_at) == ("People", NAMES, made.created_at)
        assert renamed.updated_at > made.updated_at
        changed = await store.replace("key", made.id, hotwords=terms("Anna"))
        assert (changed.name, changed.count, changed.hotwords) == ("People", 1, (Hotword("Anna"),))
        both = await store.replace("key", made.id, name="PEOPLE", hotwords=terms("Bert", "Carla"))
        assert both == await store.get("key", made.id)
        assert (both.id, both.name, both.count) == (made.id, "PEOPLE", 2)
        with pytest.raises(VocabularyExists, match=other.id) as caught:
            await store.replace("key", made.id, name="places", hotwords=terms("Emil"))
        assert caught.value.param == "name"
        assert [summary.name for summary in await store.list("key")] == ["PEOPLE", "Places"]
        assert await store.hotwords_of("key", made.id) == both.hotwords
        assert await store.get("key", other.id) == other

    run(path, scenario)


def test_owners_do_not_see_each_other(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        mine = await store.create("mine", "Names", NAMES)
        theirs = await store.create("theirs", "Names", terms("Bert"))
        for owner, own, other in (("mine", mine, theirs), ("theirs", theirs, mine)):
            assert [summary.id for summary in await store.list(owner)] == [own.id]
            for attempt in (
                store.get(owner, other.id),
                store.hotwords_of(owner, other.id),
                store.replace(owner, other.id, name="Taken", hotwords=terms("x")),
                store.delete(owner, other.id),
            ):
                with pytest.raises(UnknownVocabulary):
                    await attempt
        assert await store.list("") == []
        await store.delete("mine", mine.id)
        assert await store.get("theirs", theirs.id) == theirs

    run(path, scenario)


def test_ids_that_nothing_has(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "Names", NAMES)
        for wanted in (
            NOBODY,
            "",
            "Names",
            made.id[:-1],
            made.id.upper(),
            "\ud800",
            "a\x00b",
            "张三 20",
            "x" * 100_000,
        ):
            for attempt in (store.get("key", wanted), store.delete("key", wanted), store.replace("key", wanted)):
                with pytest.raises(UnknownVocabulary) as caught:
                    await attempt
                assert not wanted or wanted not in caught.value.message
            with pytest.raises(UnknownVocabulary) as caught:
                await store.hotwords_of("key", wanted)
            assert caught.value.param == "vocabulary_id"
        assert await store.get("key", made.id) == made

    run(path, scenario)


def test_ids_that_came_from_elsewhere(path: Path) -> None:
    made = run(path, lambda store: store.create("key", "Names", NAMES))
    for brought in ("5f1d0c9ab3e24786a1c05d9e5f1d0c9a", "词" * MAX_ID_CHARACTERS):
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("UPDATE vocabularies SET id = ?", [brought])
        assert run(path, lambda store, wanted=brought: store.hotwords_of("key", wanted)) == made.hotwords


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "", " \t", "x" * 65, "a\nb", "\ud800", "\u200b", "a\u202eb", NOBODY])
def test_what_is_no_name(path: Path, name: str | None) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "x" * 64, NAMES)
        attempts = [store.create("key", name, NAMES)]
        if name is not None:
            attempts.append(store.replace("key", made.id, name=name))
        for attempt in attempts:
            with pytest.raises(InvalidParameter) as caught:
                await attempt
            assert caught.value.param == "name"
            assert not name or name not in caught.value.message
        assert [summary.name for summary in await store.list("key")] == ["x" * 64]

    run(path, scenario)


@pytest.mark.parametrize(("one", "other"), [("NAMES", "names"), ("Straße", "STRASSE"), ("Zoe\u0308", "ZO\u00cb")])
def test_names_that_are_the_same(path: Path, one: str, other: str) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", one, NAMES)
        with pytest.raises(VocabularyExists, match=made.id) as caught:
            await store.create("key", other, NAMES)
        assert caught.value.param == "name"
        await store.delete("key", made.id)
        await store.create("key", other, NAMES)

    run(path, scenario)


def test_the_most_vocabularies_of_an_owner(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = [await store.create("key", f"Number {number}", NAMES) for number in range(3)]
        with pytest.raises(InvalidParameter, match="MAX_VOCABULARIES"):
            await store.create("key", "One more", NAMES)
        await store.create("other", "Names", NAMES)
        await store.delete("key", made[0].id)
        await store.create("key", "One more", NAMES)

    run(path, scenario, max_vocabularies=3)


def test_the_most_hotwords(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "Names", terms("a", "b", "c"))
        for bad in (terms("a", "b", "c", "d"), []):
            for attempt in (store.create("key", "More", bad), store.replace("key", made.id, hotwords=bad)):
                with pytest.raises(InvalidParameter) as caught:
                    await attempt
                assert caught.value.param == "hotwords"
        assert [summary.count for summary in await store.list("key")] == [3]

    run(path, scenario, max_hotwords=3)


def test_the_most_bytes_of_an_owner(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        half = terms(*(f"{number:04}" + "字" * 160 for number in range(1000)))
        made = await store.create("key", "One", half)
        with pytest.raises(InvalidParameter, match="1 MiB at most") as caught:
            await store.create("key", "Two", [*half, *half])
        assert caught.value.param == "hotwords"
        await store.create("key", "Two", half)
        with pytest.raises(InvalidParameter):
            await store.create("key", "Three", half)
        await store.replace("key", made.id, hotwords=half)  # in place of as much
        await store.create("other", "One", half)

    run(path, scenario, max_bytes=1024 * 1024)


# --- many at once -----------------------------------------------------------------------------------------------------


def test_fifty_at_once(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await asyncio.gather(*(store.create("key", f"Number {number}", NAMES) for number in range(50)))
        assert len({vocabulary.id for vocabulary in made}) == 50
        same = (store.create("key", "Names", NAMES) for _ in range(50))
        outcomes = await asyncio.gather(*same, return_exceptions=True)
        assert sum(isinstance(outcome, VocabularyExists) for outcome in outcomes) == 49

    run(path, scenario)


def test_two_servers_share_a_database(path: Path) -> None:
    async def scenario(one: VocabularyStore) -> None:
        await one.open()
        other = VocabularyStore(path, max_vocabularies=12, busy_seconds=30)
        try:
            creating = [
                store.create("key", f"Number {number}", NAMES) for number in range(20) for store in (one, other)
            ]
            outcomes = await asyncio.gather(*creating, return_exceptions=True)
            made = [outcome for outcome in outcomes if isinstance(outcome, Vocabulary)]
            assert len(made) == 12
            assert len({vocabulary.name for vocabulary in made}) == 12
            assert await one.list("key") == await other.list("key")

            shared = made[0].id
            changing = [
                store.replace("key", shared, hotwords=terms(*(f"{index} {number} {place}" for place in range(200))))
                for number in range(5)
                for index, store in enumerate((one, other))
            ]
            written = [outcome.hotwords for outcome in await asyncio.gather(*changing)]
            assert await one.hotwords_of("key", shared) in written  # one of them whole, never a mixture
            await one.delete("key", shared)
            with pytest.raises(UnknownVocabulary):
                await other.get("key", shared)
        finally:
            await other.close()

    run(path, scenario, max_vocabularies=12, busy_seconds=30)


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_what_is_deleted_or_replaced_leaves_no_byte(path: Path) -> None:
    """Small vocabularies, whose rows SQLite moves between pages, and such as take many pages."""
    chance = random.Random(7)
    alive: dict[str, set[bytes]] = {}
    gone: set[bytes] = set()

    def fresh(number: int) -> tuple[str, list[Hotword], set[bytes]]:
        name = f"{chance.randbytes(8).hex()} {number}"
        texts = [f"{chance.randbytes(8).hex()}名字" for _ in range(chance.choice([1, 3, 20, 400]))]
        return name, terms(*texts), {name.encode(), texts[0].encode(), texts[-1].encode()}

    async def create(store: VocabularyStore, number: int) -> None:
        name, hotwords, traces = fresh(number)
        made = await store.create("key", name, hotwords)
        alive[made.id] = traces | {made.id.encode()}

    async def delete_or_replace(store: VocabularyStore, number: int) -> None:
        chosen = chance.choice(list(alive))
        if chance.random() < 0.5:
            await store.delete("key", chosen)
            gone.update(alive.pop(chosen))
        else:
            name, hotwords, traces = fresh(number)
            await store.replace("key", chosen, name=name, hotwords=hotwords)
            gone.update(alive[chosen] - {chosen.encode()})
            alive[chosen] = traces | {chosen.encode()}
        content = on_disk(path)
        assert [trace for trace in gone if trace in content] == []

    async def scenario(store: VocabularyStore) -> None:
        for number in range(90):
            await create(store, number)
            if number > 40:
                await delete_or_replace(store, number)
        content = on_disk(path)
        assert all(trace in content for traces in alive.values() for trace in traces)
        assert path.with_name("vocabularies.db-wal").stat().st_size == 0

    run(path, scenario)
    assert len(gone) > 100


def test_what_cannot_be_swept_now_is_said_and_swept_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: VocabularyStore) -> None:
        one, two = [await store.create("key", name, terms("secret name")) for name in ("One", "Two")]
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM vocabularies").fetchone()
            await store.delete("key", one.id)
        assert "traces of a deleted vocabulary" in caplog.text
        await store.delete("key", two.id)
        assert b"secret name" not in on_disk(path)

    run(path, scenario)


# --- the database -----------------------------------------------------------------------------------------------------


def test_only_the_servers_user_can_read_it(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        assert not path.parent.exists(), "nothing is made before it is needed"
        await store.create("key", "Names", NAMES)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}

    run(path, scenario)


def test_table_and_migrations_agree(path: Path) -> None:
    run(path, lambda store: store.open())
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_newer_versions_database_is_left_alone(path: Path) -> None:
    run(path, lambda store: store.create("key", "Names", NAMES))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()

    async def scenario(store: VocabularyStore) -> None:
        for attempt in (store.list("key"), store.create("key", "More", NAMES)):
            with pytest.raises(VocabulariesUnavailable, match="stored vocabularies was made by a newer version"):
                await attempt

    run(path, scenario)
    assert path.read_bytes() == before


def test_a_damaged_database_is_said_and_can_be_put_back(path: Path) -> None:
    run(path, lambda store: store.create("key", "Names", NAMES))
    good = path.read_bytes()

    async def scenario(store: VocabularyStore) -> None:
        for bad in (b"not a database at all" * 1000, good[:4096] + b"\xff" * (len(good) - 4096)):
            put(path, bad)
            for attempt in (store.list("key"), store.create("key", "More", NAMES)):
                with pytest.raises(VocabulariesUnavailable, match="is damaged") as caught:
                    await attempt
                assert str(path) not in caught.value.message
            assert on_disk(path) == bad
        put(path, good)
        assert [summary.name for summary in await store.list("key")] == ["Names"]

    run(path, scenario)


def test_a_log_of_everything_has_neither_names_nor_terms(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "Annabella", terms("Bertholdina"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            name, said = "Annabella the Second", terms("Bertholdina")  # not in the line that a traceback shows
            with pytest.raises(VocabulariesUnavailable, match="held by another program") as caught:
                await store.create("key", name, said)
            logging.getLogger("tests").error("failed", exc_info=caught.value)
        with pytest.raises(VocabularyExists):
            await store.create("key", "ANNABELLA", NAMES)
        await store.replace("key", made.id, hotwords=terms("Bertholdina", "Emil"))
        await store.list("key")
        await store.delete("key", made.id)

    with caplog.at_level(logging.DEBUG):
        run(path, scenario)
    assert "database is locked" in caplog.text
    assert not any(trace in caplog.text.lower() for trace in ("annabella", "bertholdina"))
    assert json.dumps("Emil") not in caplog.text
