"""A stream's events as a task's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from app.domain.events import Closed, Final, Partial, StreamEvent
from app.domain.transcript import join_texts
from app.protocols.aliyun.wire import (
    RECOGNIZER,
    TRANSCRIBER,
    Json,
    Status,
    TaskFailure,
    milliseconds,
    sentence_changed,
    sentence_end,
    spoken_by,
)
from app.protocols.labels import Label
from app.protocols.speaker_turns import by_speaker
from app.protocols.words import bare_words

LONGEST_SECONDS = 61.0
"""Of SpeechRecognizer's sound: a minute, and a message more."""
Message: TypeAlias = tuple[str, Json | None]
"""A name and a payload."""


class Rendering(Protocol):
    """One task's messages, as its stream's events come."""

    @property
    def sentences(self) -> int:
        """How many were told."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing more is to be told."""
        ...

    def messages(self, event: StreamEvent) -> Iterator[Message]:
        """What the client is told of an event. Raises TaskFailure."""
        ...

    def failed(self) -> list[Message]:
        """What it is told of what was heard before a failure, and not told yet."""
        ...


class Transcription:
    """SpeechTranscriber's: sentences one after another.

    What turns out to be no speech is never mentioned: a sentence begins with its first text. Texts of a sentence whose
    predecessor is still awaited wait, too: on the wire, each ends before the next begins. Where speakers are told, a
    sentence has one: what another says without a pause is the next one.
    """

    def __init__(self, *, intermediate: bool, words: bool, label: Label) -> None:
        self.sentences = 0
        self.over = False
        self._intermediate = intermediate
        self._words = words
        self._label = label
        self._current = 1
        self._begun = False
        self._early: dict[int, Partial] = {}

    def messages(self, event: StreamEvent) -> Iterator[Message]:
        """See Rendering."""
        if isinstance(event, Partial):
            yield from self._partial(event)
        elif isinstance(event, Final):
            yield from self._final(event)
        elif isinstance(event, Closed):
            self.over = True
            yield TRANSCRIBER.completed, None

    def failed(self) -> list[Message]:
        """See Rendering."""
        return []

    def _partial(self, partial: Partial) -> Iterator[Message]:
        if partial.index != self._current:
            self._early[partial.index] = partial
        elif partial.text:
            yield from self._begin(partial.start)
            if self._intermediate:
                yield TRANSCRIBER.changed, sentence_changed(self.sentences, partial)

    def _final(self, final: Final) -> Iterator[Message]:
        if final.text or self._begun:
            for part, speaker in by_speaker(final):
                yield from self._begin(part.start)
                words = tuple(bare_words(part.words)) if self._words else ()
                yield "SentenceEnd", sentence_end(self.sentences, part, words) | spoken_by(speaker, self._label)
                self._begun = False
        self._begun = False
        self._current = final.index + 1
        early = self._early.pop(self._current, None)
        if early is not None:
            yield from self._partial(early)

    def _begin(self, start: float) -> Iterator[Message]:
        if not self._begun:
            self._begun = True
            self.sentences += 1
            yield "SentenceBegin", {"index": self.sentences, "time": milliseconds(start)}


class Recognition:
    """SpeechRecognizer's: all that is said as one text, or (`ends_itself`) the first thing that is said."""

    def __init__(self, *, intermediate: bool, ends_itself: bool) -> None:
        self.over = False
        self._intermediate = intermediate
        self._ends_itself = ends_itself
        self._texts: dict[int, str] = {}
        self._until = 0.0

    @property
    def sentences(self) -> int:
        """See Rendering."""
        return sum(bool(text) for text in self._texts.values())

    def messages(self, event: StreamEvent) -> Iterator[Message]:
        """See Rendering."""
        if isinstance(event, Partial | Final):
            check_length(event.time)
            self._texts[event.index], self._until = event.text, event.time
        if isinstance(event, Partial):
            if self._intermediate:
                yield RECOGNIZER.changed, self._result(event.time)
        elif isinstance(event, Final) and event.text and self._ends_itself:
            yield from self._completed(event.time)
        elif isinstance(event, Closed):
            check_length(event.seconds)
            yield from self._completed(event.seconds)

    def failed(self) -> list[Message]:
        """See Rendering."""
        return [(RECOGNIZER.changed, self._result(self._until))] if self.sentences else []

    def _completed(self, seconds: float) -> Iterator[Message]:
        self.over = True
        yield RECOGNIZER.completed, self._result(seconds)

    def _result(self, seconds: float) -> Json:
        texts = (text for _, text in sorted(self._texts.items()))
        return {"result": join_texts(texts), "duration": milliseconds(seconds)}


def check_length(seconds: float) -> None:
    """SpeechRecognizer's sound has its limit. Raises TaskFailure."""
    if seconds > LONGEST_SECONDS:
        raise TaskFailure(Status.TOO_LONG_SPEECH, "SpeechRecognizer takes a minute of sound at most.")
