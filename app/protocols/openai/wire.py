"""The shapes of OpenAI's audio answers, and how a transcript is drawn in them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel

from app.domain.options import Task
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, TokenLogprob, Transcript, Usage, Word
from app.protocols.labels import Label
from app.protocols.languages import language_name

OWNER = "speech-server"
_OPENING = "\"'“‘¿¡([{-—–«「『（【《〈…"
_CLOSING = "\"'”’.,;:!?)]}-—–»」』）】》〉。，、；：！？…·~～"
_LEAST_LOGPROB = -9999.0
"""JSON has no minus infinity; this is what OpenAI prints for it."""


class LogprobBody(BaseModel):
    """One token and its natural-log probability."""

    token: str
    bytes: list[int]
    logprob: float


class LanguageBody(BaseModel):
    """A language that was heard."""

    code: str


class DurationUsage(BaseModel):
    """Usage in started seconds of audio."""

    type: Literal["duration"] = "duration"
    seconds: int


class TokenDetails(BaseModel):
    """What the input tokens were."""

    audio_tokens: int
    text_tokens: int


class TokenUsage(BaseModel):
    """Usage in the recogniser's own tokens."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: TokenDetails


class HotwordBody(BaseModel):
    """One of the request's hotwords that stands in the text: how often, and how often only after correction."""

    text: str
    count: int
    corrected: int


class TranscriptionBody(BaseModel):
    """response_format=json."""

    text: str
    languages: list[LanguageBody]
    logprobs: list[LogprobBody] | None = None
    hotwords: list[HotwordBody] | None = None
    usage: DurationUsage
    warnings: list[str] | None = None


class SegmentBody(BaseModel):
    """A segment of verbose_json: times in seconds, `seek` in hundredths."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    speaker: str | None = None


class WordBody(BaseModel):
    """A word of verbose_json, without the punctuation around it. `confidence` is the recogniser's, 0 to 1."""

    word: str
    start: float
    end: float
    speaker: str | None = None
    confidence: float | None = None


class VerboseBody(BaseModel):
    """response_format=verbose_json. `language` is a lower-case English name; `languages` has its code."""

    task: Task
    language: str
    duration: float
    text: str
    segments: list[SegmentBody]
    words: list[WordBody] | None = None
    languages: list[LanguageBody]
    logprobs: list[LogprobBody] | None = None
    hotwords: list[HotwordBody] | None = None
    usage: DurationUsage
    model: str
    warnings: list[str] | None = None


class DiarizedSegmentBody(BaseModel):
    """A segment of diarized_json, and (server-sent) one that has become final: who said what, in seconds."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str


class DiarizedBody(BaseModel):
    """response_format=diarized_json."""

    task: Task
    duration: float
    text: str
    segments: list[DiarizedSegmentBody]
    languages: list[LanguageBody]
    hotwords: list[HotwordBody] | None = None
    usage: TokenUsage
    model: str
    warnings: list[str] | None = None


class DeltaEvent(BaseModel):
    """Server-sent: text that has become final. All deltas together are the done event's text."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: list[LogprobBody] | None = None
    segment_id: str | None = None


class DoneEvent(BaseModel):
    """Server-sent: the whole text, after the last delta."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    languages: list[LanguageBody]
    logprobs: list[LogprobBody] | None = None
    hotwords: list[HotwordBody] | None = None
    usage: TokenUsage


class ModelBody(BaseModel):
    """A model that answers now."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = OWNER
    shutdown_date: str | None = None
    description: str


class ModelList(BaseModel):
    """GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class DeletedModelBody(BaseModel):
    """A model that does not answer any more, and whose memory is free."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True


class ErrorDetail(BaseModel):
    """What went wrong; `param` names the field at fault, if one is."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The envelope of every error."""

    error: ErrorDetail


def transcription_body(transcript: Transcript, *, logprobs: bool) -> TranscriptionBody:
    """The transcript as response_format=json."""
    return TranscriptionBody(
        text=transcript.text,
        languages=languages(transcript),
        logprobs=transcript_logprobs(transcript) if logprobs else None,
        hotwords=hotword_bodies(transcript),
        usage=duration_usage(transcript),
        warnings=list(transcript.warnings) or None,
    )


def verbose_body(transcript: Transcript, label: Label, *, task: Task, words: bool, logprobs: bool) -> VerboseBody:
    """The transcript as response_format=verbose_json. A translation's language is English, whatever was spoken."""
    return VerboseBody(
        task=task,
        language="english" if task == "translate" else language_name(transcript.language),
        duration=_seconds(transcript.duration),
        text=transcript.text,
        segments=[_segment(number, segment, label) for number, segment in enumerate(transcript.segments)],
        words=list(word_bodies(transcript.words, label)) if words else None,
        languages=languages(transcript),
        logprobs=transcript_logprobs(transcript) if logprobs else None,
        hotwords=hotword_bodies(transcript),
        usage=duration_usage(transcript),
        model=transcript.model,
        warnings=list(transcript.warnings) or None,
    )


def diarized_body(transcript: Transcript, label: Label, *, task: Task) -> DiarizedBody:
    """The transcript as response_format=diarized_json."""
    return DiarizedBody(
        task=task,
        duration=_seconds(transcript.duration),
        text=transcript.text,
        segments=[diarized_segment(number, segment, label) for number, segment in enumerate(transcript.segments)],
        languages=languages(transcript),
        hotwords=hotword_bodies(transcript),
        usage=token_usage(transcript.usage),
        model=transcript.model,
        warnings=list(transcript.warnings) or None,
    )


def diarized_segment(number: int, segment: Segment, label: Label) -> DiarizedSegmentBody:
    """One segment with its speaker; `number` counts from 0."""
    return DiarizedSegmentBody(
        id=segment_id(number),
        start=_seconds(segment.start),
        end=_seconds(max(segment.start, segment.end)),
        text=segment.text,
        speaker=label(segment.speaker or Speaker(0)),
    )


def segment_id(number: int) -> str:
    """What a diarized segment is called: seg_001, seg_002, ..."""
    return f"seg_{number + 1:03d}"


def word_bodies(words: Iterable[Word], label: Label) -> Iterable[WordBody]:
    """Words without the punctuation around them; what is punctuation alone is no word."""
    for word in words:
        bare = word.text.strip().lstrip(_OPENING).rstrip(_CLOSING).strip()
        if bare:
            speaker = label(word.speaker) if word.speaker else None
            end = _seconds(max(word.start, word.end))
            sure = None if word.confidence is None else round(word.confidence, 4)
            yield WordBody(word=bare, start=_seconds(word.start), end=end, speaker=speaker, confidence=sure)


def languages(transcript: Transcript) -> list[LanguageBody]:
    """The language heard; empty when nothing was said."""
    return [LanguageBody(code=transcript.language)] if transcript.language else []


def hotword_bodies(transcript: Transcript) -> list[HotwordBody] | None:
    """The request's hotwords that stand in the text; None, and no field, where there are none."""
    return [HotwordBody(text=hit.text, count=hit.count, corrected=hit.corrected) for hit in transcript.hotwords] or None


def transcript_logprobs(transcript: Transcript) -> list[LogprobBody]:
    """Every token of the recording."""
    return [body for segment in transcript.segments for body in logprob_bodies(segment.logprobs)]


def logprob_bodies(tokens: Iterable[TokenLogprob]) -> list[LogprobBody]:
    """Tokens as they go on the wire."""
    return [
        LogprobBody(token=token.token, bytes=list(token.utf8), logprob=_finite(token.logprob, _LEAST_LOGPROB))
        for token in tokens
    ]


def duration_usage(transcript: Transcript) -> DurationUsage:
    """Usage in started seconds."""
    return DurationUsage(seconds=math.ceil(transcript.usage.audio_seconds or transcript.duration))


def token_usage(usage: Usage) -> TokenUsage:
    """Usage in tokens, as the recogniser counted them."""
    heard = usage.audio_tokens + usage.prompt_tokens
    return TokenUsage(
        input_tokens=heard,
        output_tokens=usage.output_tokens,
        total_tokens=heard + usage.output_tokens,
        input_token_details=TokenDetails(audio_tokens=usage.audio_tokens, text_tokens=usage.prompt_tokens),
    )


def _segment(number: int, segment: Segment, label: Label) -> SegmentBody:
    return SegmentBody(
        id=number,
        seek=int(segment.start * 100),
        start=_seconds(segment.start),
        end=_seconds(max(segment.start, segment.end)),
        text=segment.text,
        tokens=list(segment.tokens),
        temperature=_finite(segment.temperature, 0.0),
        avg_logprob=_finite(segment.avg_logprob, 0.0),
        compression_ratio=_finite(segment.compression_ratio, _compression_ratio(segment.text)),
        no_speech_prob=_finite(segment.no_speech_prob, 0.0),
        speaker=label(segment.speaker) if segment.speaker else None,
    )


def _compression_ratio(text: str) -> float:
    """How much a text shrinks when compressed: Whisper's sign of a loop, and a fact of any text."""
    utf8 = text.encode()
    return round(len(utf8) / len(zlib.compress(utf8)), 4)


def _seconds(value: float) -> float:
    """Milliseconds are as fine as any recogniser hears."""
    return round(value, 3)


def _finite(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not math.isfinite(value) else value
