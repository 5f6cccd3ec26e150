"""What hubs say about a repository's files: size and sha256, read from their lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from app.modelstore.catalog import CatalogEntry, HubMirror, ModelFile, ModelScopeMirror
from app.modelstore.hubs import MAX_IN_MEMORY, HubClient
from app.modelstore.manifests import SHA256, names_among
from app.modelstore.mirrors import MirrorError


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as a hub lists it: `sha256` is "" where the hub states git's own hash (`blob`) instead."""

    path: str
    size: int
    sha256: str
    blob: str = ""


def stated_files(entry: CatalogEntry, mirror: HubMirror, endpoint: str, hub: HubClient) -> tuple[ModelFile, ...]:
    """The entry's files as the hub at `endpoint` states them.

    Raises:
        MirrorError: it cannot be reached, its answer is no list of files, or a file that must be there is not.
    """
    answer = hub.listing(_listing_url(mirror, endpoint))
    try:
        rows = _modelscope_rows(answer) if isinstance(mirror, ModelScopeMirror) else _huggingface_rows(answer)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MirrorError("its list of files cannot be read") from error
    by = f"{mirror.name}'s list of files"
    return tuple(
        ModelFile(file.path, file.size, _sha256(file, mirror, endpoint, hub), by)
        for file in _of_entry(entry, mirror, rows)
    )


def _listing_url(mirror: HubMirror, endpoint: str) -> str:
    if isinstance(mirror, ModelScopeMirror):
        return f"{endpoint}/api/v1/models/{mirror.repo}/repo/files?Revision={mirror.revision}&Recursive=true"
    return f"{endpoint}/api/models/{mirror.repo}/tree/{mirror.revision}?recursive=true"


def _modelscope_rows(answer: object) -> list[Listed]:
    rows = cast("dict[str, Any]", answer)["Data"]["Files"]
    blobs = [row for row in rows if row.get("Type") != "tree"]
    return [Listed(str(row["Path"]), int(row["Size"]), str(row.get("Sha256") or "").lower()) for row in blobs]


def _huggingface_rows(answer: object) -> list[Listed]:
    """Large files have `lfs` with their sha256, small ones only what git knows them by."""
    rows = [row for row in cast("list[dict[str, Any]]", answer) if row.get("type") == "file"]
    return [
        Listed(
            str(row["path"]), int(row["size"]), str((row.get("lfs") or {}).get("oid") or "").lower(), str(row["oid"])
        )
        for row in rows
    ]


def _of_entry(entry: CatalogEntry, mirror: HubMirror, rows: Iterable[Listed]) -> list[Listed]:
    """Those of `rows` that the entry names, with paths inside the model's folder."""
    prefix = f"{mirror.prefix.strip('/')}/" if isinstance(mirror, ModelScopeMirror) and mirror.prefix else ""
    listed = {row.path.removeprefix(prefix): row for row in rows if row.path.startswith(prefix) and row.size > 0}
    missing = [wanted for wanted in entry.hub_files if not wanted.optional and not wanted.among(listed)]
    if missing:
        raise MirrorError(f"its repository has no {', '.join(' or '.join(wanted.names) for wanted in missing)}")
    return [replace(listed[name], path=name) for name in names_among(entry, listed)]


def _sha256(file: Listed, mirror: HubMirror, endpoint: str, hub: HubClient) -> str:
    """The file's sha256; read from the hub and compared with git's hash, where that is all that is stated."""
    if SHA256.fullmatch(file.sha256):
        return file.sha256
    if not file.blob or file.size > MAX_IN_MEMORY:
        raise MirrorError(f"its list of files states no sha256 for {file.path}")
    body = hub.read(mirror.url(endpoint, file.path))
    if hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest() != file.blob:
        raise MirrorError(f"{file.path}: it sends other bytes than its list of files says (git's hash differs)")
    return hashlib.sha256(body).hexdigest()
