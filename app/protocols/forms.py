"""A multipart upload as fields and one stored file, with limits on everything a sender chooses.

The form is parsed here rather than by the framework so that the file goes straight to its place on disk (one write,
in TEMP_DIR), text is bounded as a whole, and a broken body is answered like any other bad request.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, BinaryIO, Self, cast

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.audio.storing import leave_room, make_room, not_stored
from app.domain.errors import EmptyAudio, InvalidParameter, UploadTooLarge

MAX_FILES = 4
MAX_FIELDS = 1200
"""A thousand hotwords, each in its own part, and everything else."""
MAX_PART_BYTES = 4 * 1024 * 1024
"""The longest text field: a speaker reference is up to 10 s of sound in base64."""
MAX_TEXT_BYTES = 24 * 1024 * 1024
"""All text fields together, because they are held in memory: four speaker references and plenty."""

_NOT_STORED = "The upload could not be stored."
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_logger = logging.getLogger(__name__)


class Form:
    """The fields of one request. As a context manager it removes the stored files at the end, whatever happens."""

    def __init__(self, data: FormData) -> None:
        self._files = [(name, value) for name, value in data.multi_items() if isinstance(value, UploadFile)]
        self._texts = [(name, value) for name, value in data.multi_items() if isinstance(value, str)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        # Closed here and not in a thread: this also runs while a request is being cancelled.
        for _, upload in self._files:
            leave_room(upload.file)

    def file(self, name: str, max_bytes: int) -> Path:
        """Where the uploaded file lies.

        Raises:
            InvalidParameter: it is missing, given twice, or sent as text.
            EmptyAudio: it has no bytes.
            UploadTooLarge: it has more than `max_bytes`.
        """
        uploads = [upload for field, upload in self._files if field == name]
        if len(uploads) > 1:
            raise InvalidParameter(f"{name} was sent {len(uploads)} times; send one recording a request.", param=name)
        if not uploads:
            sent_as_text = any(field == name for field, _ in self._texts)
            why = "must be a file part (with a filename), not text" if sent_as_text else "is required: it is the audio"
            raise InvalidParameter(f"{name} {why}.", param=name)
        _check_size(uploads[0], name, max_bytes)
        return Path(uploads[0].file.name)

    def files(self, *names: str, max_bytes: int) -> list[tuple[Path, str | None]]:
        """Where the files of all parts called `names` or names[] lie, with their Content-Types, in the order sent.

        Errors name a file by the first of `names` and its place: files[1].

        Raises:
            InvalidParameter: there is none, or one was sent as text.
            EmptyAudio: one has no bytes.
            UploadTooLarge: one has more than `max_bytes`.
        """
        pattern = re.compile(f"({'|'.join(map(re.escape, names))})" + r"(\[\d*\])?")
        if any(pattern.fullmatch(field) for field, _ in self._texts):
            raise InvalidParameter(f"{names[0]} must be file parts (with a filename), not text.", param=names[0])
        uploads = [upload for field, upload in self._files if pattern.fullmatch(field)]
        if not uploads:
            raise InvalidParameter(f"{names[0]} is required: recordings, each in a part of its own.", param=names[0])
        for place, upload in enumerate(uploads):
            _check_size(upload, f"{names[0]}[{place}]", max_bytes)
        return [(Path(upload.file.name), upload.content_type) for upload in uploads]

    def media_type(self, name: str) -> str | None:
        """The Content-Type that the uploaded file's part has."""
        return next((upload.content_type for field, upload in self._files if field == name), None)

    def filename(self, name: str) -> str:
        """What the uploaded file's part says it is called; "" where it does not."""
        return next((upload.filename or "" for field, upload in self._files if field == name), "")

    def text(self, name: str) -> str | None:
        """A field's value; None when it is absent or blank.

        Raises:
            InvalidParameter: given more than once, or as a file.
        """
        if any(field == name for field, _ in self._files):
            raise InvalidParameter(f"{name} must be a text field, not a file.", param=name)
        values = [value for field, value in self._texts if field == name]
        if len(values) > 1:
            raise InvalidParameter(f"{name} was sent {len(values)} times; send it once.", param=name)
        return values[0] if values and values[0].strip() else None

    def flag(self, name: str) -> bool | None:
        """A true or false field; None when absent."""
        value = self.text(name)
        if value is None:
            return None
        if (word := value.strip().lower()) in _TRUE | _FALSE:
            return word in _TRUE
        raise InvalidParameter(f"{name} must be true or false.", param=name)

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number between `least` and `most`; None when absent."""
        value = self.text(name)
        return None if value is None else bounded(value, name, least, most)

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """One of `choices`; None when absent."""
        value = self.text(name)
        return None if value is None else chosen(value.strip(), name, choices)

    def items(self, name: str) -> list[str]:
        """A list: name[] or name repeated, commas, or a JSON array, in the order sent, without blanks."""
        return [item for value in self.texts(name) for item in _split(value, name)]

    def repeated(self, name: str) -> list[str]:
        """A list whose values may have commas: name[] or name repeated, or a JSON array, without blanks."""
        values = self.texts(name)
        parts = (_split(value, name) if value.startswith("[") else [value] for value in values)
        return [item for some in parts for item in some if item]

    def texts(self, name: str) -> list[str]:
        """The values of name[] or name, repeated, as they were sent, without blanks."""
        pattern = _list_pattern(name)
        return [said for field, value in self._texts if pattern.fullmatch(field) and (said := value.strip())]

    def check_list(self, name: str) -> None:
        """That `texts` has all there is of a list, and nothing is overlooked.

        Raises:
            InvalidParameter: part of it is a file, or in brackets that no list has.
        """
        pattern = _list_pattern(name)
        if any(field == name or field.startswith(f"{name}[") for field, _ in self._files):
            raise InvalidParameter(f"{name} must be text fields, not files.", param=name)
        if any(field.startswith(f"{name}[") and not pattern.fullmatch(field) for field, _ in self._texts):
            raise InvalidParameter(f"{name} must be sent as {name}, {name}[] or {name}[0].", param=name)

    def has(self, name: str) -> bool:
        """Whether the field is there in any form, even as a file."""
        return any(field == name or field.startswith(f"{name}[") for field, _ in (*self._texts, *self._files))

    def holds(self, name: str) -> bool:
        """Whether there is something in the field, even if it is text where a file belongs: not blank, not empty."""
        texts = (bool(value.strip()) for field, value in self._texts if field == name)
        return any(texts) or any(upload.size for field, upload in self._files if field == name)

    def nested(self, name: str) -> dict[str, str]:
        """An object sent as name[key] fields."""
        pattern = re.compile(re.escape(name) + r"\[(\w+)\]")
        found = [(match[1], value) for field, value in self._texts if (match := pattern.fullmatch(field))]
        if len(found) > len(dict(found)):
            raise InvalidParameter(f"A field of {name} was sent twice.", param=name)
        return dict(found)

    def log_unknown(self, known: Collection[str], request_id: str) -> None:
        """Note fields that nothing reads: SDKs let users add their own, so these are no error."""
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        names = {field.split("[")[0] for field, _ in (*self._texts, *self._files)} - set(known)
        if names:
            _logger.debug("request %s: fields nobody reads: %r", request_id, sorted(name[:40] for name in names)[:20])


async def receive_form(
    request: Request, folder: Path | None, max_files: int = MAX_FILES, *, part: str = "file", setting: str = "TEMP_DIR"
) -> Form:
    """The request's multipart body, its files stored in `folder` (the system's temporary folder when None).

    `part` is what the recording's part is called, for errors, and `setting` what names the folder, for the log.

    Raises:
        InvalidParameter: not multipart, broken, or too many parts.
        UploadTooLarge: more bytes arrive than the service takes.
        EngineFailure: the disk does not take it.
    """
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise InvalidParameter(f"Send the audio as multipart/form-data, in a part named {part}.")
    try:
        async with aclosing(request.stream()) as stream:
            return Form(await _Parser(request, stream, folder, max_files, setting).parse())
    except MultiPartException as error:
        raise InvalidParameter(f"The form cannot be read: {error.message}") from error
    except OSError as error:
        raise not_stored(error, _NOT_STORED, setting=setting) from error


class _Parser(MultiPartParser):
    """Starlette's parser, with files that have a name on disk and a bound on all text together."""

    def __init__(
        self, request: Request, stream: AsyncGenerator[bytes, None], folder: Path | None, max_files: int, setting: str
    ) -> None:
        super().__init__(
            request.headers,
            stream,
            max_files=max_files,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_PART_BYTES,
        )
        self._folder = folder
        self._setting = setting
        self._text_bytes = 0

    async def parse(self) -> FormData:
        """Everything; if that fails, nothing stays: the parser's own way stops at a file that a full disk fails."""
        try:
            return await super().parse()
        except BaseException:
            for stored in self._files_to_close_on_error:
                leave_room(cast("IO[bytes]", stored))
            raise

    def on_headers_finished(self) -> None:
        """Put a file part's bytes where a decoder can open them by name; only this user may read them."""
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()
            stored = make_room(self._folder, _NOT_STORED, setting=self._setting)  # the Form leaves it
            # A named temporary file is all that its users ask of a spooled one or a binary stream.
            self._files_to_close_on_error.append(cast("SpooledTemporaryFile[bytes]", stored))
            upload.file = cast("BinaryIO", stored)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Count what is kept in memory."""
        if self._current_part.file is None:
            self._text_bytes += end - start
            if self._text_bytes > MAX_TEXT_BYTES:
                raise MultiPartException(f"text fields exceed {MAX_TEXT_BYTES // 1024 // 1024} MiB together")
        super().on_part_data(data, start, end)


def too_large(max_bytes: int) -> str:
    """What to say of an upload above the limit."""
    return f"The upload is larger than this server takes ({max_bytes} bytes, MAX_AUDIO_SIZE)."


def bounded(value: object, name: str, least: float, most: float) -> float:
    """`value` as a number between `least` and `most`.

    Raises:
        InvalidParameter: it is not (NaN is not between anything).
    """
    number = math.nan
    with suppress(ValueError, OverflowError):
        if isinstance(value, str):
            number = math.nan if "_" in value else float(value)  # 1_000 is a number to Python only
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
    if not least <= number <= most:
        raise InvalidParameter(f"{name} must be a number between {least:g} and {most:g}.", param=name)
    return number


def chosen(value: str, name: str, choices: Collection[str]) -> str:
    """`value`, which must be one of `choices`.

    Raises:
        InvalidParameter: it is not.
    """
    if value not in choices:
        raise InvalidParameter(f"{name} must be one of: {', '.join(choices)}.", param=name)
    return value


def _list_pattern(name: str) -> re.Pattern[str]:
    """What the fields of a list are called."""
    return re.compile(re.escape(name) + r"(\[\d*\])?")


def _check_size(upload: UploadFile, name: str, max_bytes: int) -> None:
    size = upload.size or 0
    if size == 0:
        raise EmptyAudio("The uploaded file is empty.", param=name)
    if size > max_bytes:
        raise UploadTooLarge(too_large(max_bytes), param=name)


def _split(value: str, name: str) -> list[str]:
    parts: list[object] = list(value.split(","))
    if value.lstrip().startswith("["):
        try:
            parsed: object = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"{name} looks like a JSON array and is none.", param=name) from error
        parts = cast("list[object]", parsed) if isinstance(parsed, list) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise InvalidParameter(f"{name} must be a list of strings.", param=name)
    return [text for part in parts if (text := str(part).strip())]
