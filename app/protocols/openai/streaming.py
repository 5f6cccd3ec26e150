"""Recognition while the caller listens: server-sent events, and an end to the work when the caller leaves."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pydantic import BaseModel

from app.domain.errors import EngineFailure, SpeechError
from app.domain.transcript import Segment, Spoken, Transcript, separator
from app.protocols import event_stream
from app.protocols.connected import end
from app.protocols.labels import Label
from app.protocols.openai.errors import envelope, internal_envelope
from app.protocols.openai.wire import (
    DeltaEvent,
    DoneEvent,
    diarized_segment,
    hotword_bodies,
    languages,
    logprob_bodies,
    segment_id,
    token_usage,
    transcript_logprobs,
)

FAREWELL_SECONDS = 1.0
"""More than a service needs after its last word; the caller is waiting for the end of the stream."""
DONE = b"data: [DONE]\n\n"

Item = Segment | Spoken | Transcript
_logger = logging.getLogger(__name__)


class Feed:
    """Segments and text as the service has them, made by one task so that its clean-up runs where its work ran.

    `resources` are freed when the feed closes.
    """

    def __init__(self, items: AsyncIterator[Item], resources: AsyncExitStack) -> None:
        self._resources = resources
        # Unbounded: the whole transcript is small, and a slow reader must not hold back a recogniser.
        self._ready: deque[Item | None] = deque()
        self._any = asyncio.Event()
        self._pump = asyncio.create_task(self._run(items))
        self._pump.add_done_callback(lambda _: self._put(None))

    async def _run(self, items: AsyncIterator[Item]) -> None:
        try:
            async for item in items:
                self._put(item)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    def _put(self, item: Item | None) -> None:
        """For the reader; who reads slowly gets text in larger stretches instead of many small ones."""
        if isinstance(item, Spoken) and self._ready and isinstance(before := self._ready[-1], Spoken):
            self._ready[-1] = Spoken(before.text + item.text)
        else:
            self._ready.append(item)
        self._any.set()

    async def next(self, patience: float) -> Item | None:
        """The next item; None when there is none within `patience` seconds.

        Raises:
            SpeechError: what ended the work.
        """
        try:
            async with asyncio.timeout(patience):
                await self._any.wait()
        except TimeoutError:
            return None
        item = self._ready.popleft()
        if not self._ready:
            self._any.clear()
        if item is None:
            self._pump.result()
            raise EngineFailure("The recogniser ended without a transcript.")
        return item

    async def finish(self) -> None:
        """After the last item: let the service put its things away, then free the resources."""
        await asyncio.wait({self._pump}, timeout=FAREWELL_SECONDS)
        await self.aclose()

    async def aclose(self) -> None:
        """End the work, finished or not."""
        try:
            await end(self._pump)
        finally:
            await self._resources.aclose()


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a stream looks: what speakers are called, and whether it carries token probabilities and segments."""

    label: Label
    logprobs: bool = False
    diarized: bool = False


async def events(feed: Feed, first: Item | None, drawing: Drawing, *, request_id: str) -> AsyncGenerator[bytes, None]:
    """Server-sent events from `first` (None: not there yet) to the end of `feed`; a failure is the last event."""
    said = _TextSoFar()
    item = first
    number = 0
    try:
        while not isinstance(item, Transcript):
            if isinstance(item, Spoken):
                yield _event(DeltaEvent(delta=said.speak(item)))
            elif isinstance(item, Segment):
                if not said.ahead:
                    yield _delta(said.add(item), item, number, drawing)
                if drawing.diarized:
                    yield _event(diarized_segment(number, item, drawing.label))
                number += 1
            else:
                yield event_stream.KEEP_ALIVE
            item = await feed.next(event_stream.KEEP_ALIVE_SECONDS)
        await feed.finish()  # before the last event: whoever reads it may expect the upload to be gone
        if rest := said.finish(item.text):
            yield _event(DeltaEvent(delta=rest))
        yield _done(said.text, item, logprobs=drawing.logprobs)
        yield DONE
    except SpeechError as error:
        _logger.warning("request %s: stream ended by %s: %s", request_id, error.code, error.message)
        await feed.aclose()
        yield last_event(error)
    except Exception:  # the request ends here, and its status line has long been sent
        _logger.exception("request %s failed while streaming", request_id)
        await feed.aclose()
        yield _event(internal_envelope())


def last_event(error: SpeechError) -> bytes:
    """The event that ends a stream which failed."""
    return _event(envelope(error))


class _TextSoFar:
    """What has been sent, so that all deltas together are the final text to the letter.

    `ahead`: text comes ahead of the segments, which then add none.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ahead = False

    def speak(self, spoken: Spoken) -> str:
        """The delta of text that comes ahead."""
        self.ahead = True
        self.text += spoken.text
        return spoken.text

    def add(self, segment: Segment) -> str:
        """The delta of one more segment."""
        text = segment.text and separator(self.text, segment.text) + segment.text
        self.text += text
        return text

    def finish(self, whole: str) -> str:
        """What `whole` has beyond what was sent; where it differs in spaces only, what was sent stands."""
        rest = whole.removeprefix(self.text) if whole.startswith(self.text) else ""
        self.text += rest
        if self.text != whole and "".join(self.text.split()) != "".join(whole.split()):
            _logger.error("the %s of a stream do not add up to its transcript", "texts" if self.ahead else "segments")
            self.text = whole
        return rest


def _delta(text: str, segment: Segment, number: int, drawing: Drawing) -> bytes:
    logprobs = logprob_bodies(segment.logprobs) if drawing.logprobs else None
    return _event(
        DeltaEvent(delta=text, logprobs=logprobs, segment_id=segment_id(number) if drawing.diarized else None)
    )


def _done(text: str, transcript: Transcript, *, logprobs: bool) -> bytes:
    return _event(
        DoneEvent(
            text=text,
            languages=languages(transcript),
            logprobs=transcript_logprobs(transcript) if logprobs else None,
            hotwords=hotword_bodies(transcript),
            usage=token_usage(transcript.usage),
        )
    )


def _event(body: BaseModel) -> bytes:
    return b"data: " + body.model_dump_json(exclude_none=True).encode() + b"\n\n"
