"""Stored lists of words: kept on disk, seen by nobody but their owner, and gone when they are deleted."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import InvalidParameter, VocabulariesUnavailable
from app.domain.hotwords import Hotword
from app.service.database import BUSY_SECONDS, Database, Holding
from app.service.names import name_key
from app.service.vocabularies import lists
from app.service.vocabularies.lists import ListKind, Vocabulary, VocabularySummary
from app.service.vocabularies.tables import VocabularyRow

MAX_BYTES = 64 * 1024 * 1024
"""All terms of an owner together, as they are stored: deleting writes the file afresh, which passes through memory.
A hundred vocabularies of 10,000 Chinese names take a third of it."""

_HOLDING = Holding("vocabulary", "stored vocabularies", "app.service.vocabularies:migrations", VocabulariesUnavailable)

_Summaries: TypeAlias = list[VocabularySummary]  # inside the class, `list` is the method


class VocabularyStore:
    """Lists of words by name, each of a kind and belonging to an `owner` (as KeyRing.owner names keys); to others, and
    to who asks for another kind, it does not exist.

    Every method runs its transaction in the store's one thread, and opens the database first where it is not open. Each
    raises VocabulariesUnavailable where the database cannot be used; the next call tries anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_vocabularies: int = 100,
        max_hotwords: int = 10_000,
        max_bytes: int = MAX_BYTES,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        """`path` is the file, which need not exist yet; `max_vocabularies` is of each owner and kind, `max_bytes` of
        each owner."""
        self._max_vocabularies = max_vocabularies
        self._max_hotwords = max_hotwords
        self._max_bytes = max_bytes
        self._database = Database(path, _HOLDING, busy_seconds=busy_seconds)

    async def open(self) -> None:
        """Make or migrate the database now instead of at the first use."""
        await self._database.open()

    async def create(
        self,
        owner: str,
        name: str | None,
        hotwords: Sequence[Hotword],
        *,
        kind: ListKind = "hotwords",
        description: str = "",
    ) -> Vocabulary:
        """A new list.

        Raises:
            InvalidParameter: the name cannot be one, there are no terms, or there is too much of something.
            VocabularyExists: the owner has a list of that kind and name.
        """
        clean, about = lists.clean_name(name, kind), lists.clean_description(description)
        lists.check_count(hotwords, self._max_hotwords, kind)

        def work(session: Session) -> Vocabulary:
            lists.check_name(session, owner, kind, clean)
            return self._create(session, owner, kind, name=clean, about=about, hotwords=hotwords)

        return await self._database.write(work)

    async def put(
        self,
        owner: str,
        name: str,
        hotwords: Sequence[Hotword],
        *,
        kind: ListKind = "hotwords",
        description: str | None = None,
        exact: bool = False,
    ) -> Vocabulary:
        """What the owner's list of that name is from now on, for callers who choose the names themselves: made where
        there is none, replaced where there is one. `exact`: of exactly that name.

        Raises:
            InvalidParameter: as in `create`.
            VocabularyExists: with `exact`, a list of a name that differs in case only.
        """
        clean = lists.clean_name(name, kind)
        about = None if description is None else lists.clean_description(description)
        lists.check_count(hotwords, self._max_hotwords, kind)

        def work(session: Session) -> Vocabulary:
            row = lists.named(session, owner, kind, clean)
            if row is None:
                return self._create(session, owner, kind, name=clean, about=about or "", hotwords=hotwords)
            if exact and row.name != clean:
                raise lists.differs_in_case(kind)
            return self._replace(session, row, kind, name=clean, about=about, hotwords=hotwords)

        return await self._database.write(work, sweeps=True)

    async def list(self, owner: str, *, kind: ListKind = "hotwords") -> _Summaries:
        """The owner's lists of a kind, oldest first."""
        return await self._database.read(lambda session: lists.summaries(session, owner, kind))

    async def get(
        self, owner: str, vocabulary_id: str, *, kind: ListKind = "hotwords", param: str | None = None
    ) -> Vocabulary:
        """One of the owner's lists. `param` is the field that named it, for errors.

        Raises:
            UnknownVocabulary: the owner has no such list.
        """

        def work(session: Session) -> Vocabulary:
            return lists.vocabulary(lists.found(session, owner, (kind,), vocabulary_id, param))

        return await self._database.read(work)

    async def find(self, owner: str, name: str, *, kind: ListKind = "hotwords") -> Vocabulary | None:
        """The owner's list of that name; None: there is none."""

        def work(session: Session) -> Vocabulary | None:
            row = lists.named(session, owner, kind, name)
            return None if row is None else lists.vocabulary(row)

        return await self._database.read(work)

    async def hotwords_of(self, owner: str, vocabulary_id: str, *, param: str = "vocabulary_id") -> tuple[Hotword, ...]:
        """What to listen for where a request names a vocabulary or a class of words, in the field `param`.

        Raises:
            UnknownVocabulary: the owner has neither.
        """

        def work(session: Session) -> Vocabulary:
            return lists.vocabulary(lists.found(session, owner, lists.HEARD, vocabulary_id, param))

        return (await self._database.read(work)).hotwords

    async def words_of(self, owner: str, list_id: str, *, param: str = "sensitive_words") -> tuple[str, ...]:
        """What to mask where a request names a list of sensitive words, in the field `param`.

        Raises:
            UnknownVocabulary: the owner has no such list.
        """
        return (await self.get(owner, list_id, kind="sensitive", param=param)).words

    async def replace(
        self,
        owner: str,
        vocabulary_id: str,
        *,
        kind: ListKind = "hotwords",
        name: str | None = None,
        hotwords: Sequence[Hotword] | None = None,
        description: str | None = None,
    ) -> Vocabulary:
        """Give a list another name, other terms, another description; what is None stays. No trace of the former is
        left in the file.

        Raises:
            InvalidParameter: as in `create`.
            UnknownVocabulary: the owner has no such list.
            VocabularyExists: the owner has another list of that kind and name.
        """
        clean = None if name is None else lists.clean_name(name, kind)
        about = None if description is None else lists.clean_description(description)
        if hotwords is not None:
            lists.check_count(hotwords, self._max_hotwords, kind)

        def work(session: Session) -> Vocabulary:
            row = lists.found(session, owner, (kind,), vocabulary_id, None)
            return self._replace(session, row, kind, name=clean, about=about, hotwords=hotwords)

        return await self._database.write(work, sweeps=True)

    async def revise(
        self,
        owner: str,
        vocabulary_id: str,
        titles: Callable[[VocabularySummary], tuple[str, str]],
        *,
        kind: ListKind = "hotwords",
        hotwords: Sequence[Hotword] | None = None,
    ) -> Vocabulary:
        """The same where name and description follow from those that there are: what `titles` makes of them, without
        anybody in between.

        Raises:
            InvalidParameter, UnknownVocabulary, VocabularyExists: as in `replace`, and what `titles` raises.
        """
        if hotwords is not None:
            lists.check_count(hotwords, self._max_hotwords, kind)

        def work(session: Session) -> Vocabulary:
            row = lists.found(session, owner, (kind,), vocabulary_id, None)
            name, about = titles(lists.summary(row))
            clean, about = lists.clean_name(name, kind), lists.clean_description(about)
            return self._replace(session, row, kind, name=clean, about=about, hotwords=hotwords)

        return await self._database.write(work, sweeps=True)

    async def delete(self, owner: str, vocabulary_id: str, *, kind: ListKind = "hotwords") -> None:
        """Remove a list and every trace of it in the database's files.

        Raises:
            UnknownVocabulary: the owner has no such list.
        """
        await self._database.write(lambda session: lists.delete_list(session, owner, kind, vocabulary_id), sweeps=True)

    async def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        await self._database.close()

    def _create(
        self, session: Session, owner: str, kind: ListKind, *, name: str, about: str, hotwords: Sequence[Hotword]
    ) -> Vocabulary:
        row = VocabularyRow
        if session.scalars(select(func.count()).where(row.owner == owner, row.kind == kind)).one() >= (
            self._max_vocabularies
        ):
            told = f"There are {self._max_vocabularies} {lists.NOUNS[kind].many} (MAX_VOCABULARIES); delete one first."
            raise InvalidParameter(told)
        now = time.time()
        made = VocabularyRow(
            id=f"vocab_{secrets.token_hex(12)}",
            owner=owner,
            kind=kind,
            name=name,
            name_key=name_key(name),
            description=about,
            created=now,
            updated=now,
            count=len(hotwords),
            hotwords=self._packed(session, owner, kind, hotwords),
        )
        session.add(made)
        session.flush()
        return lists.vocabulary(made)

    def _replace(
        self,
        session: Session,
        row: VocabularyRow,
        kind: ListKind,
        *,
        name: str | None,
        about: str | None,
        hotwords: Sequence[Hotword] | None,
    ) -> Vocabulary:
        if name is not None:
            lists.check_name(session, row.owner, kind, name, besides=row.id)
            row.name, row.name_key = name, name_key(name)
        if about is not None:
            row.description = about
        if hotwords is not None:
            row.count, row.hotwords = len(hotwords), self._packed(session, row.owner, kind, hotwords, besides=row.id)
        row.updated = time.time()
        session.flush()
        return lists.vocabulary(row)

    def _packed(
        self, session: Session, owner: str, kind: ListKind, hotwords: Sequence[Hotword], besides: str = ""
    ) -> bytes:
        """The terms as they are stored, if they fit among the owner's others (`besides`: not counting this one)."""
        pairs = [[hotword.text, hotword.weight] for hotword in hotwords]
        packed = json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()
        stored = func.coalesce(func.sum(func.length(VocabularyRow.hotwords)), 0)
        others = session.scalars(select(stored).where(VocabularyRow.owner == owner, VocabularyRow.id != besides)).one()
        if others + len(packed) > self._max_bytes:
            told = f"All your stored words together take {self._max_bytes // 2**20} MiB at most; delete a list first."
            raise InvalidParameter(told, param=lists.NOUNS[kind].field)
        return packed
