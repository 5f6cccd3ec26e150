"""Stored vocabularies of hotwords: kept on disk, seen by nobody but their owner, and gone when they are deleted."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.domain.errors import InvalidParameter, UnknownVocabulary, VocabulariesUnavailable, VocabularyExists
from app.domain.hotwords import Hotword
from app.service.database import BUSY_SECONDS, Database, Holding
from app.service.names import cleaned, name_key
from app.service.vocabularies.tables import VocabularyRow

MAX_ID_CHARACTERS = 512
"""Alibaba's longest vocabulary_id. Those made here are shorter, but a stored one may have been brought along."""
MAX_BYTES = 64 * 1024 * 1024
"""All hotwords of an owner together, as they are stored: deleting writes the file afresh, which passes through memory.
A hundred vocabularies of 10,000 Chinese names take a third of it."""

_HOLDING = Holding("vocabulary", "stored vocabularies", "app.service.vocabularies:migrations", VocabulariesUnavailable)
_ID = re.compile(r"vocab_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class VocabularySummary:
    """A vocabulary without its terms: `count` says how many there are. Times are in epoch seconds."""

    id: str
    name: str
    count: int
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Vocabulary(VocabularySummary):
    """A vocabulary as its owner sees it."""

    hotwords: tuple[Hotword, ...]


_Summaries: TypeAlias = list[VocabularySummary]  # inside the class, `list` is the method


class VocabularyStore:
    """Vocabularies by name, each belonging to an `owner` (as KeyRing.owner names keys); to others it does not exist.

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
        """`path` is the file, which need not exist yet; `max_vocabularies` and `max_bytes` are of each owner."""
        self._max_vocabularies = max_vocabularies
        self._max_hotwords = max_hotwords
        self._max_bytes = max_bytes
        self._database = Database(path, _HOLDING, busy_seconds=busy_seconds)

    async def open(self) -> None:
        """Make or migrate the database now instead of at the first use."""
        await self._database.open()

    async def create(self, owner: str, name: str | None, hotwords: Sequence[Hotword]) -> Vocabulary:
        """A new vocabulary.

        Raises:
            InvalidParameter: the name cannot be one, there are no hotwords, or there is too much of something.
            VocabularyExists: the owner has a vocabulary of that name.
        """
        clean = _clean_name(name)
        self._check_count(hotwords)
        return await self._database.write(lambda session: self._create(session, owner, clean, hotwords))

    async def list(self, owner: str) -> _Summaries:
        """The owner's vocabularies, oldest first."""
        return await self._database.read(lambda session: _summaries(session, owner))

    async def get(self, owner: str, vocabulary_id: str, *, param: str | None = None) -> Vocabulary:
        """One of the owner's vocabularies. `param` is the field that named it, for errors.

        Raises:
            UnknownVocabulary: the owner has no such vocabulary.
        """
        return await self._database.read(lambda session: _vocabulary(_row(session, owner, vocabulary_id, param)))

    async def hotwords_of(self, owner: str, vocabulary_id: str, *, param: str = "vocabulary_id") -> tuple[Hotword, ...]:
        """What to listen for where a request names a vocabulary, in the field `param`.

        Raises:
            UnknownVocabulary: the owner has no such vocabulary.
        """
        return (await self.get(owner, vocabulary_id, param=param)).hotwords

    async def replace(
        self, owner: str, vocabulary_id: str, *, name: str | None = None, hotwords: Sequence[Hotword] | None = None
    ) -> Vocabulary:
        """Give a vocabulary another name, other hotwords, or both; no trace of the former is left in the file.

        Raises:
            InvalidParameter: as in `create`.
            UnknownVocabulary: the owner has no such vocabulary.
            VocabularyExists: the owner has another vocabulary of that name.
        """
        clean = None if name is None else _clean_name(name)
        if hotwords is not None:
            self._check_count(hotwords)
        return await self._database.write(
            lambda session: self._replace(session, owner, vocabulary_id, clean, hotwords), sweeps=True
        )

    async def delete(self, owner: str, vocabulary_id: str) -> None:
        """Remove a vocabulary and every trace of it in the database's files.

        Raises:
            UnknownVocabulary: the owner has no such vocabulary.
        """
        await self._database.write(lambda session: _delete(session, owner, vocabulary_id), sweeps=True)

    async def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        await self._database.close()

    def _create(self, session: Session, owner: str, name: str, hotwords: Sequence[Hotword]) -> Vocabulary:
        _check_name(session, owner, name)
        if session.scalars(select(func.count()).where(VocabularyRow.owner == owner)).one() >= self._max_vocabularies:
            raise InvalidParameter(
                f"There are {self._max_vocabularies} vocabularies (MAX_VOCABULARIES); delete one first."
            )
        now = time.time()
        row = VocabularyRow(
            id=f"vocab_{secrets.token_hex(12)}",
            owner=owner,
            name=name,
            name_key=name_key(name),
            created=now,
            updated=now,
            count=len(hotwords),
            hotwords=self._packed(session, owner, hotwords),
        )
        session.add(row)
        session.flush()
        return _vocabulary(row)

    def _replace(
        self, session: Session, owner: str, vocabulary_id: str, name: str | None, hotwords: Sequence[Hotword] | None
    ) -> Vocabulary:
        row = _row(session, owner, vocabulary_id, None)
        if name is not None:
            _check_name(session, owner, name, besides=row.id)
            row.name, row.name_key = name, name_key(name)
        if hotwords is not None:
            row.count, row.hotwords = len(hotwords), self._packed(session, owner, hotwords, besides=row.id)
        row.updated = time.time()
        session.flush()
        return _vocabulary(row)

    def _check_count(self, hotwords: Sequence[Hotword]) -> None:
        if not hotwords:
            raise InvalidParameter("hotwords has no terms.", param="hotwords")
        if len(hotwords) > self._max_hotwords:
            told = f"hotwords takes {self._max_hotwords} terms at most (MAX_HOTWORDS)."
            raise InvalidParameter(told, param="hotwords")

    def _packed(self, session: Session, owner: str, hotwords: Sequence[Hotword], besides: str = "") -> bytes:
        """The hotwords as they are stored, if they fit among the owner's others (`besides`: not counting this one)."""
        pairs = [[hotword.text, hotword.weight] for hotword in hotwords]
        packed = json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()
        stored = func.coalesce(func.sum(func.length(VocabularyRow.hotwords)), 0)
        others = session.scalars(select(stored).where(VocabularyRow.owner == owner, VocabularyRow.id != besides)).one()
        if others + len(packed) > self._max_bytes:
            told = f"All your vocabularies together take {self._max_bytes // 2**20} MiB at most; delete one first."
            raise InvalidParameter(told, param="hotwords")
        return packed


def _clean_name(name: str | None) -> str:
    return cleaned(name, of="vocabulary", ids=_ID, why="what to call the vocabulary")


def _check_name(session: Session, owner: str, name: str, besides: str = "") -> None:
    query = select(VocabularyRow.id).where(
        VocabularyRow.owner == owner, VocabularyRow.name_key == name_key(name), VocabularyRow.id != besides
    )
    if taken := session.scalar(query):
        told = f"There is a vocabulary of that name, {taken}: replace its hotwords, or delete it first."
        raise VocabularyExists(told, param="name")


def _row(session: Session, owner: str, vocabulary_id: str, param: str | None) -> VocabularyRow:
    query = select(VocabularyRow).where(VocabularyRow.owner == owner, VocabularyRow.id == vocabulary_id)
    found = session.scalar(query) if _may_be_id(vocabulary_id) else None
    if found is None:
        raise _unknown(param)
    return found


def _delete(session: Session, owner: str, vocabulary_id: str) -> None:
    query = delete(VocabularyRow).where(VocabularyRow.owner == owner, VocabularyRow.id == vocabulary_id)
    if not _may_be_id(vocabulary_id) or session.execute(query.returning(VocabularyRow.id)).first() is None:
        raise _unknown()


def _may_be_id(said: str) -> bool:
    """Whether it is worth looking for: half characters, which JSON can have, cannot even be asked for."""
    return len(said) <= MAX_ID_CHARACTERS and said == said.encode(errors="replace").decode()


def _unknown(param: str | None = None) -> UnknownVocabulary:
    # Not repeated: where terms are sent in an id's place, they would be in the log.
    return UnknownVocabulary("There is no vocabulary with this id.", param=param)


def _summaries(session: Session, owner: str) -> list[VocabularySummary]:
    row = VocabularyRow
    query = (
        select(row.id, row.name, row.count, row.created, row.updated)
        .where(row.owner == owner)
        .order_by(row.created, row.id)
    )
    return [
        VocabularySummary(found, name, count, int(created), int(updated))
        for found, name, count, created, updated in session.execute(query)
    ]


def _vocabulary(row: VocabularyRow) -> Vocabulary:
    pairs: list[tuple[str, float]] = json.loads(row.hotwords)
    hotwords = tuple(Hotword(text, weight) for text, weight in pairs)
    return Vocabulary(row.id, row.name, row.count, int(row.created), int(row.updated), hotwords)
