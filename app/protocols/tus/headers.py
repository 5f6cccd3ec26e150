"""Tus's headers, which say everything that is to be said of an upload: read from requests, and put on answers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from email.utils import formatdate
from types import MappingProxyType
from typing import Protocol

from fastapi import Request

from app.domain.errors import InvalidParameter
from app.protocols.tus.errors import VERSION, NotAPart
from app.service.resumable.upload import Upload

PATH = "/v1/jobs/uploads"
PART = "application/offset+octet-stream"
EXTENSIONS = ("creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum", "termination")
LONGEST_METADATA = 8192
_NUMBER = re.compile(r"[0-9]{1,15}")
_KEY = re.compile(r"[!-+\--~]{1,255}")
"""ASCII without blanks and commas."""


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """What comes of them."""
        ...


ALGORITHMS: MappingProxyType[str, Callable[[], Digest]] = MappingProxyType(
    {
        "sha1": lambda: hashlib.sha1(usedforsecurity=False),  # the one that every server must know
        "sha256": hashlib.sha256,
        "md5": lambda: hashlib.md5(usedforsecurity=False),
    }
)
"""They find what a network damaged, not what somebody wants to pass off."""


class Checksum:
    """What a part is to be, and what has come of it so far."""

    def __init__(self, digest: Digest, wanted: bytes) -> None:
        self._digest = digest
        self._wanted = wanted

    def add(self, data: bytes) -> None:
        """Count bytes in. Blocking: a megabyte takes a few milliseconds."""
        self._digest.update(data)

    @property
    def right(self) -> bool:
        """Whether it is what it is to be."""
        return hmac.compare_digest(self._digest.digest(), self._wanted)


def said_offset(request: Request) -> int:
    """Where a part begins. Raises InvalidParameter."""
    return _number(request, "Upload-Offset")


def said_length(request: Request) -> int | None:
    """How many bytes a new upload will have; None: it is said later.

    Raises:
        InvalidParameter: neither or both are said.
    """
    deferred = request.headers.get("upload-defer-length")
    if deferred is None:
        return _number(request, "Upload-Length")
    if deferred != "1" or "upload-length" in request.headers:
        told = "Say Upload-Length, or Upload-Defer-Length: 1 if you do not know it yet."
        raise InvalidParameter(told, param="Upload-Defer-Length")
    return None


def late_length(request: Request) -> int | None:
    """The length that a part says, of an upload that had none. Raises InvalidParameter."""
    return _number(request, "Upload-Length") if "upload-length" in request.headers else None


def said_metadata(request: Request) -> str:
    """What the client says of its file, as it came. Raises InvalidParameter: it is not as tus has it."""
    said = request.headers.get("upload-metadata", "").strip()
    if len(said) > LONGEST_METADATA:
        told = f"Upload-Metadata must have at most {LONGEST_METADATA} characters."
        raise InvalidParameter(told, param="Upload-Metadata")
    metadata_of(said)
    return said


def metadata_of(said: str) -> dict[str, str]:
    """Values by key. Bytes that are no UTF-8 are replaced. Raises InvalidParameter."""
    values: dict[str, str] = {}
    for pair in said.split(",") if said else ():
        key, _, value = pair.strip().partition(" ")
        try:
            if not _KEY.fullmatch(key) or key in values:
                raise ValueError(key)
            values[key] = base64.b64decode(value, validate=True).decode(errors="replace")
        except (ValueError, binascii.Error):  # without a cause: it would repeat what was sent in the log
            told = "Upload-Metadata must be keys and values in base64: filename Y2FsbC53YXY=,filetype YXVkaW8vd2F2"
            raise InvalidParameter(told, param="Upload-Metadata") from None
    return values


def said_checksum(request: Request) -> Checksum | None:
    """What a part is to be, if that is said. Raises InvalidParameter."""
    said = request.headers.get("upload-checksum")
    if said is None:
        return None
    name, _, value = said.strip().partition(" ")
    made = ALGORITHMS.get(name)
    if made is None:
        raise InvalidParameter(f"Upload-Checksum must be by one of {','.join(ALGORITHMS)}.", param="Upload-Checksum")
    digest = made()
    try:
        wanted = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        wanted = b""
    if len(wanted) != len(digest.digest()):
        raise InvalidParameter(f"Upload-Checksum is no {name} in base64.", param="Upload-Checksum")
    return Checksum(digest, wanted)


def announced(request: Request) -> int | None:
    """Bytes of the body; None where that is not said."""
    said = request.headers.get("content-length", "")
    return int(said) if _NUMBER.fullmatch(said) and "transfer-encoding" not in request.headers else None


def has_part(request: Request) -> bool:
    """Whether a creation brings a part with it.

    Raises:
        NotAPart: it has a body that is none.
        InvalidParameter: it is to be put together of other uploads, which is an extension that is not there.
    """
    if "upload-concat" in request.headers:
        raise InvalidParameter("Uploads cannot be put together here; send one.", param="Upload-Concat")
    if _is_part(request):
        return True
    if "transfer-encoding" in request.headers or announced(request):
        check_part(request)
    return False


def check_part(request: Request) -> None:
    """See that the body is declared to be a part of an upload. Raises NotAPart."""
    if not _is_part(request):
        raise NotAPart(f"Send Content-Type: {PART}.", param="Content-Type")


def headers_of(upload: Upload) -> dict[str, str]:
    """All that is to be said of an upload."""
    length = {"upload-defer-length": "1"} if upload.length is None else {"upload-length": str(upload.length)}
    metadata = {"upload-metadata": upload.metadata} if upload.metadata else {}
    return progress_headers(upload) | length | metadata | {"cache-control": "no-store"}


def progress_headers(upload: Upload) -> dict[str, str]:
    """How far it is, and how long it will be kept."""
    return {"upload-offset": str(upload.offset), "upload-expires": formatdate(upload.expires, usegmt=True)}


def location(upload: Upload) -> dict[str, str]:
    """Where it is. Without a host: what clients call this server is known to its proxies only."""
    return {"location": f"{PATH}/{upload.id}"}


def server_headers(max_bytes: int) -> dict[str, str]:
    """What this server can do."""
    return {
        "tus-version": VERSION,
        "tus-extension": ",".join(EXTENSIONS),
        "tus-max-size": str(max_bytes),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }


def _is_part(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == PART


def _number(request: Request, name: str) -> int:
    said = request.headers.get(name, "").strip()
    if not _NUMBER.fullmatch(said):
        raise InvalidParameter(f"{name} must be a number of bytes.", param=name)
    return int(said)
