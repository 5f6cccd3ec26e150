"""Stored lists of words: what there is to know of one, and how its table is asked."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from app.domain.errors import InvalidParameter, UnknownVocabulary, VocabularyExists
from app.domain.hotwords import Hotword
from app.service.names import cleaned, name_key
from app.service.vocabularies.tables import VocabularyRow

ListKind = Literal["hotwords", "class", "sensitive"]
"""What a list is for: terms to listen for, words of a class (people, places) that are listened for, too, or terms that
are not to be read in transcripts."""
HEARD: tuple[ListKind, ...] = ("hotwords", "class")
"""Kinds whose words are listened for."""
MAX_ID_CHARACTERS = 512
"""Alibaba's longest vocabulary_id. Those made here are shorter, but a stored one may have been brought along."""
MAX_DESCRIPTION = 500
"""Characters."""

_ID = re.compile(r"vocab_[0-9a-f]{24}")


class _Nouns(NamedTuple):
    """What messages call a list and several, and the field that has its terms."""

    one: str
    many: str
    field: str


NOUNS: MappingProxyType[ListKind, _Nouns] = MappingProxyType(
    {
        "hotwords": _Nouns("vocabulary", "vocabularies", "hotwords"),
        "class": _Nouns("class of words", "classes of words", "words"),
        "sensitive": _Nouns("list of sensitive words", "lists of sensitive words", "words"),
    }
)


@dataclass(frozen=True, slots=True)
class VocabularySummary:
    """A list without its terms: `count` says how many there are. Times are in epoch seconds."""

    id: str
    kind: ListKind
    name: str
    description: str
    count: int
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Vocabulary(VocabularySummary):
    """A list as its owner sees it. (Weights mean nothing where its kind is "sensitive".)"""

    hotwords: tuple[Hotword, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The terms without their weights."""
        return tuple(hotword.text for hotword in self.hotwords)


def clean_name(name: str | None, kind: ListKind) -> str:
    """The name as it is kept; see `cleaned` for errors."""
    one = NOUNS[kind].one
    return cleaned(name, of=one, ids=_ID, why=f"what to call the {one}")


def clean_description(said: str) -> str:
    """The description as it is kept.

    Raises:
        InvalidParameter: it is too long, or has control characters.
    """
    clean = unicodedata.normalize("NFC", said).strip()
    if len(clean) > MAX_DESCRIPTION:
        raise InvalidParameter(f"description has more than {MAX_DESCRIPTION} characters.", param="description")
    if any(unicodedata.category(sign) in {"Cc", "Cs"} and sign not in "\n\t" for sign in clean):
        raise InvalidParameter("description has control characters.", param="description")
    return clean


def check_name(session: Session, owner: str, kind: ListKind, name: str, besides: str = "") -> None:
    """Make sure that the name is free; `besides` is the id of the list that is to have it.

    Raises:
        VocabularyExists: another of the owner's lists of the kind has it.
    """
    taken = named(session, owner, kind, name)
    if taken is not None and taken.id != besides:
        nouns = NOUNS[kind]
        told = f"There is a {nouns.one} of that name, {taken.id}: replace its {nouns.field}, or delete it first."
        raise VocabularyExists(told, param="name")


def named(session: Session, owner: str, kind: ListKind, name: str) -> VocabularyRow | None:
    """The owner's list of that name; None: there is none."""
    row = VocabularyRow
    return session.scalar(select(row).where(row.owner == owner, row.kind == kind, row.name_key == name_key(name)))


def found(session: Session, owner: str, kinds: Collection[ListKind], said: str, param: str | None) -> VocabularyRow:
    """The owner's list whose id is `said`, of one of the kinds.

    Raises:
        UnknownVocabulary: there is none.
    """
    row = session.scalar(select(VocabularyRow).where(_is(owner, kinds, said))) if _may_be_id(said) else None
    if row is None:
        raise unknown(kinds, param)
    return row


def delete_list(session: Session, owner: str, kind: ListKind, said: str) -> None:
    """Remove the owner's list whose id is `said`.

    Raises:
        UnknownVocabulary: there is none.
    """
    query = delete(VocabularyRow).where(_is(owner, (kind,), said)).returning(VocabularyRow.id)
    if not _may_be_id(said) or session.execute(query).first() is None:
        raise unknown((kind,))


def summaries(session: Session, owner: str, kind: ListKind) -> list[VocabularySummary]:
    """The owner's lists of a kind, oldest first."""
    row = VocabularyRow
    query = (
        select(row.id, row.name, row.description, row.count, row.created, row.updated)
        .where(row.owner == owner, row.kind == kind)
        .order_by(row.created, row.id)
    )
    return [
        VocabularySummary(id_, kind, name, description, count, int(created), int(updated))
        for id_, name, description, count, created, updated in session.execute(query)
    ]


def summary(row: VocabularyRow) -> VocabularySummary:
    """What a row says, but for the terms."""
    kind = cast("ListKind", row.kind)
    return VocabularySummary(row.id, kind, row.name, row.description, row.count, int(row.created), int(row.updated))


def vocabulary(row: VocabularyRow) -> Vocabulary:
    """What a row says."""
    kind = cast("ListKind", row.kind)
    pairs: list[tuple[str, float]] = json.loads(row.hotwords)
    hotwords = tuple(Hotword(text, weight) for text, weight in pairs)
    return Vocabulary(row.id, kind, row.name, row.description, row.count, int(row.created), int(row.updated), hotwords)


def unknown(kinds: Collection[ListKind], param: str | None = None) -> UnknownVocabulary:
    """The error of an id that none of the owner's lists of these kinds has."""
    one = NOUNS["sensitive"].one if "sensitive" in kinds else "vocabulary"
    # Not repeated: where terms are sent in an id's place, they would be in the log.
    return UnknownVocabulary(f"There is no {one} with this id.", param=param)


def differs_in_case(kind: ListKind) -> VocabularyExists:
    """The error of a name that another of the owner's lists has but for case."""
    return VocabularyExists(
        f"There is a {NOUNS[kind].one} whose name differs from this one in case only.", param="name"
    )


def check_count(hotwords: Collection[Hotword], most: int, kind: ListKind) -> None:
    """Make sure that there are terms, and not too many.

    Raises:
        InvalidParameter: it is otherwise.
    """
    field = NOUNS[kind].field
    if not hotwords:
        raise InvalidParameter(f"{field} has no terms.", param=field)
    if len(hotwords) > most:
        raise InvalidParameter(f"{field} takes {most} terms at most (MAX_HOTWORDS).", param=field)


def _is(owner: str, kinds: Collection[ListKind], said: str) -> ColumnElement[bool]:
    row = VocabularyRow
    return (row.owner == owner) & (row.id == said) & row.kind.in_(kinds)


def _may_be_id(said: str) -> bool:
    """Whether it is worth looking for: half characters, which JSON can have, cannot even be asked for."""
    return len(said) <= MAX_ID_CHARACTERS and said == said.encode(errors="replace").decode()
