"""A finished transcript in each of OpenAI's formats."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from app.domain.options import Task
from app.domain.transcript import Transcript
from app.protocols import rendering
from app.protocols.labels import Label, Language, lettered, numbered
from app.protocols.openai.speakers import DIARIZED
from app.protocols.openai.wire import diarized_body, transcription_body, verbose_body

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Look:
    """How an answer looks: its format, what speakers are called, and whether it has words and token probabilities."""

    format: str
    label: Label
    task: Task = "transcribe"
    words: bool = False
    logprobs: bool = False


def label_of(shape: str, language: Language) -> Label:
    """What speakers are called in an answer of the format `shape`."""
    return lettered if shape == DIARIZED else numbered(language)


def drawn(transcript: Transcript, look: Look) -> tuple[str, str]:
    """The transcript's text in the format asked for, and its media type."""
    match look.format:
        case "text":
            return rendering.plain_text(transcript), "text/plain"
        case "srt":
            return rendering.srt(transcript, look.label), "text/plain"
        case "vtt":
            return rendering.vtt(transcript, look.label), "text/vtt"
        case _:
            return _body(transcript, look).model_dump_json(exclude_none=True), JSON


def _body(transcript: Transcript, look: Look) -> BaseModel:
    match look.format:
        case "verbose_json":
            return verbose_body(transcript, look.label, task=look.task, words=look.words, logprobs=look.logprobs)
        case "diarized_json":
            return diarized_body(transcript, look.label, task=look.task)
        case _:
            return transcription_body(transcript, logprobs=look.logprobs)
