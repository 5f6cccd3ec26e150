"""A stream's events as a session's messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from app.domain.events import Closed, Final, Partial, SpeechStarted, StreamEvent
from app.domain.speakers import Speaker
from app.domain.transcript import Word
from app.protocols.labels import Label
from app.protocols.qwen.wire import (
    Details,
    FinalResult,
    PartialResult,
    Reason,
    SegmentResult,
    SegmentSummary,
    TimedWord,
    Turn,
    full_name,
)
from app.protocols.speaker_turns import by_speaker
from app.protocols.words import bare_words

Frame: TypeAlias = Mapping[str, object]
_HARDLY = 0.01
"""Seconds by which a silence may be shorter than it was to be: it is counted in hundredths."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a session is told.

    `silence` seconds end a segment, `chunk` seconds of sound are between two results of one, at least. `language` is
    the one that was asked for. `label` names speakers.
    """

    silence: float
    chunk: float
    words: bool
    language: str | None
    label: Label


class Narration:
    """One session's messages, in order. An utterance is a segment; one without words is none.

    After each `segment_end` comes the next segment's `segment_start`, as clients know it. What is not over when the
    client stops is the last segment, which only `final` tells: so a text that comes then is held back until it is known
    whether another follows.
    """

    def __init__(self, task_id: str, manner: Manner) -> None:
        self._task_id = task_id
        self._manner = manner
        self._segments: list[SegmentSummary] = []
        self._language = full_name(manner.language)
        self._chunks = 0
        self._told_at = 0.0
        self._shown = ""
        self._held: Final | None = None
        self._stopped = False

    @property
    def segments(self) -> int:
        """How many were told."""
        return len(self._segments)

    def stop(self) -> None:
        """The client has said everything."""
        self._stopped = True

    def tell(self, event: StreamEvent) -> list[Frame]:
        """What there is to tell of `event`."""
        match event:
            case Partial():
                return [*self._released(), *self._partial(event)]
            case SpeechStarted():
                return self._released()
            case Final():
                return [*self._released(), *self._final(event)]
            case Closed():
                return [self._last()]
            case _:
                return []

    def failed(self) -> list[Frame]:
        """What is still to be told of a session that fails here."""
        return self._released()

    # --- what is not over ---------------------------------------------------------------------------------------------

    def _partial(self, partial: Partial) -> list[Frame]:
        text = partial.text.strip()
        if not text or text == self._shown:
            return []
        if self._shown and partial.time < self._told_at + self._manner.chunk:
            return []
        self._told_at = partial.time
        return [self._result(text, partial.start)]

    def _result(self, text: str, start: float) -> Frame:
        self._shown = text
        self._chunks += 1
        result: PartialResult = {
            "text": self._whole(text),
            "current_segment_text": text,
            "language": self._language,
            "chunk_id": self._chunks,
            "is_partial": True,
            "segment_index": self.segments,
            "start": _seconds(start),
        }
        return self._frame(
            "result", results=[result], segment_index=self.segments, confirmed_segments_count=self.segments
        )

    # --- what is ------------------------------------------------------------------------------------------------------

    def _final(self, final: Final) -> list[Frame]:
        if not final.text.strip():
            taken_back = [self._result("", final.start)] if self._shown else []
            self._forget()
            return taken_back
        if final.time - final.end >= self._manner.silence - _HARDLY:
            return self._segment(final, "silence")
        if self._stopped:
            self._held = final
            return []
        return self._segment(final, "max_duration")

    def _released(self) -> list[Frame]:
        held, self._held = self._held, None
        return self._segment(held, "max_duration") if held else []

    def _segment(self, final: Final, reason: Reason) -> list[Frame]:
        index = self.segments
        summary = self._confirm(final, reason)
        self._forget()
        result: SegmentResult = {
            "text": self._whole(),
            "segment_text": summary["text"],
            "language": summary["language"],
            **self._details(final),
        }
        texts = [segment["text"] for segment in self._segments]
        return [
            self._frame("segment_end", segment_index=index, reason=reason, result=result, confirmed_texts=texts),
            self._frame("segment_start", segment_index=index + 1),
        ]

    def _last(self) -> Frame:
        held, self._held = self._held, None
        last = self._confirm(held, "final") if held else None
        details = self._details(held) if held else Details()
        result: FinalResult = {
            "text": last["text"] if last else "",
            "full_text": self._whole(),
            "language": self._language,
            "total_chunks": self._chunks + 1 if last else 0,
            "total_segments": self.segments,
            "segments": self._segments,
            **details,
        }
        return self._frame("final", result=result)

    def _confirm(self, final: Final, reason: Reason) -> SegmentSummary:
        self._language = full_name(final.language) or self._language
        summary: SegmentSummary = {
            "index": self.segments,
            "text": final.text.strip(),
            "language": self._language,
            "reason": reason,
            "start": _seconds(final.start),
            "end": _seconds(final.end),
        }
        speaker = _main_speaker(final)
        if speaker is not None:
            summary["speaker"], summary["speaker_id"] = self._manner.label(speaker), speaker.number
        self._segments.append(summary)
        return summary

    def _details(self, final: Final) -> Details:
        label = self._manner.label
        details: Details = {"start": _seconds(final.start), "end": _seconds(final.end)}
        speaker = _main_speaker(final)
        if speaker is not None:
            details["speaker"], details["speaker_id"] = label(speaker), speaker.number
            details["turns"] = [_turn(part, who, label) for part, who in by_speaker(final)]
        if self._manner.words:
            details["words"] = [_word(word, label) for word in bare_words(final.words)]
        if final.warnings:
            details["warnings"] = list(final.warnings)
        return details

    # ------------------------------------------------------------------------------------------------------------------

    def _whole(self, current: str = "") -> str:
        """All that was said, a segment a line."""
        texts = [*(segment["text"] for segment in self._segments), current]
        return "\n".join(text for text in texts if text)

    def _forget(self) -> None:
        self._shown, self._chunks, self._told_at = "", 0, 0.0

    def _frame(self, kind: str, **fields: object) -> Frame:
        return {"type": kind, "task_id": self._task_id, **fields}


def _main_speaker(final: Final) -> Speaker | None:
    """Who speaks longest; None where nobody asked."""
    spoken: Counter[Speaker] = Counter()
    for segment in final.segments:
        if segment.speaker is not None:
            spoken[segment.speaker] += round((segment.end - segment.start) * 1000)
    return spoken.most_common(1)[0][0] if spoken else None


def _turn(part: Final, speaker: Speaker | None, label: Label) -> Turn:
    return {
        "text": part.text.strip(),
        "start": _seconds(part.start),
        "end": _seconds(part.end),
        "speaker": None if speaker is None else label(speaker),
        "speaker_id": None if speaker is None else speaker.number,
    }


def _word(word: Word, label: Label) -> TimedWord:
    timed: TimedWord = {"text": word.text, "start": _seconds(word.start), "end": _seconds(word.end)}
    if word.speaker is not None:
        timed["speaker"] = label(word.speaker)
    return timed


def _seconds(time: float) -> float:
    return round(float(time), 3)
