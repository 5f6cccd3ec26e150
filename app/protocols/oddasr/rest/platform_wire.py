"""The shapes of Alibaba Cloud's self-learning platform, which OddASR imitates: vocabularies (words with weights) and
classes of words.

A client may choose a list's id. The store then knows the list by that, and the list's name is the first line of its
description.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

from pydantic import BaseModel

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.protocols.oddasr.rest.bodies import words_in
from app.protocols.payload import Payload
from app.service.names import MAX_CHARACTERS
from app.service.vocabularies.lists import MAX_DESCRIPTION, Vocabulary, VocabularySummary

PlatformKind = Literal["hotwords", "class"]
FIELD: MappingProxyType[PlatformKind, str] = MappingProxyType({"hotwords": "word_weights", "class": "words"})
"""Where a list's words are."""
READ_ONLY = frozenset({"size", "md5", "create_time", "update_time", "vocabulary_id"})
"""What answers say and no client decides: sent back, it changes nothing."""
_ID = re.compile(rf"[\w.:-]{{1,{MAX_CHARACTERS}}}")
_NAME = "name: "
_LARGEST_WHOLE = 100


class SummaryBody(BaseModel):
    """A list without its words. `size` counts them; times are the server's, "2026-01-31 23:59:59"; `vocabulary_id` is
    what other protocols know it by."""

    id: str
    name: str
    description: str
    size: int
    md5: str
    create_time: str
    update_time: str
    vocabulary_id: str


class VocabBody(SummaryBody):
    """A vocabulary. Weights keep their proportions, in the smallest whole numbers that have them."""

    word_weights: dict[str, float | int]


class ClassVocabBody(SummaryBody):
    """A class of words."""

    words: list[str]


class PageBody(BaseModel):
    """Some of the lists there are. `page_number` counts from 1."""

    content: list[SummaryBody]
    total_pages: int
    total_items: int
    page_number: int
    page_size: int


class Titles(NamedTuple):
    """What a list is called: by its client's choice of an id, if it made one, by name, and at length."""

    id: str | None
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client says of a list; None: nothing."""

    id: str | None
    name: str | None
    description: str | None
    words: tuple[Hotword, ...] | None


def read_sent(said: dict[str, object], kind: PlatformKind, most: int) -> Sent:
    """What a body says.

    Raises:
        InvalidParameter: a field is unknown or makes no sense. What may repeat a word is private.
    """
    known = {"id", "name", "description", FIELD[kind]} | READ_ONLY
    if unknown := said.keys() - known:
        fields = ", ".join(sorted(known - READ_ONLY))
        raise InvalidParameter(f"It has the fields {fields}, and {len(unknown)} others were sent.")
    fields = Payload(said)
    chosen = fields.text("id")
    if chosen is not None and not _ID.fullmatch(chosen):
        told = f"id must be 1 to {MAX_CHARACTERS} letters, digits, or any of - _ . :"
        raise InvalidParameter(told, param="id")
    name = fields.text("name", longest=MAX_DESCRIPTION)
    description = said.get("description")
    if description is not None and not isinstance(description, str):
        raise InvalidParameter("description must be a text.", param="description")
    words = said.get(FIELD[kind])
    return Sent(
        chosen, None if name is None else " ".join(name.split()), description, _hotwords(words, FIELD[kind], most)
    )


def stored_titles(titles: Titles) -> tuple[str, str]:
    """A list's name and description in the store."""
    if titles.id is None:
        return titles.name, titles.description
    return titles.id, f"{_NAME}{titles.name}\n{titles.description}".rstrip("\n")


def titles_of(stored: VocabularySummary) -> Titles:
    """What `stored_titles` made the store's name and description from."""
    first, _, rest = stored.description.partition("\n")
    if not first.startswith(_NAME):
        return Titles(None, stored.name, stored.description)
    return Titles(stored.name, first.removeprefix(_NAME), rest)


def summary_body(stored: Vocabulary) -> SummaryBody:
    """A list without its words."""
    titles = titles_of(stored)
    words = json.dumps([[hotword.text, hotword.weight] for hotword in stored.hotwords], ensure_ascii=False)
    return SummaryBody(
        id=titles.id or stored.id,
        name=titles.name,
        description=titles.description,
        size=stored.count,
        md5=hashlib.md5(words.encode(), usedforsecurity=False).hexdigest(),
        create_time=_time(stored.created_at),
        update_time=_time(stored.updated_at),
        vocabulary_id=stored.id,
    )


def whole_body(stored: Vocabulary) -> VocabBody | ClassVocabBody:
    """A list with its words."""
    summary = summary_body(stored).model_dump()
    if stored.kind == "class":
        return ClassVocabBody(**summary, words=list(stored.words))
    return VocabBody(**summary, word_weights=whole_weights(stored.hotwords))


def page_body(content: Sequence[SummaryBody], total: int, number: int, size: int) -> PageBody:
    """A page of `total` lists."""
    pages = -(-total // size)
    return PageBody(content=list(content), total_pages=pages, total_items=total, page_number=number, page_size=size)


def whole_weights(hotwords: Collection[Hotword]) -> dict[str, float | int]:
    """Weights in the smallest whole numbers of their proportions; as they are, where these would be large."""
    least = min((hotword.weight for hotword in hotwords), default=1.0)
    for factor in range(1, _LARGEST_WHOLE + 1):
        scaled = [hotword.weight / least * factor for hotword in hotwords]
        if max(scaled, default=0.0) > _LARGEST_WHOLE:
            break
        if all(abs(weight - round(weight)) < 1e-6 for weight in scaled):
            return {hotword.text: round(weight) for hotword, weight in zip(hotwords, scaled, strict=True)}
    return {hotword.text: hotword.weight for hotword in hotwords}


def _hotwords(said: object, param: str, most: int) -> tuple[Hotword, ...] | None:
    if said is None:
        return None
    if param == FIELD["class"]:
        said = words_in(said, param=param)
    elif not isinstance(said, dict):
        raise InvalidParameter(f'{param} must be an object of words and weights, {{"...": 2}}.', param=param)
    else:  # as entries: an object with a word "text" would be read as one
        said = [{"text": word, "weight": weight} for word, weight in cast("dict[str, object]", said).items()]
    return parse_hotwords(json.dumps(said), param=param, most=most)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
