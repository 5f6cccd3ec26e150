"""The shapes of stored vocabularies: what is sent, and answers in the manner of OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from pydantic import BaseModel

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.service.vocabularies.store import Vocabulary, VocabularySummary

FIELDS = frozenset({"name", "hotwords"})


class SummaryBody(BaseModel):
    """A stored vocabulary, without its terms. Times are in epoch seconds; `count` is of terms."""

    id: str
    object: Literal["vocabulary"] = "vocabulary"
    name: str
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


@dataclass(frozen=True, slots=True)
class Sent:
    """What a caller says of a vocabulary; None: nothing."""

    name: str | None
    hotwords: tuple[Hotword, ...] | None


def read_sent(body: object, max_hotwords: int) -> Sent:
    """What a JSON body says.

    Raises:
        InvalidParameter: it is no object, or a field is unknown or makes no sense. What may repeat a term is private.
    """
    if not isinstance(body, dict):
        raise InvalidParameter('The body must be a JSON object: {"name": ..., "hotwords": ...}.')
    fields = cast("dict[str, object]", body)
    if unknown := sorted(fields.keys() - FIELDS):
        told = f"A vocabulary has the fields {' and '.join(sorted(FIELDS))}, and {len(unknown)} others were sent."
        raise InvalidParameter(told)
    return Sent(_name(fields.get("name")), _hotwords(fields.get("hotwords"), max_hotwords))


def vocabulary_body(vocabulary: Vocabulary) -> VocabularyBody:
    """A vocabulary as it goes on the wire."""
    hotwords = [HotwordBody(text=hotword.text, weight=hotword.weight) for hotword in vocabulary.hotwords]
    return VocabularyBody(**_summary_body(vocabulary).model_dump(), hotwords=hotwords)


def vocabulary_list(summaries: Iterable[VocabularySummary]) -> VocabularyList:
    """Vocabularies as a list."""
    return VocabularyList(data=[_summary_body(summary) for summary in summaries])


def _summary_body(summary: VocabularySummary) -> SummaryBody:
    return SummaryBody(
        id=summary.id,
        name=summary.name,
        count=summary.count,
        created_at=summary.created_at,
        updated_at=summary.updated_at,
    )


def _name(said: object) -> str | None:
    if said is not None and not isinstance(said, str):
        raise InvalidParameter("name must be a string.", param="name")
    return said


def _hotwords(said: object, most: int) -> tuple[Hotword, ...] | None:
    if said is None:
        return None
    if not isinstance(said, str | list | dict):
        told = "hotwords must be a list of terms, an object of terms and weights, or a string."
        raise InvalidParameter(told, param="hotwords")
    text = said if isinstance(said, str) else json.dumps(said)
    return parse_hotwords(text, param="hotwords", most=most)
