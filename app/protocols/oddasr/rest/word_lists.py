"""OddASR's word lists by unique_id: hotwords of three types, and sensitive words. Everybody sees their own only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Request
from fastapi import Path as PathField
from starlette.responses import JSONResponse, Response

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword
from app.pipeline.hotwords.parsing import parse_hotwords
from app.pipeline.text.terms import read_terms
from app.protocols.callers import Key, caller
from app.protocols.oddasr.rest import schema, stored
from app.protocols.oddasr.rest.bodies import received_object, words_in
from app.protocols.oddasr.rest.errors import OK
from app.protocols.payload import Payload
from app.service.vocabularies.store import VocabularyStore
from app.settings import Settings

router = APIRouter(prefix="/v1/asr", tags=["OddASR"])
UniqueId = Annotated[str, PathField(max_length=stored.LONGEST_UNIQUE_ID, description="The id that its owner chose.")]
HotwordsType = Annotated[Literal["0", "1", "2"], PathField(description="0 people, 1 places, 2 other names.")]


class WordService(Protocol):
    """What these routes ask of the service."""

    settings: Settings
    vocabularies: VocabularyStore


@router.post(
    "/hotwords",
    summary="Store hotwords by unique_id (OddASR)",
    openapi_extra=schema.word_list_request(typed=True),
    responses=schema.word_list_responses(400, 409, 413, typed=True),
    response_class=Response,
)
async def put_hotwords(request: Request, _key: Key) -> Response:
    """From now on these are the unique_id's hotwords of that type. Requests name them by `hot_uid`."""
    service = _service(request)
    said = await received_object(request, service.settings)
    unique_id, hotwords_type = _unique_id(said), _type(said)
    most = service.settings.max_hotwords

    def read() -> tuple[Hotword, ...]:
        return parse_hotwords(json.dumps(words_in(said.get("words"), param="words")), param="words", most=most)

    # In a thread: ten thousand of them take a while to read.
    hotwords = await asyncio.to_thread(read)
    name = stored.typed(unique_id, hotwords_type)
    await stored.keep(service.vocabularies, caller(request).key, name, hotwords, "hotwords")
    return _answer(unique_id, [hotword.text for hotword in hotwords], hotwords_type)


@router.get(
    "/hotwords/unique_id/{unique_id}/hotwords_type/{hotwords_type}",
    summary="Show hotwords by unique_id (OddASR)",
    responses=schema.word_list_responses(400, typed=True),
    response_class=Response,
)
async def get_hotwords(request: Request, unique_id: UniqueId, hotwords_type: HotwordsType, _key: Key) -> Response:
    """The unique_id's hotwords of that type; there may be none."""
    number = int(hotwords_type)
    store, owner = _service(request).vocabularies, caller(request).key
    found = await stored.named(store, owner, stored.typed(unique_id, number), "hotwords")
    return _answer(unique_id, found.words if found else (), number)


@router.post(
    "/sensitivewords",
    summary="Store sensitive words by unique_id (OddASR)",
    openapi_extra=schema.word_list_request(typed=False),
    responses=schema.word_list_responses(400, 409, 413, typed=False),
    response_class=Response,
)
async def put_sensitive_words(request: Request, _key: Key) -> Response:
    """From now on these are the unique_id's sensitive words. Requests name them by `sensitive_uid`."""
    service = _service(request)
    said = await received_object(request, service.settings)
    unique_id = _unique_id(said)
    words = words_in(said.get("words"), param="words")
    terms = await asyncio.to_thread(read_terms, words, param="words", most=service.settings.max_hotwords)
    hotwords = tuple(Hotword(term) for term in terms)
    await stored.keep(service.vocabularies, caller(request).key, unique_id, hotwords, "sensitive")
    return _answer(unique_id, terms)


@router.get(
    "/sensitivewords/unique_id/{unique_id}",
    summary="Show sensitive words by unique_id (OddASR)",
    responses=schema.word_list_responses(400, typed=False),
    response_class=Response,
)
async def get_sensitive_words(request: Request, unique_id: UniqueId, _key: Key) -> Response:
    """The unique_id's sensitive words; there may be none."""
    found = await stored.named(_service(request).vocabularies, caller(request).key, unique_id, "sensitive")
    return _answer(unique_id, found.words if found else ())


def _service(request: Request) -> WordService:
    return request.app.state.service


def _unique_id(said: dict[str, object]) -> str:
    unique_id = Payload(said).text("unique_id", longest=stored.LONGEST_UNIQUE_ID)
    if unique_id is None or "/" in unique_id:
        told = "unique_id is required: a text by which to ask for the words, without slashes."
        raise InvalidParameter(told, param="unique_id")
    return unique_id


def _type(said: dict[str, object]) -> int:
    """A number, or its digit as text: OddASR's page sends that."""
    value = said.get("hotwords_type")
    number = next((number for number in stored.HOTWORDS_TYPES if str(value).strip() == str(number)), None)
    if number is None:
        told = "hotwords_type must be 0 (people), 1 (places) or 2 (other names)."
        raise InvalidParameter(told, param="hotwords_type")
    return number


def _answer(unique_id: str, words: Sequence[str], hotwords_type: int | None = None) -> Response:
    kind = {} if hotwords_type is None else {"hotwords_type": hotwords_type}
    data = {"unique_id": unique_id, **kind, "words": list(words)}
    return JSONResponse({"error_code": 0, "error_desc": OK, "data": data})
