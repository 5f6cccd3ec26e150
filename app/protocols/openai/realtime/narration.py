"""What a live stream says, as a session tells it."""

from __future__ import annotations

from collections import deque

from app.domain.errors import SpeechError
from app.domain.events import (
    Cleared,
    Closed,
    Committed,
    Final,
    Partial,
    SpeechStarted,
    SpeechStopped,
    StreamEvent,
)
from app.domain.transcript import separator
from app.protocols.deltas import missing
from app.protocols.openai.realtime import wire
from app.protocols.openai.realtime.items import Conversation, Item
from app.protocols.openai.realtime.plan import Plan
from app.protocols.openai.realtime.wire import Message


class Narration:
    """One stream's messages, in order.

    Where the server tells when turns end, every utterance is an item. Else an item is all that was said between two
    commits of the client's. Deltas tell what is stable while it is said, and at an utterance's end what they lack.
    """

    def __init__(self, conversation: Conversation, plan: Plan) -> None:
        self._conversation = conversation
        self._plan = plan
        self._items: dict[int, Item] = {}
        self._told: dict[int, str] = {}
        self._ended_at = 0.0
        self._commits: deque[str | None] = deque()

    def expect_commit(self, client_event: str | None) -> None:
        """The client has committed, in a message of that name."""
        self._commits.append(client_event)

    def tell(self, event: StreamEvent) -> list[Message]:
        """What there is to tell of `event`."""
        messages: list[Message] = []
        match event:
            case SpeechStarted():
                messages = self._start(event)
            case Partial():
                messages = self._grown(event)
            case SpeechStopped():
                messages = self._stop(event)
            case Final():
                messages = self._final(event)
            case Committed():
                messages = self._commit(event)
            case Cleared():
                messages = self._clear(event)
            case Closed():
                self._conversation.offset += event.seconds
        return messages

    def failed(self, failure: SpeechError) -> list[Message]:
        """That items the client knows of will have no text."""
        unfinished = {item.id: item for item in self._items.values()}
        known = [item for item in unfinished.values() if item.committed or item.said or not self._plan.manual]
        return [wire.failed(item.id, failure) for item in known]

    def _start(self, event: SpeechStarted) -> list[Message]:
        manual = self._plan.manual
        item = self._conversation.opened() if manual else Item()
        item.awaited.add(event.index)
        self._items[event.index] = item
        start = max(event.start - self._plan.prefix, self._ended_at, 0.0)
        return [] if manual else [wire.started(item.id, self._conversation.offset + start)]

    def _grown(self, event: Partial) -> list[Message]:
        item = self._items.get(event.index)
        before = self._told.get(event.index, "")
        more = event.stable[len(before) :]
        if item is None or not more.strip():  # a space alone goes with what follows it
            return []
        self._told[event.index] = event.stable
        return self._delta(item, more, begins=not before)

    def _stop(self, event: SpeechStopped) -> list[Message]:
        item = self._items.get(event.index)
        self._ended_at = event.end
        if item is None or self._plan.manual:
            return []
        stopped = wire.stopped(item.id, self._conversation.offset + event.end)
        return [stopped, *self._conversation.commit(item)]

    def _final(self, event: Final) -> list[Message]:
        item = self._items.pop(event.index, None)
        told = self._told.pop(event.index, "")
        if item is None:  # it was cleared
            return []
        rest = missing(told, event.text) if told else event.text
        messages = self._delta(item, rest, begins=not told) if rest.strip() else []
        item.add(event, self._conversation.offset)
        if not self._plan.manual:
            item.seconds = event.end - event.start
        if item.committed and not item.awaited:
            messages += item.completion(logprobs=self._plan.options.logprobs)
        return messages

    def _commit(self, event: Committed) -> list[Message]:
        client_event = self._commits.popleft() if self._commits else None
        if self._plan.manual:
            end = self._conversation.offset + event.time
            return self._conversation.commit_open(end, logprobs=self._plan.options.logprobs)
        if event.ended:
            return []  # it was told as every utterance's end is
        return [wire.nothing_to_commit("nobody speaks, and what was said before is committed.", client_event)]

    def _clear(self, event: Cleared) -> list[Message]:
        self._ended_at = event.time
        if self._plan.manual:
            gone = [index for index, item in self._items.items() if not item.committed]
            self._conversation.clear_open(self._conversation.offset + event.time)
        else:
            gone = [] if event.index is None else [event.index]
        for index in gone:
            self._items.pop(index, None)
            self._told.pop(index, None)
        return [wire.event_of("input_audio_buffer.cleared")]

    def _delta(self, item: Item, text: str, *, begins: bool) -> list[Message]:
        space = separator(item.said, text) if begins else ""
        item.said += space + text
        return [wire.delta(item.id, space + text)]
