"""Recordings through the service, several at once; what is finished is kept, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from app.cli.transcribing.display import Display
from app.cli.transcribing.layouts import Layout, drawn
from app.cli.transcribing.lengths import lengths
from app.cli.transcribing.opening import BARE, opened
from app.cli.transcribing.outputs import Outputs, Texts
from app.cli.transcribing.sources import Source
from app.domain.errors import InvalidParameter, SpeechError
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Spoken, Transcript
from app.protocols.labels import Language
from app.service.admission import Caller
from app.service.loading import in_background
from app.service.residents import ServedModel
from app.service.service import SpeechService

_Items = AsyncGenerator[Segment | Spoken | Transcript, None]
_logger = logging.getLogger(__name__)
_UNFORESEEN = "The recognition failed; what is above says why."


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with each recording. `labels` is the language of speakers' labels, see `drawn`."""

    layouts: tuple[Layout, ...]
    options: RecognitionOptions
    labels: Language | None
    concurrency: int
    keep_going: bool


class Run:
    """All recordings of a command line. `transcribe` may be called once."""

    def __init__(
        self,
        sources: Sequence[Source],
        order: Order,
        service: SpeechService,
        model: ServedModel,
        *,
        outputs: Outputs,
        display: Display,
    ) -> None:
        self._sources = sources
        self._order = order
        self._service = service
        self._model = model
        self._outputs = outputs
        self._display = display
        self._over = False

    async def transcribe(self) -> None:
        """Until all are done, or, unless it is to keep going, one has failed. The outputs have what is finished, even
        where this is cancelled.

        Raises:
            EngineFailure, BrokenPipeError: texts cannot be kept.
        """
        self._display.begin(len(self._sources))
        todo = iter(list(enumerate(self._sources)))
        workers = [asyncio.create_task(self._work(todo)) for _ in range(self._order.concurrency)]
        try:
            while workers and not self._over:
                done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
                for worker in done:
                    workers.remove(worker)
                    worker.result()
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._outputs.finish()

    async def _work(self, todo: Iterator[tuple[int, Source]]) -> None:
        """Take one recording after the other, until there are no more."""
        for number, source in todo:
            heard = await self._heard(number, source)
            if not self._kept(number, source, heard) and not self._order.keep_going:
                self._over = True
            if self._over:
                return

    def _kept(self, number: int, source: Source, heard: tuple[Transcript, Texts] | None) -> bool:
        """Hand a recording's texts over, and say so; whether there are any and they are where they belong."""
        if heard is None:
            self._outputs.give(number, None)
            return False
        transcript, texts = heard
        try:
            self._outputs.give(number, texts)
        except InvalidParameter as error:
            self._display.failed(number, source.name, error.message)
            return False
        self._display.finished(number, source.name, transcript.duration)
        if transcript.warnings:
            self._display.warned(source.name, transcript.warnings)
        return True

    async def _heard(self, number: int, source: Source) -> tuple[Transcript, Texts] | None:
        """A recording's transcript and texts; None, and said, where it failed."""
        try:
            transcript = await self._transcript(number, source)
            # In a thread: a day of words takes a second to draw.
            return transcript, await asyncio.to_thread(self._drawn, transcript)
        except SpeechError as error:
            self._display.failed(number, source.name, error.message)
        except Exception:  # this recording ends here, and the others can be recognised
            _logger.exception("a recording could not be recognised")
            self._display.failed(number, source.name, _UNFORESEEN)
        return None

    async def _transcript(self, number: int, source: Source) -> Transcript:
        declared = BARE if source.is_bare else None
        options, model = self._order.options, self._model.id
        with self._service.admit(Caller()) as ticket:
            ticket.begin()
            async with opened(source, self._service, ticket) as path:
                items = cast("_Items", self._service.stream(path, model, options, ticket, declared))
                async with aclosing(items):
                    async for item in items:
                        if isinstance(item, Transcript):
                            return item
                        if isinstance(item, Segment):
                            self._display.heard(number, source.name, item.end)
        raise AssertionError("a recognition ends with its transcript")

    def _drawn(self, transcript: Transcript) -> Texts:
        words = self._model.capabilities.word_times
        return {layout: drawn(transcript, layout, self._order.labels, words=words) for layout in self._order.layouts}


def measure(sources: Sequence[Source], tell: Callable[[int, float], None]) -> None:
    """Have `tell` called on this loop with every recording's number and seconds, as they are found out."""
    loop = asyncio.get_running_loop()

    def work() -> None:
        for number, seconds in lengths(sources):
            try:
                loop.call_soon_threadsafe(tell, number, seconds)
            except RuntimeError:  # the loop is closed: nobody wants to know any more
                return

    in_background(work, nice=True)
