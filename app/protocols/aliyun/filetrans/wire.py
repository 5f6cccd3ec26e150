"""The shapes of Alibaba's file transcription: answers to polls, and what is sent to a callback, which has two."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.domain.transcript import Segment, Transcript
from app.protocols.aliyun.filetrans.statuses import FileStatus
from app.protocols.aliyun.rest.flash import channel_of, parted
from app.protocols.aliyun.rest.wire import task_id_of
from app.protocols.aliyun.wire import Json, milliseconds
from app.protocols.words import bare_words
from app.service.jobs.job import Drawing

VERSIONS = ("2.0", "4.0")
"""Of the service; they differ in what is sent to callbacks. Without a word about it, it is the first."""
_UNITS = re.compile(r"[^\s\u2e80-\uffff]+|\S")
"""What SpeechRate counts: words of Latin letters, single characters of others, marks among them as there."""
_SINGLE_CHANNEL = "single_channel"
"""A warning about what nobody asked for: one channel is one channel."""
_CAPITALS = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Shown:
    """How a task's result is to be drawn. `longest`: characters of a sentence, at most (0: as long as it is)."""

    version: str = VERSIONS[0]
    words: bool = False
    longest: int = 0
    first_channel: bool = False

    def drawing(self) -> Drawing:
        """As a job remembers it."""
        return {
            "version": self.version,
            "words": self.words,
            "longest": self.longest,
            "first_channel": self.first_channel,
        }


def shown_of(drawing: Drawing) -> Shown:
    """What `Shown.drawing` made."""
    return Shown(
        str(drawing.get("version", VERSIONS[0])),
        bool(drawing.get("words")),
        int(drawing.get("longest") or 0),
        bool(drawing.get("first_channel")),
    )


def request_id_of(scope: Scope) -> str:
    """The request's id as Alibaba's gateway writes them: a UUID in capital letters."""
    state: Mapping[str, object] = scope.get("state", {})
    return str(uuid.UUID(task_id_of(str(state.get("request_id", "-"))))).upper()


def status_body(task_id: str, request_id: str, status: FileStatus, why: str = "") -> Json:
    """A status, and why it is that, for which the cloud has no field."""
    body: Json = {
        "TaskId": task_id,
        "RequestId": request_id,
        "StatusText": status.name,
        "StatusCode": status.value,
    }
    return body | ({"Message": why} if why else {})


def status_answer(task_id: str, request_id: str, status: FileStatus, why: str = "") -> Response:
    """A status by itself. HTTP's is 200 whatever it is: clients read StatusText."""
    return JSONResponse(status_body(task_id, request_id, status, why))


def result_of(transcript: Transcript, shown: Shown) -> Json:
    """`Result`: sentences, and words where they are wanted."""
    segments = [one for one in transcript.segments if one.text and not (shown.first_channel and channel_of(one))]
    longest = shown.longest
    parts = [part for segment in segments for part in (parted(segment, longest) if longest else [segment])]
    result: Json = {"Sentences": list(_sentences(parts))}
    if shown.words:
        result["Words"] = list(_words(segments))
    return result


def warnings_of(transcript: Transcript) -> list[str]:
    """What a reader should know."""
    return [warning for warning in transcript.warnings if warning != _SINGLE_CHANNEL]


def legacy(body: Json) -> Json:
    """What version 2.0 sends to a callback: other names, and the sentences right in `result`."""
    drawn: Json = {_snake(key): value for key, value in body.items() if key != "Result"}
    if "Result" in body:
        result = cast("Mapping[str, list[Json]]", body["Result"])
        drawn["result"] = _renamed(result["Sentences"])
        if "Words" in result:  # which had no place there
            drawn["words"] = _renamed(result["Words"])
    return drawn


def _renamed(some: Iterable[Json]) -> list[Json]:
    return [{_snake(key): value for key, value in one.items()} for one in some]


def _snake(name: str) -> str:
    return _CAPITALS.sub("_", name).lower()


def _sentences(segments: Iterable[Segment]) -> Iterator[Json]:
    """EmotionValue, a tenth of the volume in dB, is left out: nothing here measures that."""
    ends: dict[int, float] = {}
    for segment in segments:
        channel, start, end = channel_of(segment), segment.start, max(segment.start, segment.end)
        silence = max(0.0, start - ends.get(channel, 0.0))
        ends[channel] = max(end, ends.get(channel, 0.0))
        units = len(_UNITS.findall(segment.text))
        yield {
            "ChannelId": channel,
            "BeginTime": milliseconds(start),
            "EndTime": milliseconds(end),
            "Text": segment.text,
            "SilenceDuration": int(silence),
            "SpeechRate": int(units * 60 / (end - start)) if end > start else 0,
        }


def _words(segments: Iterable[Segment]) -> Iterator[Json]:
    for segment in segments:
        for word in bare_words(segment.words):
            yield {
                "ChannelId": channel_of(segment),
                "Word": word.text,
                "BeginTime": milliseconds(word.start),
                "EndTime": milliseconds(max(word.start, word.end)),
            }
