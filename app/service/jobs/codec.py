"""What is kept of jobs, as bytes and back: dataclasses as JSON with a version, compressed where that is worth it.

Everything comes back equal, floats to the bit; sequences come back as tuples. A field that has its default is left
out, and one that the bytes lack has it: so what a newer version writes can be read as long as nothing new is asked for.
Else it is refused. A field that is renamed, or whose default changes, needs a new VERSION.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Final, Generic, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from app.domain.engines import Hypothesis
from app.domain.errors import JobUnreadable
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import KnownVoice, Voiceprint
from app.domain.transcript import Transcript
from app.service.jobs.job import Failure, JobRequest, Plan

VERSION: Final = 1
_COMPRESSED_BYTES = 512
"""What is longer is compressed: below that, zlib saves next to nothing."""
_LEVEL = 3
"""Of zlib: 6 takes twice as long for a tenth less."""
_COMPRESSED = b"\x78"
"""How zlib's output begins; JSON's begins with a brace."""

_DAMAGED: Final = "What is kept of a job is damaged."
_NEWER: Final = "What is kept of a job was written by a newer version of this server."

_T = TypeVar("_T")
_Convert: TypeAlias = Callable[[object], object]


class Codec(Generic[_T]):
    """Bytes of one kind of dataclass."""

    def __init__(self, kind: type[_T]) -> None:
        self._way = _way(kind)

    def encode(self, value: _T) -> bytes:
        """The value as bytes."""
        return _packed(self._way.write(value))

    def decode(self, kept: bytes) -> _T:
        """The value again.

        Raises:
            JobUnreadable: a newer version wrote it, or it is damaged.
        """
        said = _unpacked(kept)
        try:
            return cast(_T, self._way.read(said))
        except _UnknownError as error:
            raise JobUnreadable(_NEWER) from error
        except (ValueError, TypeError, KeyError) as error:
            raise JobUnreadable(_DAMAGED) from error


class _UnknownError(ValueError):
    """Well written, and nothing that this version knows."""


@dataclass(frozen=True, slots=True)
class _Way:
    """To JSON's values and back. `read` raises ValueError or TypeError of what was not written so."""

    write: _Convert
    read: _Convert


def _packed(value: object) -> bytes:
    text = json.dumps({"v": VERSION, "is": value}, separators=(",", ":"), default=_plain).encode("ascii")
    return zlib.compress(text, _LEVEL) if len(text) > _COMPRESSED_BYTES else text


def _unpacked(kept: bytes) -> object:
    try:
        said: object = json.loads(zlib.decompress(kept) if kept.startswith(_COMPRESSED) else kept)
        if not isinstance(said, dict):
            raise TypeError("no object")
        version, value = cast("dict[str, object]", said)["v"], cast("dict[str, object]", said)["is"]
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise JobUnreadable(_DAMAGED) from error
    if version != VERSION:
        raise JobUnreadable(_NEWER)
    return value


def _plain(value: object) -> object:
    """Numbers of numpy, which engines may leave among others."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _way(kind: object) -> _Way:
    """How values of a type are written, from its annotation."""
    if isinstance(kind, type) and is_dataclass(kind):
        return _KNOWN_VOICE if kind is KnownVoice else _dataclass_way(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (tuple, Sequence):
        way = _sequence_way(_way(arguments[0]))
    elif origin in (dict, Mapping):
        way = _mapping_way(_way(arguments[1]))
    elif origin is Literal:
        way = _Way(_same, _one_of(arguments))
    elif origin in (Union, UnionType):
        way = _union_way(arguments)
    else:
        way = _BYTES if kind is bytes else _scalar_way(kind)
    return way


def _same(value: object) -> object:
    return value


def _one_of(allowed: tuple[object, ...]) -> _Convert:
    def read(value: object) -> object:
        if value not in allowed:
            raise _UnknownError("not one of what there is")
        return value

    return read


def _scalar_way(kind: object) -> _Way:
    if kind not in _SCALARS:
        raise TypeError(f"{kind} cannot be kept")
    accepted = (float, int) if kind is float else (kind,)  # who writes 0 for 0.0 has it back so

    def read(value: object) -> object:
        if type(value) not in accepted:
            raise TypeError(f"a {type(value).__name__} where there should be none")
        return value

    return _Way(_same, read)


def _union_way(kinds: tuple[object, ...]) -> _Way:
    """Of scalars, or of one type and None."""
    others = [kind for kind in kinds if kind is not NoneType]
    if len(others) == 1:
        way = _way(others[0])
        return _Way(
            lambda value: None if value is None else way.write(value),
            lambda value: None if value is None else way.read(value),
        )
    scalars = [_scalar_way(kind) for kind in kinds]

    def read(value: object) -> object:
        for way in scalars:
            try:
                return way.read(value)
            except TypeError:
                continue
        raise TypeError(f"a {type(value).__name__} where there should be none")

    return _Way(_same, read)


def _sequence_way(item: _Way) -> _Way:
    def write(value: object) -> object:
        return [item.write(one) for one in cast("Sequence[object]", value)]

    def read(value: object) -> object:
        if not isinstance(value, list):
            raise TypeError("no list")
        return tuple(item.read(one) for one in cast("list[object]", value))

    return _Way(write, read)


def _mapping_way(item: _Way) -> _Way:
    def write(value: object) -> object:
        return {key: item.write(one) for key, one in cast("Mapping[str, object]", value).items()}

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise TypeError("no object")
        return {key: item.read(one) for key, one in cast("dict[str, object]", value).items()}

    return _Way(write, read)


def _dataclass_way(kind: type) -> _Way:
    ways = _ways(kind)
    defaults = {field.name: _default(field) for field in fields(kind)}

    def write(value: object) -> object:
        said = {name: getattr(value, name) for name in ways}
        return {name: ways[name].write(one) for name, one in said.items() if not _is_same(one, defaults[name])}

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise TypeError("no object")
        said = cast("dict[str, object]", value)
        if said.keys() - ways.keys():
            raise _UnknownError("a field that there is not")
        return kind(**{name: ways[name].read(one) for name, one in said.items()})

    return _Way(write, read)


def _ways(kind: type) -> dict[str, _Way]:
    """How a dataclass's fields are written."""
    hints = get_type_hints(kind)
    return {field.name: _way(hints[field.name]) for field in fields(kind)}


def _default(field: Field[object]) -> object:
    """What it is where nothing is said; MISSING where something has to be."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _is_same(value: object, default: object) -> bool:
    """Whether it would come back as it is: 0 is equal to False and to -0.0, and is neither."""
    return value == default and repr(value) == repr(default)


def _from_base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("no text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _read_known_voice(value: object) -> object:
    name, voice_id = cast("tuple[str, str | None]", _NAMED.read(value))
    return KnownVoice(name, (), voice_id)


_SCALARS: Final[tuple[object, ...]] = (str, int, float, bool, NoneType)
_BYTES = _Way(lambda value: base64.b64encode(cast(bytes, value)).decode("ascii"), _from_base64)
_NAMED = _sequence_way(_union_way((str, NoneType)))
_KNOWN_VOICE = _Way(lambda value: [cast(KnownVoice, value).name, cast(KnownVoice, value).id], _read_known_voice)
"""Without its voiceprints: they are kept apart, so that nobody but a runner ever has them."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What of a request may be thousands of words."""

    hotwords: tuple[Hotword, ...] = ()
    masking: tuple[Masking, ...] = ()


@dataclass(frozen=True, slots=True)
class _Print:
    """A voiceprint as it is kept: `embedding` are little-endian float32s."""

    encoder: str
    seconds: float
    embedding: bytes


@dataclass(frozen=True, slots=True)
class _Prints:
    """Voiceprints of each of a request's voices, in its order."""

    voices: tuple[tuple[_Print, ...], ...]


REQUESTS: Final = Codec(JobRequest)
PLANS: Final = Codec(Plan)
HYPOTHESES: Final = Codec(Hypothesis)
TRANSCRIPTS: Final = Codec(Transcript)
FAILURES: Final = Codec(Failure)
_TERMS: Final = Codec(_Terms)
_PRINTS: Final = Codec(_Prints)


def readable(kept: bytes, model: str) -> JobRequest:
    """What can be read of a request to `model` that REQUESTS refuses; all else is as if nobody had said it."""
    found: dict[str, object] = {}
    with suppress(JobUnreadable):
        said = _unpacked(kept)
        for name, way in _ways(JobRequest).items():
            with suppress(ValueError, TypeError, KeyError):
                found[name] = way.read(cast("Mapping[str, object]", said)[name])
    return replace(JobRequest(model, RecognitionOptions()), **found)


def encode_terms(request: JobRequest) -> bytes | None:
    """The terms that `without_terms` leaves out; None where there are none."""
    terms = _Terms(request.options.hotwords, request.options.masking)
    return None if terms == _Terms() else _TERMS.encode(terms)


def without_terms(request: JobRequest) -> JobRequest:
    """The request without what takes long to read: who only looks at a job does not need it."""
    return replace(request, options=replace(request.options, hotwords=(), masking=()))


def with_terms(request: JobRequest, kept: bytes) -> JobRequest:
    """The request with the terms that it came with.

    Raises:
        JobUnreadable: a newer version wrote them, or they are damaged.
    """
    terms = _TERMS.decode(kept)
    return replace(request, options=replace(request.options, hotwords=terms.hotwords, masking=terms.masking))


def encode_voiceprints(request: JobRequest) -> bytes | None:
    """The voiceprints that came with a request, which REQUESTS leaves out; None where none did."""
    voices = request.options.speakers.voices if request.options.speakers is not None else ()
    if not any(voice.voiceprints for voice in voices):
        return None
    return _PRINTS.encode(_Prints(tuple(tuple(map(_print, voice.voiceprints)) for voice in voices)))


def with_voiceprints(request: JobRequest, kept: bytes) -> JobRequest:
    """The request with the voiceprints that it came with.

    Raises:
        JobUnreadable: a newer version wrote them, or they are damaged.
    """
    speakers, prints = request.options.speakers, _PRINTS.decode(kept).voices
    if speakers is None or len(prints) != len(speakers.voices):
        raise JobUnreadable(_DAMAGED)
    voices = tuple(
        replace(voice, voiceprints=tuple(map(_voiceprint, of_voice)))
        for voice, of_voice in zip(speakers.voices, prints, strict=True)
    )
    return replace(request, options=replace(request.options, speakers=replace(speakers, voices=voices)))


def _print(voiceprint: Voiceprint) -> _Print:
    embedding = voiceprint.embedding.astype("<f4").tobytes()
    return _Print(voiceprint.encoder, float(voiceprint.seconds), embedding)


def _voiceprint(kept: _Print) -> Voiceprint:
    return Voiceprint(np.frombuffer(kept.embedding, "<f4").astype(np.float32), kept.seconds, kept.encoder)
