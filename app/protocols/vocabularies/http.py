"""Routes for stored vocabularies: hotwords that requests can name instead of sending. Everybody sees their own only."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Request
from fastapi import Path as PathField
from starlette.responses import Response

from app.domain.errors import InvalidParameter
from app.protocols.callers import Key, caller
from app.protocols.vocabularies import schema
from app.protocols.vocabularies.bodies import NOTHING, received
from app.protocols.vocabularies.bodies import answer as drawn
from app.protocols.vocabularies.wire import (
    DeletedVocabularyBody,
    Sent,
    VocabularyBody,
    VocabularyList,
    read_sent,
    vocabulary_body,
    vocabulary_list,
)
from app.service.vocabularies.lists import Vocabulary
from app.service.vocabularies.store import VocabularyStore
from app.settings import Settings

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
    about = sent.description or ""
    made = await service.vocabularies.create(caller(request).key, sent.name, sent.hotwords, description=about)
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
    """Give it another name or description, or other terms in place of all it had. What is left out stays."""
    service = _service(request)
    sent = await _sent(request, service.settings)
    if sent == NOTHING:
        raise InvalidParameter("Send what is to be replaced: name, description, hotwords.")
    made = await service.vocabularies.replace(
        caller(request).key, vocabulary_id, name=sent.name, hotwords=sent.hotwords, description=sent.description
    )
    return await _answer(made)


@router.delete("/{id}", summary="Delete a vocabulary", responses=schema.deletion_responses())
async def delete_vocabulary(request: Request, vocabulary_id: VocabularyId, _key: Key) -> DeletedVocabularyBody:
    """Forget a vocabulary. Its name and terms are gone from the disk, too, when the answer is sent."""
    await _service(request).vocabularies.delete(caller(request).key, vocabulary_id)
    return DeletedVocabularyBody(id=vocabulary_id)


def _service(request: Request) -> VocabularyService:
    return request.app.state.service


async def _sent(request: Request, settings: Settings) -> Sent:
    return await received(request, settings, read_sent)


async def _answer(vocabulary: Vocabulary, status: int = 200) -> Response:
    return await drawn(lambda: vocabulary_body(vocabulary), status)
