"""FlashRecognizer's result: sentences with times in whole milliseconds, of each channel by itself if that is wanted."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import BaseModel, Field

from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Word, join_words
from app.protocols.aliyun.rest.wire import SUCCESS
from app.protocols.aliyun.wire import Status, milliseconds
from app.protocols.words import bare_words

_UNITS = re.compile(r"(\s*)([^\s\u2e80-\uffff]+|\S)")
"""What a text without word times may be cut between: words of Latin letters, single characters of others."""
_BREATHS = tuple("。！？!?，、；：,;:")


class FlashWord(BaseModel):
    """A word without the marks round it; `punc` are those that follow it."""

    text: str
    begin_time: int
    end_time: int
    punc: str = ""


class FlashSentence(BaseModel):
    """A sentence, or a part of one; milliseconds of the recording."""

    text: str
    begin_time: int
    end_time: int
    channel_id: int
    words: list[FlashWord] | None = Field(None, description="With enable_word_level_result.")


class FlashResult(BaseModel):
    """What was said; milliseconds."""

    duration: int
    latency: int
    completed: bool = True
    sentences: list[FlashSentence]


class FlashBody(BaseModel):
    """The answer of FlashRecognizer."""

    task_id: str
    status: int = Status.SUCCESS.value
    message: str = SUCCESS
    flash_result: FlashResult
    warnings: list[str] | None = Field(None, description="What a reader should know; absent where that is nothing.")


def flash_body(
    task_id: str,
    transcript: Transcript,
    *,
    words: bool,
    longest: int | None,
    first_channel: bool,
    seconds: float,
    warnings: tuple[str, ...],
) -> FlashBody:
    """The transcript, whose recognition took `seconds`. `longest`: characters of a sentence, at most."""
    segments = [one for one in transcript.segments if one.text and not (first_channel and channel_of(one))]
    sentences = [
        FlashSentence(
            text=part.text,
            begin_time=milliseconds(part.start),
            end_time=milliseconds(max(part.start, part.end)),
            channel_id=channel_of(part),
            words=list(_flash_words(part.words)) if words else None,
        )
        for segment in segments
        for part in (parted(segment, longest) if longest else [segment])
    ]
    result = FlashResult(duration=milliseconds(transcript.duration), latency=milliseconds(seconds), sentences=sentences)
    return FlashBody(task_id=task_id, flash_result=result, warnings=list(warnings) or None)


def channel_of(segment: Segment) -> int:
    """Which channel says it, from 0. Where channels are kept apart, each is a speaker; mixed, they are one."""
    return segment.speaker.number if segment.speaker else 0


def parted(segment: Segment, longest: int) -> Iterator[Segment]:
    """The segment in parts of at most `longest` characters, a single longer word excepted; none of its text is lost.

    Parts end between words, preferably after a mark in their second half. Where word times are not known, a part's
    times are reckoned from where it stands in the text; where words do not add up to it (it has digits for what they
    spell), the part also decides which of them are its own.
    """
    if len(segment.text) <= longest:
        yield segment
    elif join_words(segment.words) == segment.text:
        yield from _cut(segment.words, longest, segment.speaker)
    else:
        yield from _dealt(list(_cut(_reckoned(segment), longest, segment.speaker)), segment.words)


def _cut(words: Sequence[Word], longest: int, speaker: Speaker | None) -> Iterator[Segment]:
    """Parts that these words make."""
    first = 0
    while first < len(words):
        count = _fitting(words[first : first + longest + 1], longest)
        some = tuple(words[first : first + count])
        yield Segment(some[0].start, some[-1].end, join_words(some), some, speaker)
        first += count


def _dealt(parts: Sequence[Segment], words: Sequence[Word]) -> Iterator[Segment]:
    """The parts with those `words` whose middle is within their times, and with the times of those; all are dealt."""
    rest, at = deque(words), parts[0].start
    for part in parts:
        some: list[Word] = []
        while rest and (part is parts[-1] or rest[0].start + rest[0].end < 2 * part.end):
            some.append(rest.popleft())
        end = max(at, some[-1].end if some else min(part.end, rest[0].start if rest else part.end))
        start = min(end, max(at, some[0].start if some else part.start))
        yield replace(part, start=start, end=end, words=tuple(some))
        at = end


def _fitting(words: Sequence[Word], longest: int) -> int:
    """How many words are the next part."""
    count, breath = 0, 0
    for end in range(1, len(words) + 1):
        length = len(join_words(tuple(words[:end])))
        if length > longest:
            return breath or max(1, count)
        count = end
        if length * 2 >= longest and words[end - 1].text.endswith(_BREATHS):
            breath = end
    return count


def _reckoned(segment: Segment) -> tuple[Word, ...]:
    """The text's words with times by their share of it."""
    length, seconds = len(segment.text), max(0.0, segment.end - segment.start)
    return tuple(
        Word(
            found[2],
            segment.start + seconds * found.start(2) / length,
            segment.start + seconds * found.end(2) / length,
            space_before=bool(found[1]),
        )
        for found in _UNITS.finditer(segment.text)
    )


def _flash_words(words: Sequence[Word]) -> Iterator[FlashWord]:
    """Words and the marks behind them. Marks before a word belong to the one before it, if there is one."""
    made: list[FlashWord] = []
    for word in words:
        bare = next(bare_words((word,)), None)
        before, _, after = word.text.partition(bare.text) if bare else (word.text, "", "")
        if made:
            made[-1].punc += before
        if bare:
            begin, end = milliseconds(word.start), milliseconds(max(word.start, word.end))
            made.append(FlashWord(text=bare.text, begin_time=begin, end_time=end, punc=after))
    yield from made
