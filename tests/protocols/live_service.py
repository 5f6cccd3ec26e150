"""A service whose live streams follow a script, for servers of any protocol.

A script is a list of what happens when: an event, or an error that the stream fails with, once as many bytes were fed
as stand beside it, or once it was committed ("commit"), cleared ("clear") or finished ("finish"). Entries happen in
their order. Closed comes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from openai_server import FakeService

from app.audio.declared import DeclaredSound
from app.domain.errors import SpeechError, UnsupportedFeature
from app.domain.events import Closed, Final, StreamEvent
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.transcript import Segment, Word
from app.service.admission import Caller
from app.settings import Settings

Cue = Literal["commit", "clear", "finish"]
Script = list[tuple[int | Cue, StreamEvent | Exception]]


def final(index: int, start: float, end: float, text: str, words: tuple[Word, ...] = ()) -> Final:
    """What an utterance says, certain 0.8 s after its end."""
    segments = (Segment(start, end, text, words),) if text else ()
    return Final(index, start, end, end + 0.8, text, segments, "en" if text.isascii() else "zh")


@dataclass
class Listened:
    """One stream, for tests to look at. `cues` are what its caller said of it, in order."""

    model: str
    options: RecognitionOptions
    live: LiveOptions
    caller: Caller
    declared: DeclaredSound | None
    data: bytes = b""
    cues: list[Cue] = field(default_factory=list)
    compressed: bool = False
    left: bool = False

    @property
    def finished(self) -> bool:
        return "finish" in self.cues


class ScriptedStream:
    """A LiveStream."""

    def __init__(self, listened: Listened, script: Script, slow: float) -> None:
        self._listened = listened
        self._script = list(script)
        self._slow = slow
        self._events: asyncio.Queue[StreamEvent | Exception] = asyncio.Queue()
        self._failure: SpeechError | None = None

    async def feed(self, data: bytes) -> None:
        if self._failure:
            raise self._failure
        await asyncio.sleep(self._slow)
        self._listened.data += data
        self._go_on()

    async def commit(self) -> None:
        self._cue("commit")

    async def clear(self) -> None:
        self._cue("clear")

    async def finish(self) -> None:
        if not self._listened.finished:
            self._cue("finish")
            self._events.put_nowait(Closed(len(self._listened.data) / 32000))

    async def events(self) -> AsyncIterator[StreamEvent]:
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Closed):
                return

    def _cue(self, cue: Cue) -> None:
        if self._failure:
            raise self._failure
        if self._listened.compressed and cue != "finish":
            raise UnsupportedFeature("The sound is compressed.")
        self._listened.cues.append(cue)
        self._go_on(cue)

    def _go_on(self, cue: Cue | None = None) -> None:
        while self._script and self._due(self._script[0][0], cue):
            event = self._script.pop(0)[1]
            if isinstance(event, SpeechError):
                self._failure = event
            self._events.put_nowait(event)

    def _due(self, at: int | Cue, cue: Cue | None) -> bool:
        if isinstance(at, int):
            return at <= len(self._listened.data) or cue == "finish"
        return at == cue


class LiveService(FakeService):
    """`slow` is how long each message takes to hear; `refusal` is what a stream is refused with; `compressed` sound
    cannot be committed or cleared. `scripts` are those of the next streams, before `script`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.forget()

    def forget(self) -> None:
        """As new, for the next test."""
        self.script: Script = []
        self.scripts: list[Script] = []
        self.compressed = False
        self.refusal: Exception | None = None
        self.slow = 0.0
        self.listened: list[Listened] = []

    @contextlib.asynccontextmanager
    async def listen(
        self,
        model: str,
        options: RecognitionOptions,
        live: LiveOptions,
        caller: Caller,
        declared: DeclaredSound | None = None,
    ) -> AsyncGenerator[ScriptedStream, None]:
        if self.refusal is not None:
            raise self.refusal
        listened = Listened(model, options, live, caller, declared, compressed=self.compressed)
        self.listened.append(listened)
        script = self.scripts.pop(0) if self.scripts else self.script
        try:
            yield ScriptedStream(listened, script, self.slow)
        finally:
            listened.left = True
