"""The items of a session: stretches of speech that a client knows by id, each with one text."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain.errors import SpeechError
from app.domain.events import Final
from app.domain.transcript import Segment, join_texts
from app.protocols.openai.realtime import wire
from app.protocols.openai.realtime.wire import Message, new_id
from app.protocols.openai.wire import logprob_bodies


@dataclass(slots=True)
class Item:
    """What is known of one. `awaited` are the utterances whose text is not there yet, `said` what its deltas have told
    so far, `segments` come with how much later than its own sound each one's stream began."""

    id: str = field(default_factory=lambda: new_id("item"))
    committed: bool = False
    awaited: set[int] = field(default_factory=set[int])
    said: str = ""
    texts: list[str] = field(default_factory=list[str])
    languages: list[str] = field(default_factory=list[str])
    segments: list[tuple[Segment, float]] = field(default_factory=list[tuple[Segment, float]])
    seconds: float = 0.0

    def add(self, final: Final, offset: float) -> None:
        """The text of one of its utterances."""
        self.awaited.discard(final.index)
        if final.text:
            self.texts.append(final.text)
        if final.text and final.language and final.language not in self.languages:
            self.languages.append(final.language)
        worth_keeping = (one for one in final.segments if one.speaker is not None or one.logprobs)
        self.segments += [(segment, offset) for segment in worth_keeping]

    def completion(self, *, logprobs: bool) -> list[Message]:
        """Its last messages: all there is to say of it."""
        spoken = [(segment, offset) for segment, offset in self.segments if segment.speaker is not None]
        tokens = [token for segment, _ in self.segments for token in segment.logprobs]
        return [
            *(wire.segment(self.id, segment, offset) for segment, offset in spoken),
            wire.completed(
                self.id,
                join_texts(self.texts),
                self.seconds,
                self.languages,
                logprob_bodies(tokens) if logprobs else None,
            ),
        ]


class Conversation:
    """What outlasts a stream: a session may have several, one after the other, whose sound follows on.

    `flat`: the client knows the beta's messages. `offset` are the seconds of sound in all streams before, `cut` is up
    to where sound was committed or cleared (where the client does that), `open` what it has not yet committed.
    """

    def __init__(self, *, flat: bool) -> None:
        self.flat = flat
        self.offset = 0.0
        self.cut = 0.0
        self.open: Item | None = None
        self._last: str | None = None

    def opened(self) -> Item:
        """The item that the client's next commit ends."""
        if self.open is None:
            self.open = Item()
        return self.open

    def commit(self, item: Item) -> list[Message]:
        """An item is complete, but for its text."""
        item.committed = True
        previous, self._last = self._last, item.id
        return wire.committed(item.id, previous, flat=self.flat)

    def commit_open(self, end: float, *, logprobs: bool) -> list[Message]:
        """The client's commit of all sound up to `end` (seconds of the session)."""
        item, self.open = self.opened(), None
        item.seconds, self.cut = end - self.cut, end
        messages = self.commit(item)
        return messages if item.awaited else [*messages, *item.completion(logprobs=logprobs)]

    def fail_open(self, failure: SpeechError) -> list[Message]:
        """What the client has not committed and will not be heard: known to it if it has had deltas. Those of which
        some is still awaited are their stream's."""
        item, self.open = self.open, None
        return [wire.failed(item.id, failure)] if item is not None and item.said and not item.awaited else []

    def clear_open(self, end: float) -> None:
        """The client's clear of all sound up to `end`."""
        self.open, self.cut = None, end
