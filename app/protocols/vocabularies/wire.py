"""The shapes of stored lists of words: what is sent, and answers in the manner of OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.pipeline.text.terms import read_terms, split_terms
from app.service.vocabularies.lists import Vocabulary, VocabularySummary

FIELDS = frozenset({"name", "description", "hotwords"})
SENSITIVE_FIELDS = frozenset({"name", "description", "words"})


class SummaryBody(BaseModel):
    """A stored vocabulary, without its terms. Times are in epoch seconds; `count` is of terms."""

    id: str
    object: Literal["vocabulary"] = "vocabulary"
    name: str
    description: str
    count: int
    created_at: int
    updated_at: int


class HotwordBody(BaseModel):
    """A term. Its weight is relative to the vocabulary's median."""

    text: str
    weight: float


class VocabularyBody(SummaryBody):
    """A stored vocabulary."""

    hotwords: list[HotwordBody]


class VocabularyList(BaseModel):
    """GET /v1/vocabularies."""

    object: Literal["list"] = "list"
    data: list[SummaryBody]


class DeletedVocabularyBody(BaseModel):
    """DELETE /v1/vocabularies/{id}."""

    id: str
    object: Literal["vocabulary.deleted"] = "vocabulary.deleted"
    deleted: Literal[True] = True


class SensitiveSummary(BaseModel):
    """A stored list of sensitive words, without them. Times are in epoch seconds; `count` is of terms."""

    id: str
    object: Literal["sensitive_words"] = "sensitive_words"
    name: str
    description: str
    count: int
    created_at: int
    updated_at: int


class SensitiveBody(SensitiveSummary):
    """A stored list of sensitive words."""

    words: list[str]


class SensitiveList(BaseModel):
    """GET /v1/sensitive_words."""

    object: Literal["list"] = "list"
    data: list[SensitiveSummary]


class DeletedSensitiveBody(BaseModel):
    """DELETE /v1/sensitive_words/{id}."""

    id: str
    object: Literal["sensitive_words.deleted"] = "sensitive_words.deleted"
    deleted: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Sent:
    """What a caller says of a list; None: nothing. (Words to mask have no weights.)"""

    name: str | None
    description: str | None
    hotwords: tuple[Hotword, ...] | None


def read_sent(body: object, most: int) -> Sent:
    """What a JSON body says of a vocabulary of at most so many terms.

    Raises:
        InvalidParameter: it is no object, or a field is unknown or makes no sense. What may repeat a term is private.
    """
    return _sent(body, FIELDS, "hotwords", "A vocabulary has", lambda said: _hotwords(said, most))


def read_sensitive(body: object, most: int) -> Sent:
    """What a JSON body says of a list of at most so many sensitive words.

    Raises:
        InvalidParameter: it is no object, or a field is unknown or makes no sense. Nothing of it is repeated.
    """
    return _sent(body, SENSITIVE_FIELDS, "words", "Sensitive words have", lambda said: _words(said, most))


def vocabulary_body(vocabulary: Vocabulary) -> VocabularyBody:
    """A vocabulary as it goes on the wire."""
    hotwords = [HotwordBody(text=hotword.text, weight=hotword.weight) for hotword in vocabulary.hotwords]
    return VocabularyBody(**_summary(vocabulary), hotwords=hotwords)


def vocabulary_list(summaries: Iterable[VocabularySummary]) -> VocabularyList:
    """Vocabularies as a list."""
    return VocabularyList(data=[SummaryBody(**_summary(summary)) for summary in summaries])


def sensitive_body(found: Vocabulary) -> SensitiveBody:
    """Sensitive words as they go on the wire."""
    return SensitiveBody(**_summary(found), words=list(found.words))


def sensitive_list(summaries: Iterable[VocabularySummary]) -> SensitiveList:
    """Lists of sensitive words as a list."""
    return SensitiveList(data=[SensitiveSummary(**_summary(summary)) for summary in summaries])


def _summary(summary: VocabularySummary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "name": summary.name,
        "description": summary.description,
        "count": summary.count,
        "created_at": summary.created_at,
        "updated_at": summary.updated_at,
    }


def _sent(
    body: object,
    known: frozenset[str],
    terms: str,
    has: str,
    read: Callable[[object], tuple[Hotword, ...] | None],
) -> Sent:
    if not isinstance(body, dict):
        raise InvalidParameter(f'The body must be a JSON object: {{"name": ..., "{terms}": ...}}.')
    fields = cast("dict[str, object]", body)
    if unknown := sorted(fields.keys() - known):
        told = f"{has} the fields {', '.join(sorted(known))}, and {len(unknown)} others were sent."
        raise InvalidParameter(told)
    return Sent(_string(fields, "name"), _string(fields, "description"), read(fields.get(terms)))


def _string(fields: dict[str, object], name: str) -> str | None:
    said = fields.get(name)
    if said is not None and not isinstance(said, str):
        raise InvalidParameter(f"{name} must be a string.", param=name)
    return said


def _hotwords(said: object, most: int) -> tuple[Hotword, ...] | None:
    if said is None:
        return None
    if not isinstance(said, str | list | dict):
        told = "hotwords must be a list of terms, an object of terms and weights, or a string."
        raise InvalidParameter(told, param="hotwords")
    text = said if isinstance(said, str) else json.dumps(said)
    return parse_hotwords(text, param="hotwords", most=most)


def _words(said: object, most: int) -> tuple[Hotword, ...] | None:
    if said is None:
        return None
    terms = split_terms(said, param="words") if isinstance(said, str) else said
    if not isinstance(terms, list) or not all(isinstance(term, str) for term in cast("list[object]", terms)):
        raise InvalidParameter("words must be a list of terms, or a string of them.", param="words")
    return tuple(Hotword(term) for term in read_terms(cast("list[str]", terms), param="words", most=most))
