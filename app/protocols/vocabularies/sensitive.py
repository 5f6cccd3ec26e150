"""Routes for stored sensitive words, which requests can name to have them masked. Everybody sees their own only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as PathField
from starlette.responses import Response

from app.domain.errors import InvalidParameter
from app.protocols.callers import Key, caller
from app.protocols.vocabularies import schema
from app.protocols.vocabularies.bodies import NOTHING, answer, received
from app.protocols.vocabularies.http import VocabularyService
from app.protocols.vocabularies.wire import (
    DeletedSensitiveBody,
    SensitiveBody,
    SensitiveList,
    read_sensitive,
    sensitive_body,
    sensitive_list,
)
from app.service.vocabularies.lists import ListKind

KIND: ListKind = "sensitive"
ListId = Annotated[str, PathField(alias="id", description="The id of a list of sensitive words.")]

router = APIRouter(prefix="/v1/sensitive_words", tags=["Sensitive words"])


@router.post(
    "",
    summary="Store sensitive words",
    status_code=201,
    response_model=SensitiveBody,
    openapi_extra=schema.sensitive_request(required=("name", "words")),
    responses=schema.sensitive_responses("The new list.", status=201, errors=(400, 409, 413)),
)
async def create_sensitive_words(request: Request, _key: Key) -> Response:
    """Keep terms that are not to be read in transcripts, for requests to refer to by the list's id."""
    service = _service(request)
    sent = await received(request, service.settings, read_sensitive)
    if sent.hotwords is None:
        raise InvalidParameter("words is required: the terms to mask.", param="words")
    made = await service.vocabularies.create(
        caller(request).key, sent.name, sent.hotwords, kind=KIND, description=sent.description or ""
    )
    return await answer(lambda: sensitive_body(made), status=201)


@router.get("", summary="List your sensitive words", responses=schema.sensitive_list_responses())
async def list_sensitive_words(request: Request, _key: Key) -> SensitiveList:
    """The lists stored with your key, oldest first, without their terms."""
    return sensitive_list(await _service(request).vocabularies.list(caller(request).key, kind=KIND))


@router.get(
    "/{id}",
    summary="Show sensitive words",
    response_model=SensitiveBody,
    responses=schema.sensitive_responses("The list.", errors=(404,)),
)
async def get_sensitive_words(request: Request, list_id: ListId, _key: Key) -> Response:
    """One of your lists, with its terms."""
    found = await _service(request).vocabularies.get(caller(request).key, list_id, kind=KIND)
    return await answer(lambda: sensitive_body(found))


@router.put(
    "/{id}",
    summary="Replace sensitive words",
    response_model=SensitiveBody,
    openapi_extra=schema.sensitive_request(),
    responses=schema.sensitive_responses("The list as it is now.", errors=(400, 404, 409, 413)),
)
async def replace_sensitive_words(request: Request, list_id: ListId, _key: Key) -> Response:
    """Give it another name or description, or other terms in place of all it had. What is left out stays."""
    service = _service(request)
    sent = await received(request, service.settings, read_sensitive)
    if sent == NOTHING:
        raise InvalidParameter("Send what is to be replaced: name, description, words.")
    made = await service.vocabularies.replace(
        caller(request).key,
        list_id,
        kind=KIND,
        name=sent.name,
        hotwords=sent.hotwords,
        description=sent.description,
    )
    return await answer(lambda: sensitive_body(made))


@router.delete("/{id}", summary="Delete sensitive words", responses=schema.sensitive_deletion_responses())
async def delete_sensitive_words(request: Request, list_id: ListId, _key: Key) -> DeletedSensitiveBody:
    """Forget a list. Its name and terms are gone from the disk, too, when the answer is sent."""
    await _service(request).vocabularies.delete(caller(request).key, list_id, kind=KIND)
    return DeletedSensitiveBody(id=list_id)


def _service(request: Request) -> VocabularyService:
    return request.app.state.service
