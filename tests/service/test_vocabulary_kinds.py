"""Lists of words of several kinds in one store: apart from each other, and what older databases hold stays."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar, get_args

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from app.domain.errors import InvalidParameter, UnknownVocabulary, VocabularyExists
from app.domain.hotwords import Hotword
from app.service.vocabularies.lists import ListKind, Vocabulary
from app.service.vocabularies.store import VocabularyStore

_T = TypeVar("_T")
KINDS: tuple[ListKind, ...] = get_args(ListKind)
NAMES = (Hotword("阿里巴巴", 2.0), Hotword("Zoë"))
OLD = (
    ("vocab_" + "1" * 24, "key", "Names", "names", 5.5, 6.5, 2, '[["阿里巴巴",2.0],["Zoë",1.0]]'),
    ("5f1d0c9ab3e24786a1c05d9e5f1d0c9a", "other", "Places", "places", 7.0, 7.0, 1, '[["Köln",1.0]]'),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vocabularies.db"


def run(path: Path, scenario: Callable[[VocabularyStore], Awaitable[_T]], **changes: int) -> _T:
    async def main() -> _T:
        store = VocabularyStore(path, busy_seconds=0.1, **changes)
        try:
            async with asyncio.timeout(60):
                return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(main())


def migrate(path: Path, revision: str) -> None:
    """Bring the file to a revision, forward or back."""
    config = Config()
    config.set_main_option("script_location", "app.service.vocabularies:migrations")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        if revision == "0001" and path.stat().st_size:
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)
    engine.dispose()


def old_database(path: Path) -> None:
    """As the version before kinds left it."""
    path.touch(mode=0o600)
    migrate(path, "0001")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executemany("INSERT INTO vocabularies VALUES (?, ?, ?, ?, ?, ?, ?, CAST(? AS BLOB))", OLD)


def test_each_kind_is_by_itself(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made: dict[ListKind, Vocabulary] = {}
        for kind in KINDS:
            made[kind] = await store.create("key", "Names", NAMES, kind=kind, description=f"for {kind}")
            with pytest.raises(VocabularyExists, match=made[kind].id):
                await store.create("key", "NAMES", NAMES, kind=kind)
        for kind in KINDS:
            (summary,) = await store.list("key", kind=kind)
            assert (summary.id, summary.kind, summary.description) == (made[kind].id, kind, f"for {kind}")
            for other in set(KINDS) - {kind}:
                for attempt in (
                    store.get("key", made[other].id, kind=kind),
                    store.replace("key", made[other].id, kind=kind, name="Taken"),
                    store.delete("key", made[other].id, kind=kind),
                ):
                    with pytest.raises(UnknownVocabulary):
                        await attempt
        await store.delete("key", made["class"].id, kind="class")
        assert [await store.get("key", made[kind].id, kind=kind) for kind in ("hotwords", "sensitive")] == [
            made["hotwords"],
            made["sensitive"],
        ]

    run(path, scenario)


def test_classes_are_listened_for_and_sensitive_words_are_not(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        people = await store.create("key", "People", NAMES, kind="class")
        secret = await store.create("key", "Secret", NAMES, kind="sensitive")
        assert await store.hotwords_of("key", people.id) == NAMES
        assert await store.words_of("key", secret.id) == secret.words == ("阿里巴巴", "Zoë")
        for attempt, param in (
            (store.hotwords_of("key", secret.id), "vocabulary_id"),
            (store.words_of("key", people.id), "sensitive_words"),
            (store.words_of("other", secret.id, param="there"), "there"),
        ):
            with pytest.raises(UnknownVocabulary) as caught:
                await attempt
            assert caught.value.param == param

    run(path, scenario)


def test_names_that_callers_choose(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        assert await store.find("key", "meeting-7", kind="class") is None
        made = await store.put("key", "meeting-7", NAMES, kind="class")
        again = await store.put("key", "Meeting-7", [Hotword("secret name")], kind="class", description="today")
        assert (again.id, again.name, again.words, again.description) == (
            made.id,
            "Meeting-7",
            ("secret name",),
            "today",
        )
        kept = await store.put("key", "meeting-7", NAMES, kind="class")
        assert (kept.words, kept.description) == (made.words, "today")
        assert b"secret name" not in b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert await store.find("key", " MEETING-7 ", kind="class") == kept
        assert await store.find("other", "meeting-7", kind="class") is None
        assert await store.find("key", "meeting-7", kind="hotwords") is None
        assert [one.id for one in await store.list("key", kind="class")] == [made.id]
        both = await asyncio.gather(*(store.put("key", "new", NAMES, kind="sensitive") for _ in range(10)))
        assert len({one.id for one in both}) == 1
        for name, words in (("", NAMES), ("a\nb", NAMES), ("x", [])):
            with pytest.raises(InvalidParameter):
                await store.put("key", name, words, kind="class")

    run(path, scenario)


def test_as_many_of_each_kind_as_there_may_be(path: Path) -> None:
    async def scenario(store: VocabularyStore) -> None:
        for kind in KINDS:
            for number in range(2):
                await store.put("key", f"Number {number}", NAMES, kind=kind)
            await store.put("key", "Number 1", NAMES, kind=kind)  # in place of one
            for attempt in (
                store.create("key", "One more", NAMES, kind=kind),
                store.put("key", "One more", NAMES, kind=kind),
            ):
                with pytest.raises(InvalidParameter, match="MAX_VOCABULARIES"):
                    await attempt
        with pytest.raises(InvalidParameter) as caught:
            await store.create("key", "Long", [*NAMES, Hotword("x")], kind="sensitive")
        assert caught.value.param == "words"

    run(path, scenario, max_vocabularies=2, max_hotwords=2)


@pytest.mark.parametrize("said", ["x" * 501, "a\x00b", "\ud800"])
def test_what_is_no_description(path: Path, said: str) -> None:
    async def scenario(store: VocabularyStore) -> None:
        made = await store.create("key", "Names", NAMES, description="x" * 500)
        for attempt in (
            store.create("key", "More", NAMES, description=said),
            store.put("key", "More", NAMES, description=said),
            store.replace("key", made.id, description=said),
        ):
            with pytest.raises(InvalidParameter) as caught:
                await attempt
            assert caught.value.param == "description"
        assert await store.list("key") == await store.list("key", kind="hotwords")
        assert (await store.get("key", made.id)).description == "x" * 500

    run(path, scenario)


def test_an_older_database_is_migrated_with_all_it_holds(path: Path) -> None:
    old_database(path)

    async def scenario(store: VocabularyStore) -> None:
        (summary,) = await store.list("key")
        assert (summary.id, summary.kind, summary.name, summary.description) == (OLD[0][0], "hotwords", "Names", "")
        assert (summary.count, summary.created_at, summary.updated_at) == (2, 5, 6)
        assert await store.hotwords_of("key", OLD[0][0]) == (Hotword("阿里巴巴", 2.0), Hotword("Zoë"))
        assert await store.hotwords_of("other", OLD[1][0]) == (Hotword("Köln"),)
        with pytest.raises(VocabularyExists):
            await store.create("key", "NAMES", NAMES)
        await store.create("key", "Names", NAMES, kind="sensitive")

    run(path, scenario)
    with closing(sqlite3.connect(path)) as raw:
        columns = [row[1] for row in raw.execute("PRAGMA table_info(vocabularies)")]
        assert columns[-1] == "hotwords", "lists are made without reading what is long"
        (rows,) = raw.execute("SELECT count(*) FROM vocabularies").fetchone()
        assert rows == 3


def test_going_back_keeps_the_hotwords(path: Path) -> None:
    old_database(path)

    async def more(store: VocabularyStore) -> None:
        for kind in KINDS:
            await store.create("key", "More", NAMES, kind=kind, description="new")

    run(path, more)
    migrate(path, "0001")
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT * FROM vocabularies ORDER BY created").fetchall()
    assert [row[:7] for row in rows[:2]] == [row[:7] for row in OLD]
    assert [json.loads(row[7]) for row in rows[:2]] == [json.loads(row[7]) for row in OLD]
    assert [row[2] for row in rows] == ["Names", "Places", "More"]
