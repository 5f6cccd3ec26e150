"""Stored lists of words as OddASR's clients name them: by an id of their own choice, or by the one they were given.

A list's name in the store is what its client calls it. Ids are told apart by case, names in the store are not: where
two differ in nothing else, the second is refused.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Generator, Mapping

from app.domain.errors import InvalidParameter, UnknownVocabulary, VocabularyExists
from app.domain.hotwords import Hotword, merged
from app.service.vocabularies.lists import ListKind, Vocabulary, differs_in_case
from app.service.vocabularies.store import VocabularyStore

HOTWORDS_TYPES = (0, 1, 2)
"""OddASR's kinds of hotwords: people, places, and other names."""
LONGEST_UNIQUE_ID = 60


def typed(unique_id: str, hotwords_type: int) -> str:
    """The name of the list of one type of hotwords that belongs to a unique_id."""
    return f"{unique_id}_{hotwords_type}"


async def named(store: VocabularyStore, owner: str, name: str, kind: ListKind) -> Vocabulary | None:
    """The owner's list of exactly this name; None: there is none."""
    if not _may_be_name(name):
        return None
    found = await store.find(owner, name, kind=kind)
    return found if found is not None and found.name == _kept(name) else None


async def list_of(
    store: VocabularyStore, owner: str, said: str, kind: ListKind, *, param: str | None = None
) -> Vocabulary:
    """The owner's list whose id or name is `said`; `param` is the field that named it, for errors.

    Raises:
        UnknownVocabulary: there is none.
    """
    try:
        return await store.get(owner, said, kind=kind, param=param)
    except UnknownVocabulary:
        found = await named(store, owner, said, kind)
        if found is None:
            raise
        return found


async def hotwords_of(store: VocabularyStore, owner: str, said: str, *, param: str) -> tuple[Hotword, ...]:
    """What to listen for where a request says `said` in the field `param`: the id or name of a vocabulary or a class of
    words, or a unique_id, all of whose types count.

    Raises:
        UnknownVocabulary: the owner has nothing of that name.
    """
    try:
        return await store.hotwords_of(owner, said, param=param)
    except UnknownVocabulary:
        names = [said, *(typed(said, number) for number in HOTWORDS_TYPES)]
        found = [await named(store, owner, name, "hotwords") for name in names]
        found.append(await named(store, owner, said, "class"))
        if not any(found):
            raise
        return merged(*(one.hotwords for one in found if one is not None))


async def keep(store: VocabularyStore, owner: str, name: str, words: tuple[Hotword, ...], kind: ListKind) -> None:
    """Make `words` the list of that name; none: there is no such list any more.

    Raises:
        InvalidParameter: there is too much of something, or the name cannot be one.
        VocabularyExists: another list's name differs from this one in case only.
    """
    if not _may_be_name(name):
        raise InvalidParameter("unique_id has half characters.", param="unique_id")
    with told_as({"name": "unique_id", "hotwords": "words"}):
        if words:
            await store.put(owner, name, words, kind=kind, exact=True)
            return
        before = await store.find(owner, name, kind=kind)
        if before is not None and before.name != _kept(name):
            raise differs_in_case(kind)
        if before is not None:
            with contextlib.suppress(UnknownVocabulary):  # somebody else has just deleted it
                await store.delete(owner, before.id, kind=kind)


@contextlib.contextmanager
def told_as(fields: Mapping[str, str]) -> Generator[None]:
    """Errors of the store call fields what the client called them: `fields` by the store's names."""
    pattern = re.compile(rf"\b({'|'.join(fields)})\b")
    try:
        yield
    except (InvalidParameter, VocabularyExists) as error:
        told = pattern.sub(lambda found: fields[found[0]], error.message)
        raise type(error)(told, param=fields.get(error.param or "", error.param)) from error


def _kept(name: str) -> str:
    """The name as the store keeps it."""
    return unicodedata.normalize("NFC", name).strip()


def _may_be_name(said: str) -> bool:
    """Half characters, which JSON can have, cannot even be asked for."""
    return said == said.encode(errors="replace").decode()
