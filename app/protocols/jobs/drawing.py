"""What came of a job in each of the transcription route's formats, whichever was named when it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast, get_args

from app.domain.errors import InvalidParameter
from app.domain.options import RecognitionOptions
from app.domain.transcript import Transcript
from app.protocols.labels import Language
from app.protocols.openai.asking import lacks_speakers, warned
from app.protocols.openai.drawing import Look, drawn, label_of
from app.protocols.openai.speakers import DIARIZED
from app.protocols.openai.wishes import Wishes
from app.service.jobs.job import Drawing, Job

ResultFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]
PartialFormat: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
"""Speakers are told apart at the end."""
_FORMAT, _LABELS, _WORDS = "response_format", "labels", "words"
_LACKS_SPEAKERS, _TELLING_RESULT = "lacks_speakers", "webhook_result"
_FORMATS: Final[Mapping[str, ResultFormat]] = {name: name for name in get_args(ResultFormat)}


def drawing_of(wishes: Wishes, options: RecognitionOptions, language: Language, *, telling_result: bool) -> Drawing:
    """What is to be remembered of how a job's result is to look."""
    return {
        _FORMAT: wishes.format,
        _LABELS: language,
        _WORDS: wishes.words,
        _LACKS_SPEAKERS: lacks_speakers(wishes, options),
        _TELLING_RESULT: telling_result,
    }


def tells_result(job: Job) -> bool:
    """Whether its owner is to be sent its transcript."""
    return bool(job.request.drawing.get(_TELLING_RESULT))


def asked_format(job: Job) -> ResultFormat:
    """The format that was named when the job was asked for."""
    return _FORMATS.get(str(job.request.drawing.get(_FORMAT)), "json")


def check_format(job: Job, shape: ResultFormat) -> None:
    """That its result has what `shape` shows.

    Raises:
        InvalidParameter: it has not.
    """
    options = job.request.options
    if shape == DIARIZED and options.speakers is None and not options.split_channels:
        told = f"Speakers are not told apart in this job: it has no {DIARIZED}."
        raise InvalidParameter(told, param=_FORMAT)


def drawn_result(transcript: Transcript, job: Job, shape: ResultFormat) -> tuple[str, str]:
    """The transcript's text in the format `shape`, and its media type."""
    options, drawing = job.request.options, job.request.drawing
    label = label_of(shape, cast("Language", drawing.get(_LABELS) or "en"))
    look = Look(shape, label, options.task, bool(drawing.get(_WORDS)), options.logprobs)
    return drawn(warned(transcript) if drawing.get(_LACKS_SPEAKERS) else transcript, look)
