"""The answers of whisper-asr-webservice, and how a transcript is drawn in them."""

from __future__ import annotations

from pydantic import BaseModel

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word
from app.protocols import rendering
from app.protocols.languages import language_name

UNDETERMINED = "und"
"""ISO-639's code where nobody speaks."""


class WordBody(BaseModel):
    """A word as Whisper has it: with the space before it. `probability` is the recogniser's, 0 to 1."""

    word: str
    start: float
    end: float
    probability: float | None = None
    speaker: str | None = None


class SegmentBody(BaseModel):
    """A segment: times in seconds, `seek` in hundredths. Figures that the recogniser has not got are left out."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    speaker: str | None = None
    words: list[WordBody] | None = None


class JsonBody(BaseModel):
    """output=json. `language` is an ISO-639 code, of the text: a translation's is English."""

    text: str
    segments: list[SegmentBody]
    language: str


class LanguageBody(BaseModel):
    """POST /detect-language. Where nobody speaks: unknown, und, 0."""

    detected_language: str
    language_code: str
    confidence: float


def label(speaker: Speaker) -> str:
    """What a speaker is called, as WhisperX numbers them."""
    return speaker.name or f"SPEAKER_{speaker.number:02d}"


def drawn(transcript: Transcript, output: str, *, words: bool, translated: bool) -> str:
    """The transcript as `output`, which is one of OUTPUTS."""
    match output:
        case "json":
            language = "en" if translated else transcript.language or UNDETERMINED
            segments = [_segment(number, one, words=words) for number, one in enumerate(transcript.segments)]
            body = JsonBody(text=transcript.text, segments=segments, language=language)
            return body.model_dump_json(exclude_none=True)
        case "srt":
            return rendering.srt(transcript, label)
        case "vtt":
            return rendering.vtt(transcript, label)
        case "tsv":
            return "start\tend\ttext\n" + "".join(map(_row, transcript.segments))
        case _:
            return rendering.spk(transcript, label)


def language_body(code: str | None, confidence: float) -> LanguageBody:
    """What is told of a language."""
    return LanguageBody(
        detected_language=language_name(code), language_code=code or UNDETERMINED, confidence=round(confidence, 4)
    )


def _segment(number: int, segment: Segment, *, words: bool) -> SegmentBody:
    return SegmentBody(
        id=number,
        seek=int(segment.start * 100),
        start=round(segment.start, 3),
        end=round(max(segment.start, segment.end), 3),
        text=segment.text,
        tokens=list(segment.tokens),
        temperature=segment.temperature,
        avg_logprob=_figure(segment.avg_logprob),
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_prob,
        speaker=label(segment.speaker) if segment.speaker else None,
        words=[_word(word) for word in segment.words] if words else None,
    )


def _figure(value: float | None) -> float | None:
    """JSON has no infinities."""
    return value if value is not None and value > float("-inf") else None


def _word(word: Word) -> WordBody:
    return WordBody(
        word=(" " if word.space_before else "") + word.text,
        start=round(word.start, 3),
        end=round(max(word.start, word.end), 3),
        probability=None if word.confidence is None else round(word.confidence, 4),
        speaker=label(word.speaker) if word.speaker else None,
    )


def _row(segment: Segment) -> str:
    """A line of tab-separated values, times in whole milliseconds; none without text."""
    text = " ".join(segment.text.split())
    if not text:
        return ""
    who = f"[{label(segment.speaker)}] " if segment.speaker else ""
    return f"{round(segment.start * 1000)}\t{round(max(segment.start, segment.end) * 1000)}\t{who}{text}\n"
