"""Where a job's recording is when it is asked for: in the request, in a finished upload, or at an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote

from app.audio.declared import DeclaredSound, declared_sound
from app.audio.fetching.locations import LocationError, parse_location
from app.domain.errors import InvalidParameter, UploadTooLarge
from app.protocols.described import shown_name
from app.protocols.forms import Form
from app.protocols.jobs.fields import UPLOAD
from app.protocols.json_form import INPUT
from app.protocols.openai.asking import at_fault
from app.protocols.openai.wishes import ADDRESS

_PLACES: Final[Sequence[str]] = ("file", INPUT, UPLOAD, ADDRESS)


@dataclass(frozen=True, slots=True)
class Sent:
    """In the request, stored at `path`. `declared` is what its bytes are if they have no container."""

    path: Path
    declared: DeclaredSound | None
    media_type: str
    name: str


@dataclass(frozen=True, slots=True)
class Uploaded:
    """In the resumable upload that `said` names, by its id or its Location."""

    said: str

    @property
    def id(self) -> str:
        """The upload's id: what a Location ends with."""
        return self.said.rstrip("/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """At an `address`, from where it is fetched when the job's turn comes."""

    address: str
    name: str


Source: TypeAlias = Sent | Uploaded | Elsewhere


def read_source(form: Form, max_bytes: int) -> Source:
    """Where the form says that the recording is.

    Raises:
        InvalidParameter: it does not say, says it twice, or the address is none.
        EmptyAudio, UploadTooLarge: the file has no bytes, or more than `max_bytes`.
        UndecodableAudio: it is declared to be raw sound, and not how.
    """
    said = [name for name in _PLACES if form.holds(name)] or [name for name in ("file", INPUT) if form.has(name)]
    if not said:
        told = f"file is required: it is the audio. ({UPLOAD} may name a finished upload, {ADDRESS} say where it lies.)"
        raise InvalidParameter(told, param="file")
    if len(said) > 1:
        raise InvalidParameter(f"{said[0]} and {said[1]} are two recordings; send one a job.", param=said[1])
    if said[0] == UPLOAD:
        return Uploaded((form.text(UPLOAD) or "").strip())
    if said[0] == ADDRESS:
        return _elsewhere((form.text(ADDRESS) or "").strip())
    return _sent(form, said[0], max_bytes)


def _sent(form: Form, name: str, max_bytes: int) -> Sent:
    try:
        path = form.file(name, max_bytes)
    except UploadTooLarge:
        told = f"The recording is larger than this server takes ({max_bytes} bytes, MAX_JOB_AUDIO_SIZE)."
        raise UploadTooLarge(told, param=name) from None
    media_type = form.media_type(name) or ""
    with at_fault(name):
        return Sent(path, declared_sound(media_type), media_type, shown_name(form.filename(name)))


def _elsewhere(said: str) -> Elsewhere:
    try:
        url = parse_location(said)
    except LocationError as error:
        raise InvalidParameter(f"{ADDRESS} {error}", param=ADDRESS) from error
    return Elsewhere(said, shown_name(unquote(url.path, errors="replace")))
