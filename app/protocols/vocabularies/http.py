"""Routes for stored vocabularies: hotwords that requests can name instead of sending. Everybody sees their own only."""

from __future__ import annotations

import asyncio
from typing import Annotated, Protocol

from fastapi import APIRouter, Request
from fastapi import Path as PathField
from starlette.responses import Response

from app.domain.errors import InvalidParameter
from app.protocols.callers import Key, caller
from app.protocols.vocabularies import schema
from app.protocols.vocabularies.body import receive_json
from app.protocols.vocabularies.wire import (
    DeletedVocabularyBody,
    Sent,
    VocabularyBody,
    VocabularyList,
    read_sent,
    vocabulary_body,
    vocabulary_list,
)
from app.service.vocabularies.store import Vocabulary, VocabularyStore
from app.settings import Settings

BYTES_PER_HOTWORD = 1300
"""The longest term (200 characters), each written as JSON's escapes (6 bytes), with its weight."""
BODY_SLACK = 64 * 1024
"""What a body's name and white space may take on top of its terms."""
COMMAS_PER_HOTWORD = 8
"""Two are enough for a term and its weight; some terms have commas in them."""

VocabularyId = Annotated[str, PathField(alias="id", description="A vocabulary's id.")]

router = APIRouter(prefix="/v1/vocabularies", tags=["Vocabularies"])


class VocabularyService(Protocol):
    """What these routes ask of the service."""

    settings: Settings
    vocabularies: VocabularyStore


@router.post(
    "",
    summary="Store a vocabulary",
    status_code=201,
    response_model=VocabularyBody,
    openapi_extra=schema.vocabulary_request(required=("name", "hotwords")),
    responses=schema.vocabulary_responses("The new vocabulary.", status=201, errors=(400, 409, 413)),
)
async def create_vocabulary(request: Request, _key: Key) -> Response:
    """Keep terms to listen for under a name, for requests to refer to by its id."""
    service = _service(request)
    sent = await _sent(request, service.settings)
    if sent.hotwords is None:
        raise InvalidParameter("hotwords is required: the terms to listen for.", param="hotwords")
    made = await service.vocabularies.create(caller(request).key, sent.name, sent.hotwords)
    return await _answer(made, status=201)


@router.get("", summary="List your vocabularies", responses=schema.list_responses())
async def list_vocabularies(request: Request, _key: Key) -> VocabularyList:
    """The vocabularies stored with your key, oldest first, without their terms."""
    return vocabulary_list(await _service(request).vocabularies.list(caller(request).key))


@router.get(
    "/{id}",
    summary="Show a vocabulary",
    response_model=VocabularyBody,
    responses=schema.vocabulary_responses("The vocabulary.", errors=(404,)),
)
async def get_vocabulary(request: Request, vocabulary_id: VocabularyId, _key: Key) -> Response:
    """One of your vocabularies, with its terms."""
    return await _answer(await _service(request).vocabularies.get(caller(request).key, vocabulary_id))


@router.put(
    "/{id}",
    summary="Replace a vocabulary",
    response_model=VocabularyBody,
    openapi_extra=schema.vocabulary_request(),
    responses=schema.vocabulary_responses("The vocabulary as it is now.", errors=(400, 404, 409, 413)),
)
async def replace_vocabulary(request: Request, vocabulary_id: VocabularyId, _key: Key) -> Response:
    """Give it another name, other terms in place of all it had, or both. What is left out stays."""
    service = _service(request)
    sent = await _sent(request, service.settings)
    if sent.name is None and sent.hotwords is None:
        raise InvalidParameter("Send what is to be replaced: name, hotwords or both.")
    key = caller(request).key
    made = await service.vocabularies.replace(key, vocabulary_id, name=sent.name, hotwords=sent.hotwords)
    return await _answer(made)


@router.delete("/{id}", summary="Delete a vocabulary", responses=schema.deletion_responses())
async def delete_vocabulary(request: Request, vocabulary_id: VocabularyId, _key: Key) -> DeletedVocabularyBody:
    """Forget a vocabulary. Its name and terms are gone from the disk, too, when the answer is sent."""
    await _service(request).vocabularies.delete(caller(request).key, vocabulary_id)
    return DeletedVocabularyBody(id=vocabulary_id)


def _service(request: Request) -> VocabularyService:
    return request.app.state.service


async def _sent(request: Request, settings: Settings) -> Sent:
    most = settings.max_hotwords
    body = await receive_json(
        request,
        max_bytes=most * BYTES_PER_HOTWORD + BODY_SLACK,
        max_values=most * COMMAS_PER_HOTWORD + 100,
        folder=settings.temp_dir,
    )
    return await asyncio.to_thread(read_sent, body, most)


async def _answer(vocabulary: Vocabulary, status: int = 200) -> Response:
    # In a thread: ten thousand terms take a while to draw.
    content = await asyncio.to_thread(lambda: vocabulary_body(vocabulary).model_dump_json())
    return Response(content, status_code=status, media_type="application/json")
