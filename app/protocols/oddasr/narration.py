"""A session's events as its messages."""

from __future__ import annotations

from collections.abc import Iterator

from app.domain.events import Closed, Final, Partial, StreamEvent
from app.protocols.labels import Label, Language
from app.protocols.oddasr.wire import LAST_RESULT, Json, changed, sentence
from app.protocols.speaker_turns import by_speaker


class Narration:
    """One session's messages: sentences one after another, then the last one.

    Texts of a sentence replace each other, its SentenceEnd replaces them all. What turns out to be no speech is
    mentioned only where a text of it was told; its SentenceEnd then is empty. What several people say in one go is a
    sentence for each.
    """

    def __init__(self, task_id: str, label: Label, *, words: bool) -> None:
        """`words`: sentences come with their words."""
        self._task_id = task_id
        self._words = words
        self._label = label
        self._told = False
        self.sentences = 0
        """How many there were."""

    def messages(self, event: StreamEvent) -> Iterator[Json]:
        """What the client is told of an event."""
        if isinstance(event, Partial):
            if event.text:
                self._told = True
                yield changed(self._task_id, self.sentences + 1, event)
        elif isinstance(event, Final):
            if event.text or self._told:
                yield from self._sentences(event)
            self._told = False
        elif isinstance(event, Closed):
            yield sentence(self._task_id, self.sentences, event.seconds, event.seconds, LAST_RESULT)

    def _sentences(self, final: Final) -> Iterator[Json]:
        for part, speaker in by_speaker(final):
            self.sentences += 1
            yield sentence(
                self._task_id,
                self.sentences,
                part.start,
                part.end,
                part.text,
                confidence=part.confidence,
                words=part.words if self._words else (),
                speaker=None if speaker is None else self._label(speaker),
            )


def odd_label(language: Language) -> Label:
    """What speakers are called, as in OddASR's transcripts: by name, else 发言人 0, 发言人 1 ..., or Speaker 0 ..."""
    prefix = "Speaker" if language == "en" else "发言人"
    return lambda speaker: speaker.name or f"{prefix} {speaker.number}"
