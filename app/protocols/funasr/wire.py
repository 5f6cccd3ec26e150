"""What FunASR's clients are sent. Times are whole milliseconds of the utterance's own sound."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NotRequired, TypeAlias, TypedDict

from app.domain.errors import (
    AuthenticationFailed,
    BadAudio,
    InvalidParameter,
    ModelStoreError,
    ModelUnavailable,
    Overloaded,
    RequestError,
    SpeechError,
    StorageFull,
)
from app.domain.speakers import Speaker
from app.domain.transcript import Segment
from app.protocols.deltas import tokens
from app.protocols.funasr.opening import Mode, OtherDialect
from app.protocols.labels import Label

ResultMode: TypeAlias = Literal["offline", "online", "2pass-online", "2pass-offline"]
Pair: TypeAlias = tuple[int, int]


class StampedSentence(TypedDict):
    """A stretch of text up to a mark: its words separated by spaces, the mark, and each word's start and end; who says
    it, where that was asked."""

    text_seg: str
    punc: str
    start: int
    end: int
    ts_list: list[Pair]
    spk: NotRequired[int]
    spk_name: NotRequired[str]


class ErrorDetail(TypedDict):
    """Why there is no result, as funasr-python reads it; `details` has the code that other protocols use here."""

    code: str
    message: str
    details: dict[str, object]


class Message(TypedDict):
    """A message to the client. `timestamp` is JSON in a string, a pair for every word of `text`: clients insist.
    `spk` is a speaker's number from 0, `spk_name` what they are called."""

    mode: ResultMode | Mode
    text: str
    wav_name: str
    is_final: bool
    is_end: NotRequired[bool]
    timestamp: NotRequired[str]
    stamp_sents: NotRequired[list[StampedSentence]]
    spk: NotRequired[int]
    spk_name: NotRequired[str]
    error: NotRequired[ErrorDetail]


LAST_MODE: MappingProxyType[Mode, ResultMode] = MappingProxyType(
    {"offline": "offline", "online": "online", "2pass": "2pass-offline"}
)
"""What the last result's mode is."""

_CODES: MappingProxyType[type[SpeechError], str] = MappingProxyType(
    {
        AuthenticationFailed: "AUTHENTICATION_FAILED",
        Overloaded: "SERVICE_OVERLOADED",
        ModelUnavailable: "SERVICE_UNAVAILABLE",
        ModelStoreError: "SERVICE_UNAVAILABLE",
        StorageFull: "SERVICE_UNAVAILABLE",
        BadAudio: "AUDIO_DATA_CORRUPTED",
        OtherDialect: "PROTOCOL_ERROR",
    }
)
"""funasr-python's names for what went wrong; for a leaf that is not here its nearest ancestor's."""

_MARKS = re.compile(r"[，。？！、；：…—]|[,.?!;:](?!\w)")
"""Not the point of 3.5, nor the comma of 1,000."""
_RATE_FIELD = "audio_fs"


def result(mode: ResultMode, text: str, wav_name: str, *, final: bool) -> Message:
    """Recognised text. `final` is the last message of what the client sent."""
    return {"mode": mode, "text": text, "wav_name": wav_name, "is_final": final}


def stamped(message: Message, segments: Iterable[Segment], label: Label) -> Message:
    """The message with the times of its words, as far as they are known, and with who says them, where that is: the
    message's own speaker is whoever says most of it."""
    spoken = [segment for segment in segments if segment.text.strip()]
    sentences = [sentence for segment in spoken for sentence in _sentences(segment, label)]
    if sentences:
        message["stamp_sents"] = sentences
    pairs = [pair for sentence in sentences for pair in sentence["ts_list"]]
    if pairs and all(segment.words for segment in spoken):
        message["timestamp"] = json.dumps(pairs, separators=(",", ":"))
    return voiced(message, spoken, label)


def voiced(message: Message, segments: Iterable[Segment], label: Label) -> Message:
    """The message with whoever says most of these segments, if that is known."""
    shares: dict[int, float] = {}
    speakers: dict[int, Speaker] = {}
    for segment in segments:
        if segment.speaker is not None:
            number = segment.speaker.number
            shares[number] = shares.get(number, 0.0) + segment.end - segment.start
            speakers[number] = segment.speaker  # the latest, who may have a name by now
    if shares:
        speaker = speakers[max(shares, key=shares.__getitem__)]
        message["spk"], message["spk_name"] = speaker.number, label(speaker)
    return message


def acknowledgement(mode: Mode, wav_name: str) -> Message:
    """That everything was heard to the end."""
    return {"mode": mode, "text": "", "wav_name": wav_name, "is_final": True, "is_end": True}


def failure(error: SpeechError, mode: Mode, wav_name: str) -> Message:
    """That there will be no (more) text. It is the end, but not final: nobody may take it for a result."""
    message = acknowledgement(mode, wav_name)
    message["is_final"] = False
    message["error"] = error_detail(error)
    return message


def error_detail(error: SpeechError) -> ErrorDetail:
    """An error of the tree as FunASR's clients read it: the one place that knows their codes."""
    details: dict[str, object] = {"code": error.code}
    if isinstance(error, RequestError) and error.param is not None:
        details["param"] = error.param
    if isinstance(error, Overloaded | ModelUnavailable):
        details["retry_after"] = error.retry_after
    return {"code": _code(error), "message": error.message, "details": details}


def _code(error: SpeechError) -> str:
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    if isinstance(error, InvalidParameter) and error.param in {None, _RATE_FIELD}:
        return "INVALID_SAMPLE_RATE" if error.param else "INVALID_MESSAGE_FORMAT"
    return error.code.upper() if isinstance(error, RequestError) else "INTERNAL_SERVER_ERROR"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    span: Pair | None
    mark: str


def _sentences(segment: Segment, label: Label) -> Iterator[StampedSentence]:
    pending: list[_Token] = []
    for token in _timed(segment):
        pending.append(token)
        if token.mark:
            yield _sentence(pending, segment, label)
            pending = []
    if pending:
        yield _sentence(pending, segment, label)


def _sentence(found: list[_Token], segment: Segment, label: Label) -> StampedSentence:
    spans = [token.span for token in found if token.span is not None]
    sentence: StampedSentence = {
        "text_seg": " ".join(token.text for token in found),
        "punc": found[-1].mark,
        "start": spans[0][0] if spans else _ms(segment.start),
        "end": spans[-1][1] if spans else _ms(segment.end),
        "ts_list": spans,
    }
    if segment.speaker is not None:
        sentence["spk"], sentence["spk_name"] = segment.speaker.number, label(segment.speaker)
    return sentence


def _timed(segment: Segment) -> Iterator[_Token]:
    """Every word of the segment, with the mark that follows it. Words of several tokens share their time evenly."""
    if not segment.words:
        yield from _cut(segment.text, None)
    for word in segment.words:
        yield from _cut(word.text, (_ms(word.start), _ms(word.end)))


def _cut(text: str, span: Pair | None) -> Iterator[_Token]:
    found = tokens(text)
    for place, token in enumerate(found):
        following = found[place + 1].start() if place + 1 < len(found) else len(text)
        mark = _MARKS.search(text, token.end())
        share = None if span is None else _share(span, place, len(found))
        yield _Token(token[0], share, mark[0] if mark and mark.start() < following else "")


def _share(span: Pair, place: int, count: int) -> Pair:
    start, end = span
    length = max(0, end - start)
    return start + length * place // count, start + length * (place + 1) // count


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
