"""Routes of Alibaba Cloud's self-learning platform that OddASR imitates: vocabularies and classes of words, kept.

They are the lists of /v1/vocabularies and those beside them, in this protocol's shape. Everybody sees their own only.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Annotated, Protocol

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathField
from starlette.responses import JSONResponse, Response

from app.domain.errors import InvalidParameter, UnknownVocabulary
from app.protocols.callers import Key, caller
from app.protocols.errors import request_id
from app.protocols.oddasr.rest import schema
from app.protocols.oddasr.rest.bodies import received_object
from app.protocols.oddasr.rest.platform_wire import (
    FIELD,
    PlatformKind,
    Sent,
    SummaryBody,
    Titles,
    page_body,
    read_sent,
    stored_titles,
    summary_body,
    titles_of,
    whole_body,
)
from app.protocols.oddasr.rest.stored import list_of, told_as
from app.service.vocabularies.lists import VocabularySummary
from app.service.vocabularies.store import VocabularyStore
from app.settings import Settings

PATHS: MappingProxyType[PlatformKind, str] = MappingProxyType({"hotwords": "vocabs", "class": "class-vocabs"})
_NAMES: MappingProxyType[PlatformKind, str] = MappingProxyType({"hotwords": "vocab", "class": "class_vocab"})
"""What a list is called in answers."""

ListId = Annotated[str, PathField(alias="id", description="A list's id: the one it was made with, or was given.")]
PageNumber = Annotated[int, Query(ge=1, description="Counts from 1.")]
PageSize = Annotated[int, Query(ge=1, le=100)]

router = APIRouter(tags=["OddASR vocabularies"])


class ListService(Protocol):
    """What these routes ask of the service."""

    settings: Settings
    vocabularies: VocabularyStore


def _routes(kind: PlatformKind) -> APIRouter:
    routes = APIRouter()
    sent, named = schema.list_request(kind, FIELD[kind]), schema.named(kind)
    replaced = schema.list_responses(400, 404, 409, 413)

    @routes.post("", summary=f"Store a {named}", openapi_extra=sent, responses=schema.list_responses(400, 409, 413))
    async def create(request: Request, _key: Key) -> Response:
        """Keep words to listen for, under an id of your choice or one that is given to them."""
        return await _create(request, kind)

    @routes.get("", summary=f"List each {named} of yours", responses=schema.list_responses(400))
    async def pages(request: Request, _key: Key, page_number: PageNumber = 1, page_size: PageSize = 10) -> Response:
        """Oldest first, without their words."""
        return await _page(request, kind, page_number, page_size)

    @routes.put("", summary=f"Replace a {named}", openapi_extra=sent, responses=replaced)
    async def replace(request: Request, _key: Key) -> Response:
        """Give what has the body's `id` other words, another name or description. What is left out stays."""
        return await _replace(request, kind, None)

    @routes.get("/{id}", summary=f"Show a {named}", responses=schema.list_responses(404))
    async def show(request: Request, list_id: ListId, _key: Key) -> Response:
        """All of it, with its words."""
        service = _service(request)
        found = await list_of(service.vocabularies, caller(request).key, list_id, kind)
        # In a thread: ten thousand words take a while to draw.
        body = await asyncio.to_thread(lambda: whole_body(found).model_dump())
        return _answer(request, {_NAMES[kind]: body})

    @routes.put("/{id}", summary=f"Replace a {named}", openapi_extra=sent, responses=replaced)
    async def replace_named(request: Request, list_id: ListId, _key: Key) -> Response:
        """The same, with the id in the path."""
        return await _replace(request, kind, list_id)

    @routes.delete("/{id}", summary=f"Delete a {named}", responses=schema.list_responses(404))
    async def delete(request: Request, list_id: ListId, _key: Key) -> Response:
        """Forget it. Its words are gone from the disk, too, when the answer is sent."""
        store, owner = _service(request).vocabularies, caller(request).key
        await store.delete(owner, (await list_of(store, owner, list_id, kind)).id, kind=kind)
        return _answer(request)

    return routes


for _kind, _path in PATHS.items():
    router.include_router(_routes(_kind), prefix=f"/api/v1/asr/{_path}")


@router.get("/api/v2/asr/lm/bases", summary="List base language models", responses=schema.list_responses(400))
async def list_bases(request: Request, _key: Key, page_number: PageNumber = 1, page_size: PageSize = 10) -> Response:
    """There are none to customise here, so that the list is empty."""
    page = page_body([], 0, page_number, page_size)
    return _answer(request, {"total_items": 0, "page": page.model_dump()})


def _service(request: Request) -> ListService:
    return request.app.state.service


def _answer(request: Request, body: dict[str, object] | None = None) -> Response:
    return JSONResponse({"request_id": request_id(request), **(body or {})})


async def _sent(request: Request, kind: PlatformKind) -> Sent:
    settings = _service(request).settings
    said = await received_object(request, settings)
    # In a thread: ten thousand words take a while to read.
    return await asyncio.to_thread(read_sent, said, kind, settings.max_hotwords)


async def _create(request: Request, kind: PlatformKind) -> Response:
    sent = await _sent(request, kind)
    name = sent.name or sent.id
    if name is None:
        raise InvalidParameter("name is required: what to call the list.", param="name")
    if sent.words is None:
        raise InvalidParameter(f"{FIELD[kind]} is required: the words to listen for.", param=FIELD[kind])
    key, description = stored_titles(Titles(sent.id, name, sent.description or ""))
    store, owner = _service(request).vocabularies, caller(request).key
    with told_as(_fields(kind, sent.id)):
        made = await store.create(owner, key, sent.words, kind=kind, description=description)
    return _answer(request, {f"{_NAMES[kind]}_id": sent.id or made.id})


async def _replace(request: Request, kind: PlatformKind, said: str | None) -> Response:
    sent = await _sent(request, kind)
    list_id = said or sent.id
    if list_id is None:
        raise InvalidParameter("id is required: of the list that is to be replaced.", param="id")
    if said and sent.id and said != sent.id:
        raise InvalidParameter("id is not the one in the path, and a list keeps its id.", param="id")
    if (sent.name, sent.description, sent.words) == (None, None, None):
        raise InvalidParameter(f"Send what is to be replaced: name, description or {FIELD[kind]}.")
    store, owner = _service(request).vocabularies, caller(request).key
    before = await list_of(store, owner, list_id, kind)

    def titles(now: VocabularySummary) -> tuple[str, str]:
        kept = titles_of(now)
        name = kept.name if sent.name is None else sent.name
        return stored_titles(Titles(kept.id, name, kept.description if sent.description is None else sent.description))

    with told_as(_fields(kind, titles_of(before).id)):
        await store.revise(owner, before.id, titles, kind=kind, hotwords=sent.words)
    return _answer(request)


def _fields(kind: PlatformKind, chosen: str | None) -> dict[str, str]:
    """What a client calls what the store calls otherwise: the name there is the id, if the client has `chosen` one."""
    return {"hotwords": FIELD[kind]} | ({"name": "id"} if chosen else {})


async def _page(request: Request, kind: PlatformKind, number: int, size: int) -> Response:
    store, owner = _service(request).vocabularies, caller(request).key
    summaries = await store.list(owner, kind=kind)
    content: list[SummaryBody] = []
    for summary in summaries[(number - 1) * size : number * size]:
        try:
            stored = await store.get(owner, summary.id, kind=kind)  # its words, for md5: one list's at a time
        except UnknownVocabulary:  # deleted since
            continue
        content.append(await asyncio.to_thread(summary_body, stored))
    return _answer(request, {"page": page_body(content, len(summaries), number, size).model_dump()})
