"""An upload as JSON, for who asks without speaking tus."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from app.protocols.tus.headers import metadata_of
from app.service.resumable.upload import Upload


class UploadBody(BaseModel):
    """A resumable upload. `length` is null where it was not said yet; times are in epoch seconds."""

    id: str
    object: Literal["upload"] = "upload"
    offset: int
    length: int | None
    finished: bool
    metadata: dict[str, str]
    created_at: int
    expires_at: int


def upload_body(upload: Upload) -> UploadBody:
    """What its owner may know of it."""
    return UploadBody(
        id=upload.id,
        offset=upload.offset,
        length=upload.length,
        finished=upload.finished,
        metadata=metadata_of(upload.metadata),
        created_at=int(upload.created),
        expires_at=int(upload.expires),
    )
