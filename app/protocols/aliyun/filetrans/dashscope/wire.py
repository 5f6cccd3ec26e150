"""The shapes of DashScope's transcription: a task, and the transcript that is fetched from an address of its own."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from app.domain.transcript import Segment, Transcript, Word, join_texts
from app.protocols.aliyun.filetrans.dashscope.errors import NO_SPEECH, failure_code
from app.protocols.aliyun.rest.flash import channel_of
from app.protocols.aliyun.wire import Json, milliseconds
from app.protocols.words import bare_words
from app.service.jobs.job import ENDED, Drawing, Failure, Job, State

MOST_CHANNELS = 8
"""As many as a recording's channels may be kept apart."""
DIALECT = "dashscope"
STATUSES: MappingProxyType[State, str] = MappingProxyType(
    {
        "queued": "PENDING",
        "running": "RUNNING",
        "succeeded": "SUCCEEDED",
        "failed": "FAILED",
        "cancelled": "CANCELED",
    }
)
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Shown:
    """How a task's result is to be drawn. Who knows `secret` may fetch it. With `speakers`, all channels are one."""

    secret: str
    channels: Sequence[int] = (0,)
    speakers: bool = False

    def drawing(self) -> Drawing:
        """As a job remembers it."""
        channels = ",".join(map(str, self.channels))
        return {"dialect": DIALECT, "secret": self.secret, "channels": channels, "speakers": self.speakers}


def is_task(job: Job) -> bool:
    """Whether it was asked for in this protocol."""
    return job.request.face == "aliyun" and job.request.drawing.get("dialect") == DIALECT


def is_secret(job: Job, said: str) -> bool:
    """Whether it is the one of a job's result."""
    kept = str(job.request.drawing.get("secret", ""))
    return bool(kept) and hmac.compare_digest(said.encode(errors="replace"), kept.encode())


def task_output(job: Job, result_url: str) -> Json:
    """`output` of a task. Its transcript is at `result_url`, once it has succeeded."""
    output: Json = {
        "task_id": job.id,
        "task_status": STATUSES[job.state],
        "submit_time": _time(job.created),
    }
    if job.started is not None:
        output["scheduled_time"] = _time(job.started)
    if job.state not in ENDED:
        return output
    output["end_time"] = _time(job.ended or job.created)
    done = job.state == "succeeded"
    result: Json = {"file_url": job.request.address or ""}
    if done:
        result["transcription_url"] = result_url
    elif job.state == "failed":
        failure = job.failure or Failure("SpeechError", "server_error", "It failed.")
        told: Json = {"code": failure_code(failure), "message": failure.message}
        result |= told
        output |= told
    result["subtask_status"] = STATUSES[job.state]
    output["results"] = [result]
    output["task_metrics"] = {"TOTAL": 1, "SUCCEEDED": int(done), "FAILED": int(not done)}
    return output


def transcription(job: Job, transcript: Transcript) -> Json:
    """What lies at the address of a task's result: the cloud's fields but for those about the file's own format, which
    is not kept."""
    drawing = job.request.drawing
    speakers = bool(drawing.get("speakers"))
    channels = [0] if speakers else [int(one) for one in str(drawing.get("channels", "0")).split(",")]
    segments = [segment for segment in transcript.segments if segment.text]
    transcripts = [
        _channel(channel, [one for one in segments if speakers or channel_of(one) == channel], speakers=speakers)
        for channel in channels
    ]
    body: Json = {
        "file_url": job.request.address or "",
        "properties": {"channels": channels, "original_duration_in_milliseconds": milliseconds(transcript.duration)},
        "transcripts": transcripts,
    }
    return body if any(one["sentences"] for one in transcripts) else body | {"code": NO_SPEECH}


def _channel(channel: int, segments: Sequence[Segment], *, speakers: bool) -> Json:
    spoken = sum(max(0.0, one.end - one.start) for one in segments)
    return {
        "channel_id": channel,
        "content_duration_in_milliseconds": milliseconds(spoken),
        "text": join_texts(one.text for one in segments),
        "sentences": [_sentence(number, one, speakers=speakers) for number, one in enumerate(segments, 1)],
    }


def _sentence(number: int, segment: Segment, *, speakers: bool) -> Json:
    spoken_by: Json = {"speaker_id": segment.speaker.number} if speakers and segment.speaker else {}
    return {
        "begin_time": milliseconds(segment.start),
        "end_time": milliseconds(max(segment.start, segment.end)),
        "text": segment.text,
        "sentence_id": number,
        **spoken_by,
        "words": list(_words(segment.words)),
    }


def _words(words: Sequence[Word]) -> Iterator[Json]:
    """Each with the marks behind it; a space before it stands in its text, as in the cloud."""
    for place, word in enumerate(words):
        bare = next(bare_words((word,)), None)
        text, _, marks = word.text.partition(bare.text) if bare else (word.text, "", "")
        said = f"{text}{bare.text}" if bare else text
        yield {
            "begin_time": milliseconds(word.start),
            "end_time": milliseconds(max(word.start, word.end)),
            "text": (" " if place and word.space_before else "") + said,
            "punctuation": marks,
        }


def _time(seconds: float) -> str:
    """Of the server's time zone, as the cloud's is of its own."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
