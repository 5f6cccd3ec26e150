"""The shapes of Alibaba Cloud's speech protocol (NLS): commands that clients send, and what they are told."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, cast

from app.domain.events import Final, Partial
from app.domain.speakers import Speaker
from app.domain.transcript import Word
from app.protocols.labels import Label

Json: TypeAlias = dict[str, object]

MOST_CHARACTERS = 4 * 1024 * 1024
"""Of a command: thousands of hotwords have room in it."""
_LONGEST_ID = 128


class Status(Enum):
    """How a task, or a request, fares: as a number and a word."""

    SUCCESS = 20000000
    CLIENT_ERROR = 40000000
    ACCESS_DENIED = 40000001
    MESSAGE_INVALID = 40000002
    PARAMETER_INVALID = 40000003
    IDLE_TIMEOUT = 40000004
    TOO_MANY_REQUESTS = 40000005
    NAMESPACE_NOT_FOUND = 40010001
    DIRECTIVE_INVALID = 40010003
    TASK_STATE_ERROR = 40010005
    APPKEY_NOT_EXIST = 40020105
    NO_VALID_AUDIO = 40270002
    DECODE_ERROR = 40270003
    NO_AUDIO_STREAM = 40270004
    UNSUPPORTED_FORMAT = 41010100
    UNSUPPORTED_SAMPLE_RATE = 41010101
    TOO_LONG_SPEECH = 41010104
    GET_CLIENT_DATA_TIMEOUT = 41040201
    FILE_DOWNLOAD_FAILED = 41050002
    SERVER_ERROR = 50000000


class TaskFailure(Exception):  # noqa: N818 - it is called a failure on the wire
    """A task, or a single message, that comes to nothing. `text` is for the client."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Speech:
    """One of the two kinds of task: what its messages are called."""

    namespace: str
    start: str
    stop: str
    controls: frozenset[str]
    """Different SDKs say different words; none of them changes anything here."""
    started: str
    changed: str
    completed: str


TRANSCRIBER = Speech(
    "SpeechTranscriber",
    "StartTranscription",
    "StopTranscription",
    frozenset({"ControlTranscriber", "ControlTranscription"}),
    "TranscriptionStarted",
    "TranscriptionResultChanged",
    "TranscriptionCompleted",
)
"""Speech of any length, sentence by sentence."""
RECOGNIZER = Speech(
    "SpeechRecognizer",
    "StartRecognition",
    "StopRecognition",
    frozenset({"ControlRecognizer", "ControlRecognition"}),
    "RecognitionStarted",
    "RecognitionResultChanged",
    "RecognitionCompleted",
)
"""One sentence of up to a minute."""
_SPEECH = {speech.namespace: speech for speech in (TRANSCRIBER, RECOGNIZER)}


@dataclass(frozen=True, slots=True)
class Command:
    """What a client says in a text message. `task_id` is "" where it says none."""

    speech: Speech
    name: str
    task_id: str
    payload: Mapping[str, object] = field(default_factory=dict[str, object])


def read_command(text: str) -> Command:
    """The command in a text message.

    Raises:
        TaskFailure: it is none. The message itself is never repeated: it may hold keys.
    """
    if len(text) > MOST_CHARACTERS:
        raise TaskFailure(Status.MESSAGE_INVALID, f"A message has at most {MOST_CHARACTERS} characters.")
    try:
        message: object = json.loads(text)
    except (ValueError, RecursionError):
        raise TaskFailure(Status.MESSAGE_INVALID, "The message is not JSON.") from None
    header = _object(message, "header", "The message has no header.")
    payload = _object(message, "payload", "The payload is not an object.", needed=False)
    task_id = header.get("task_id")
    if task_id is not None and (not isinstance(task_id, str) or len(task_id) > _LONGEST_ID):
        raise TaskFailure(Status.MESSAGE_INVALID, f"task_id must be a text of at most {_LONGEST_ID} characters.")
    speech = _SPEECH.get(str(header.get("namespace")))
    if speech is None:
        raise TaskFailure(Status.DIRECTIVE_INVALID, f"Invalid namespace. There are {' and '.join(_SPEECH)}.")
    name = str(header.get("name"))
    if name not in {speech.start, speech.stop, *speech.controls}:
        told = f"Invalid message name. {speech.namespace} knows {speech.start} and {speech.stop}."
        raise TaskFailure(Status.DIRECTIVE_INVALID, told)
    return Command(speech, name, task_id or "", payload)


def stop_of(speech: Speech, task_id: str) -> str:
    """The message by which a client ends its task."""
    return json.dumps({"header": {"namespace": speech.namespace, "name": speech.stop, "task_id": task_id}})


def task_id_of(text: str) -> str:
    """The task_id of a message, whatever else is wrong with it; "" where it has none."""
    if len(text) > MOST_CHARACTERS:
        return ""
    try:
        header = cast("dict[str, dict[str, object]]", json.loads(text))["header"]
        return str(header.get("task_id") or "")[:_LONGEST_ID]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return ""


def _object(message: object, key: str, told: str, *, needed: bool = True) -> Mapping[str, object]:
    found = cast("Json", message).get(key) if isinstance(message, dict) else None
    if isinstance(found, dict):
        return cast("Json", found)
    if found is None and not needed and isinstance(message, dict):
        return {}
    raise TaskFailure(Status.MESSAGE_INVALID, told)


# --- what clients are told --------------------------------------------------------------------------------------------


def event(speech: Speech, name: str, task_id: str, payload: Json | None = None) -> Json:
    """Good news. Some have no payload at all."""
    message: Json = {"header": _header(speech.namespace, name, task_id, Status.SUCCESS, "Success.")}
    return message if payload is None else {**message, "payload": payload}


def failed(task_id: str, failure: TaskFailure) -> Json:
    """Bad news."""
    return {"header": _header("Default", "TaskFailed", task_id, failure.status, failure.text)}


def _header(namespace: str, name: str, task_id: str, status: Status, text: str) -> Json:
    """Both names of the status' text: documentation and funasr-api say status_message, SDKs read status_text."""
    return {
        "namespace": namespace,
        "name": name,
        "status": status.value,
        "message_id": uuid.uuid4().hex,
        "task_id": task_id,
        "status_message": f"GATEWAY|{status.name}|{text}",
        "status_text": f"Gateway:{status.name}:{text}",
    }


def sentence_changed(index: int, partial: Partial) -> Json:
    """A sentence so far."""
    return {
        "index": index,
        "time": milliseconds(partial.time),
        "result": partial.text,
        "confidence": 1.0,
        "words": [],
        "status": 0,
    }


def sentence_end(index: int, final: Final, words: Sequence[Word]) -> Json:
    """A sentence. What is foretold of the next one (`stash_result`) is nothing yet."""
    time = milliseconds(final.time)
    return {
        "index": index,
        "time": time,
        "begin_time": milliseconds(final.start),
        "result": final.text,
        # Clients in C++ want a fraction, and there is no word for "not known": as sure as can be.
        "confidence": 1.0 if final.confidence is None else round(float(final.confidence), 3),
        "words": [_word(word) for word in words],
        "status": 0,
        "gender": "",
        "gender_score": 0.0,
        "fixed_result": "",
        "unfixed_result": "",
        "audio_extra_info": "",
        "sentence_id": uuid.uuid4().hex,
        "stash_result": {
            "sentenceId": index + 1,
            "beginTime": time,
            "text": "",
            "fixedText": "",
            "unfixedText": "",
            "currentTime": time,
            "words": [],
        },
    }


def spoken_by(speaker: Speaker | None, label: Label) -> Json:
    """Who says a sentence, which the real service does not tell: what they are called, and a number from 0 that stays
    when they are known by name later. Nothing where nobody asked."""
    return {} if speaker is None else {"speaker": label(speaker), "speaker_id": speaker.number}


def _word(word: Word) -> Json:
    return {"text": word.text, "startTime": milliseconds(word.start), "endTime": milliseconds(word.end)}


def milliseconds(seconds: float) -> int:
    """Times on the wire are whole milliseconds: clients in Java and C++ take nothing else."""
    return round(seconds * 1000)
