"""The shapes of OddASR's live protocol: text messages of clients, and what they are told.

It resembles Alibaba Cloud's, but success is status 0, and a client's messages have no header. OddASR's own Python
client copies a message's header and payload into one object: no name may occur in both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias, cast

from app.domain import errors
from app.domain.errors import InvalidParameter, SpeechError
from app.domain.events import Partial
from app.domain.transcript import Word

Json: TypeAlias = dict[str, object]

MOST_CHARACTERS = 1024 * 1024
"""Of a text message: ten thousand hotwords and everything else."""
START, STOP = "StartTranscription", "StopTranscription"
ACKNOWLEDGED, CHANGED, ENDED = "SentenceBegin", "TranscriptionResultChanged", "SentenceEnd"
LAST_RESULT = "END"
"""The text of a session's last message, which is no sentence."""
_STOP_SESSION = "STOP_SESSION_REQ"
_NAMESPACE = "SpeechTranscriber"
_SUCCESS = 0
_LONGEST_ID = 128


class Status(Enum):
    """What went wrong, by OddASR's numbers and names."""

    ARGS_ERROR = 10020001
    SESSION_ID_NOVALID = 10020003
    AUTH_ERROR = 40000001
    SESSION_TIMEDOUT = 40000004
    REQ_TOO_MANY = 40000005
    CLIENT_ERROR = 40000006
    REAL_TIME_CLIENT_ERROR_3 = 41040203
    """The sound is not in the format that was promised."""
    SERVER_ERROR = 50000000
    REAL_TIME_SERVER_ERROR_3 = 51040103
    """The recogniser is not there now."""


class UnknownSession(InvalidParameter):
    """The session that a client wants to continue is not there."""


_STATUSES: MappingProxyType[type[SpeechError], Status] = MappingProxyType(
    {
        UnknownSession: Status.SESSION_ID_NOVALID,
        errors.AuthenticationFailed: Status.AUTH_ERROR,
        errors.PermissionDenied: Status.AUTH_ERROR,
        errors.BadAudio: Status.REAL_TIME_CLIENT_ERROR_3,
        errors.UploadTooSlow: Status.SESSION_TIMEDOUT,
        errors.SlowReader: Status.CLIENT_ERROR,
        errors.RequestError: Status.ARGS_ERROR,
        errors.Overloaded: Status.REQ_TOO_MANY,
        errors.ModelUnavailable: Status.REAL_TIME_SERVER_ERROR_3,
        errors.ModelStoreError: Status.REAL_TIME_SERVER_ERROR_3,
        errors.SpeechError: Status.SERVER_ERROR,
    }
)
"""By the nearest class there is, upwards in the tree."""


@dataclass(frozen=True, slots=True)
class Command:
    """A client's text message. Ids are "" where it says none; `fields` is everything it says."""

    name: str = ""
    message_id: str = ""
    task_id: str = ""
    fields: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def starts(self) -> bool:
        """Whether it begins a session."""
        return self.name == START

    @property
    def stops(self) -> bool:
        """Whether it says that there is no more sound, in any of the ways that OddASR's versions have for it."""
        return self.name in {STOP, _STOP_SESSION} or self.fields.get("msg_type") == _STOP_SESSION

    def check_start(self) -> None:
        """Make sure that it begins a session. Raises InvalidParameter."""
        if self.starts:
            return
        told = f'The first message must be {{"name": "{START}"}}, without a header.'
        if "header" in self.fields:
            told += " This port speaks OddASR's protocol; Alibaba Cloud's is at /ws/v1 of the server's main port."
        raise InvalidParameter(told)


def read_command(text: str) -> Command:
    """What a text message says.

    Raises:
        InvalidParameter: it is no JSON object. The message itself is never repeated: it may hold keys.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidParameter(f"A text message has {MOST_CHARACTERS} characters at most.")
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidParameter("A text message must be a JSON object.")
    said = cast("Json", parsed)
    return Command(_id(said, "name"), _id(said, "message_id"), _id(said, "task_id"), said)


def _id(said: Json, key: str) -> str:
    value = said.get(key)
    return value[:_LONGEST_ID] if isinstance(value, str) else ""


# --- what clients are told --------------------------------------------------------------------------------------------


def acknowledged(command: Command, task_id: str, ignored: Iterable[str]) -> Json:
    """A session has begun. `ignored` are fields of the start that nobody here has heard of."""
    payload = _payload(0, 0, 0, "", final=True)
    if names := list(ignored):
        payload["ignored"] = names
    return {"header": _header(ACKNOWLEDGED, task_id, message_id=command.message_id), "payload": payload}


def changed(task_id: str, index: int, partial: Partial) -> Json:
    """A sentence so far, all of it."""
    begin, time = milliseconds(partial.start), milliseconds(partial.time)
    return {"header": _header(CHANGED, task_id), "payload": _payload(index, begin, time, partial.text, final=False)}


def sentence(
    task_id: str,
    index: int,
    begin: float,
    end: float,
    text: str,
    *,
    confidence: float | None = None,
    words: Iterable[Word] = (),
    speaker: str | None = None,
) -> Json:
    """A sentence, or the last message. `begin` and `end` are seconds of the session's sound."""
    payload = _payload(index, milliseconds(begin), milliseconds(end), text, final=True)
    if confidence is not None:
        payload["confidence"] = round(confidence, 3)
    payload["words"] = [_word(word) for word in words]
    if speaker is not None:
        payload["speaker"] = speaker
    return {"header": _header(ENDED, task_id), "payload": payload}


def failed(command: Command, task_id: str, error: SpeechError) -> Json:
    """What `command` asked for is not to be had. It is called what that was called, as OddASR does it."""
    status = _status(error)
    text = f"EM_ERR_ASR_{status.name}: {error.message}"
    name = "" if command.name in {ACKNOWLEDGED, CHANGED, ENDED} else command.name  # clients take those for a success
    header = _header(name, task_id or command.task_id, message_id=command.message_id, status=status.value, text=text)
    return {"header": header, "payload": _payload(0, 0, 0, "", final=True)}


def milliseconds(seconds: float) -> int:
    """Times on the wire are whole milliseconds, but for those of words."""
    return round(seconds * 1000)


def _status(error: SpeechError) -> Status:
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def _header(name: str, task_id: str, *, message_id: str = "", status: int = _SUCCESS, text: str = "") -> Json:
    return {
        "namespace": _NAMESPACE,
        "name": name,
        "status": status,
        "status_text": text,
        "task_id": task_id,
        "message_id": message_id,
    }


def _payload(index: int, begin: int, end: int, text: str, *, final: bool) -> Json:
    """`time` is the end, too: browsers show it as that."""
    return {
        "index": index,
        "time": end,
        "begin_time": begin,
        "end_time": end,
        "result": text,
        "confidence": 1.0,
        "fin": int(final),
        "words": [],
    }


def _word(word: Word) -> Json:
    """Times are seconds, as OddASR sends them here and nowhere else."""
    return {"word": word.text, "begin_time": round(word.start, 3), "end_time": round(word.end, 3)}
