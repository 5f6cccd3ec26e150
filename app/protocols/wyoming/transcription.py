"""One transcription: what is asked of it, its sound, and what is told of it while it goes on and at its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

from app.domain.errors import InvalidParameter, SpeechError
from app.domain.events import Final
from app.domain.options import LiveOptions
from app.domain.transcript import separator
from app.protocols.wyoming.events import Event
from app.protocols.wyoming.sound import Samples, SoundFormat, read_format
from app.protocols.wyoming.wishes import Wishes, read_wishes
from app.service.admission import Caller
from app.service.service import SpeechService
from app.streaming.stream import LiveStream


class Client(Protocol):
    """Who is told."""

    @property
    def clogged(self) -> bool:
        """Whether what was sent before is not taken in yet."""
        ...

    def send(self, *events: Event) -> Awaitable[None]:
        """Send them."""
        ...


class Transcription:
    """From `transcribe` or the first sound to the transcript. All methods but `aclose` raise SpeechError.

    Text is told an utterance at a time, each once, when it is final: a chunk cannot be taken back, and all chunks
    together are the transcript.
    """

    working: asyncio.Task[None] | None = None
    """What goes on while sound arrives, and fails when it does."""

    def __init__(self, service: SpeechService, caller: Caller, client: Client) -> None:
        self._service = service
        self._caller = caller
        self._client = client
        self._resources = AsyncExitStack()
        self._wishes: Wishes | None = None
        self._format: SoundFormat | None = None
        self._samples: Samples | None = None
        self._stream: LiveStream | None = None
        self._text = ""
        self._untold = ""
        self._started = False
        self._languages: Counter[str] = Counter()

    async def ask(self, said: Mapping[str, Any]) -> None:
        """How to hear what follows."""
        if self._stream is not None:
            raise InvalidParameter("transcribe comes before the sound.")
        self._wishes = await read_wishes(said, self._service)

    def begin(self, said: Mapping[str, Any]) -> None:
        """What the sound will be."""
        if self._stream is not None:
            raise InvalidParameter("audio-start comes before the sound, or after audio-stop.")
        self._format = read_format(said, None)

    async def feed(self, said: Mapping[str, Any], data: bytes) -> None:
        """Have more sound heard; waits while much is unheard. Clients may leave `audio-start` out, as every chunk says
        what it is."""
        form = read_format(said, self._format)
        if not data:
            return
        if self._stream is None or self._samples is None:
            self._format, self._samples = form, Samples(form.width)
            self._stream = await self._listen(form)
        elif form != self._format:
            raise InvalidParameter("The sound's rate, width and channels stay the same until audio-stop.")
        try:
            await self._stream.feed(self._samples.of(data))
        except SpeechError:
            if self.working is not None:
                await self.working  # tells what was heard before, and raises the same
            raise

    async def hear_rest(self) -> None:
        """There is no more sound: hear what is left."""
        if self._stream is not None and self.working is not None:
            await self._stream.finish()
            await self.working

    async def finish(self) -> None:
        """Hear what is left, and tell all of it."""
        await self.hear_rest()
        data = {"text": self._text} if self._language is None else {"text": self._text, "language": self._language}
        await self._client.send(*self._due(), Event("transcript", data), Event("transcript-stop"))

    async def aclose(self) -> None:
        """End the stream."""
        if self.working is not None:
            self.working.cancel()
            await asyncio.gather(self.working, return_exceptions=True)
        await self._resources.aclose()

    @property
    def _language(self) -> str | None:
        """Which most was said in; before anything was, which the client says."""
        if self._languages:
            return self._languages.most_common(1)[0][0]
        return self._wishes.options.language if self._wishes else None

    async def _listen(self, form: SoundFormat) -> LiveStream:
        if self._wishes is None:
            self._wishes = await read_wishes({}, self._service)
        # Nobody is told what is not certain, so that guesses would be work for nothing.
        live = LiveOptions(longest_seconds=self._service.settings.max_utterance_seconds, partials=False)
        listening = self._service.listen(self._wishes.model.id, self._wishes.options, live, self._caller, form.declared)
        stream = await self._resources.enter_async_context(listening)
        self.working = asyncio.create_task(self._follow(stream))
        return stream

    async def _follow(self, stream: LiveStream) -> None:
        try:
            async for event in stream.events():
                if isinstance(event, Final) and event.text.strip():
                    await self._take(event)
        except SpeechError:
            if self._untold:
                await self._client.send(*self._due())
            raise

    async def _take(self, final: Final) -> None:
        text = separator(self._text, final.text) + final.text
        self._text += text
        self._untold += text
        if final.language:
            self._languages[final.language] += len(final.text)
        if not self._client.clogged:  # else it is told together with what comes next
            await self._client.send(*self._due())

    def _due(self) -> list[Event]:
        """What there is to tell before the transcript."""
        language = self._language
        start = [] if self._started else [Event("transcript-start", {"language": language} if language else {})]
        chunk = [Event("transcript-chunk", {"text": self._untold})] if self._untold else []
        self._started, self._untold = True, ""
        return [*start, *chunk]
