"""Routes of the tus protocol (1.0.0, https://tus.io/protocols/resumable-upload): recordings for jobs, sent in as many
requests as it takes. Everybody sees their own only."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathField
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.protocols.callers import Key, caller
from app.protocols.tus import headers, schema
from app.protocols.tus.errors import TusRoute, check_version
from app.protocols.tus.receiving import receive_part
from app.protocols.tus.wire import UploadBody, upload_body
from app.service.resumable.store import UploadStore
from app.service.resumable.upload import Upload

UploadId = Annotated[str, PathField(alias="id", description="An upload's id, the last part of its Location.")]
Spoken = Depends(check_version)

router = APIRouter(prefix=headers.PATH, tags=["Resumable uploads"], route_class=TusRoute)


class UploadService(Protocol):
    """What these routes ask of the service."""

    uploads: UploadStore


@router.options("", summary="What can be uploaded", status_code=204, responses=schema.options_responses())
async def describe_uploads(request: Request, _key: Key) -> Response:
    """The protocol's version, its extensions, and how large an upload may be, in headers."""
    return Response(status_code=204, headers=headers.server_headers(_uploads(request).max_bytes))


@router.post(
    "",
    summary="Begin an upload",
    status_code=201,
    response_class=Response,  # without a body
    dependencies=[Spoken],
    openapi_extra=schema.creation_request(),
    responses=schema.creation_responses(),
)
async def create_upload(request: Request, _key: Key) -> Response:
    """A new upload, at the address that Location says. A body is its first part."""
    owner, uploads = caller(request).key, _uploads(request)
    length, metadata = headers.said_length(request), headers.said_metadata(request)
    with_part = headers.has_part(request)
    checksum = headers.said_checksum(request) if with_part else None
    made = await uploads.create(owner, length, metadata)
    if with_part:
        try:
            async with uploads.writing(owner, made.id) as writing:
                writing.check(0, headers.announced(request))
                await receive_part(request, writing, checksum)
                made = await uploads.find(owner, made.id)
        except BaseException:
            await uploads.remove(owner, made.id)  # nobody was told where it is
            raise
    return Response(status_code=201, headers=headers.progress_headers(made) | headers.location(made))


@router.head("/{id}", summary="Where to go on", dependencies=[Spoken], responses=schema.head_responses())
async def head_upload(request: Request, upload_id: UploadId, _key: Key) -> Response:
    """How many bytes have arrived (Upload-Offset), of how many, and until when they are kept."""
    return Response(status_code=200, headers=headers.headers_of(await _found(request, upload_id)))


@router.get("/{id}", summary="Show an upload", responses=schema.get_responses())
async def get_upload(request: Request, upload_id: UploadId, _key: Key) -> UploadBody:
    """The same as JSON, for who does not speak tus."""
    return upload_body(await _found(request, upload_id))


@router.patch(
    "/{id}",
    summary="Go on with an upload",
    status_code=204,
    dependencies=[Spoken],
    openapi_extra=schema.part_request(),
    responses=schema.part_responses(),
)
async def add_part(request: Request, upload_id: UploadId, _key: Key) -> Response:
    """Add bytes at Upload-Offset, which must be how many have arrived. They count as they come in: if the connection
    breaks, ask by HEAD for the offset, and go on from there."""
    headers.check_part(request)
    offset, length, checksum = (
        headers.said_offset(request),
        headers.late_length(request),
        headers.said_checksum(request),
    )
    owner, uploads = caller(request).key, _uploads(request)
    async with uploads.writing(owner, upload_id) as writing:
        writing.check(offset, headers.announced(request), length)
        if length is not None:  # only now: a part that is refused says nothing that holds
            await writing.set_length(length)
        await receive_part(request, writing, checksum)
        upload = await uploads.find(owner, upload_id)
    return Response(status_code=204, headers=headers.progress_headers(upload))


@router.delete(
    "/{id}",
    summary="Remove an upload",
    status_code=204,
    dependencies=[Spoken],
    responses=schema.removal_responses(),
)
async def remove_upload(request: Request, upload_id: UploadId, _key: Key) -> Response:
    """Remove what has arrived, and end whoever still sends."""
    await _uploads(request).remove(caller(request).key, upload_id)
    return Response(status_code=204)


@router.post("/{id}", include_in_schema=False, dependencies=[Spoken])
async def by_other_method(request: Request, upload_id: UploadId, _key: Key) -> Response:
    """What X-HTTP-Method-Override says, for clients and proxies that know GET and POST only."""
    match request.headers.get("x-http-method-override", "").upper():
        case "PATCH":
            return await add_part(request, upload_id, _key)
        case "DELETE":
            return await remove_upload(request, upload_id, _key)
        case "HEAD":
            return await head_upload(request, upload_id, _key)
        case _:
            raise HTTPException(405, headers={"allow": "GET, HEAD, PATCH, DELETE"})


def _uploads(request: Request) -> UploadStore:
    service: UploadService = request.app.state.service
    return service.uploads


async def _found(request: Request, upload_id: str) -> Upload:
    return await _uploads(request).find(caller(request).key, upload_id)
