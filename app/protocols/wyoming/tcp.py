"""Wyoming, the protocol of Home Assistant's voice: one connection over plain TCP, on which transcriptions follow each
other."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from fastapi import FastAPI

from app.domain.errors import EngineFailure, InvalidParameter, PermissionDenied, SpeechError, UploadTooSlow
from app.protocols.wyoming.describing import PROGRAM, info
from app.protocols.wyoming.events import Event
from app.protocols.wyoming.link import Link
from app.protocols.wyoming.transcription import Transcription
from app.service import logs
from app.service.admission import Caller
from app.service.auth import KeyRing
from app.service.lifecycle import Lifecycle
from app.service.service import SpeechService

IDLE_SECONDS = 60.0
"""How long a client that has begun may take for its next event: a stream's place is not kept for who does not speak."""
REST_SECONDS = 600.0
"""How long it may say nothing between two transcriptions."""
NO_KEYS = "Wyoming has no place for API_KEYS: WYOMING_PORT lets everybody in who comes from a private network"
_NOT_NEARBY = "Wyoming has no API keys, and this server wants them of everybody who comes from the internet."
_logger = logging.getLogger(__name__)

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]]


def protocol_of(main: FastAPI) -> Talk:
    """What serves one connection to its end, for a port of its own: see ServedTcp. It shares what `main` has in its
    state."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ending: asyncio.Event) -> None:
        link = Link(reader, writer)
        service: SpeechService = main.state.service
        keyring: KeyRing = main.state.keyring
        lifecycle: Lifecycle = getattr(main.state, "lifecycle", None) or Lifecycle()
        ended = asyncio.create_task(_when(ending))
        finishing = asyncio.create_task(lifecycle.until_finishing())
        conversation = _Conversation(link, service, ended, finishing)
        with logs.named(conversation.name):
            try:
                if not (keyring.open or link.nearby):
                    raise PermissionDenied(_NOT_NEARBY)
                await conversation.run()
            except SpeechError as error:
                await conversation.fail(error)
            except Exception:  # a connection ends here
                _logger.exception("a Wyoming connection failed")
                await conversation.fail(EngineFailure("Something went wrong in the server; its log has the details."))
            finally:
                ended.cancel()
                finishing.cancel()
                await conversation.aclose()

    return talk


async def _when(event: asyncio.Event) -> None:
    await event.wait()


class _Conversation:
    """One connection's state: the transcription that goes on, if one does. `name` is the connection's in the log."""

    def __init__(
        self, link: Link, service: SpeechService, ended: asyncio.Task[None], finishing: asyncio.Task[None]
    ) -> None:
        """`ended` is done once nothing new begins, because the server ends; `finishing` once what goes on is to end."""
        self._link = link
        self._service = service
        self.name = uuid.uuid4().hex
        self._caller = Caller(address=link.address, request_id=self.name, path="wyoming")
        self._ended = ended
        self._finishing = finishing
        self._transcription: Transcription | None = None

    async def run(self) -> None:
        """Answer until the client leaves or says nothing for too long, or the server ends.

        Raises:
            SpeechError: what it says cannot be recognised, or makes no sense.
        """
        while (event := await self._next()) is not None and not self._link.gone:
            await self._answer(event)

    async def fail(self, error: SpeechError) -> None:
        """Tell the client why there will be no transcript, and end the connection: Home Assistant waits for one or the
        other, and does not know errors."""
        cause = error.__cause__
        _logger.log(logging.WARNING if cause else logging.INFO, "Wyoming: %s", error.code, exc_info=cause)
        await self._drop()
        await self._link.send(Event("error", {"text": error.message, "code": error.code}))
        await self._link.part()

    async def aclose(self) -> None:
        """Leave nothing."""
        await self._drop()
        await self._link.aclose()

    async def _next(self) -> Event | None:
        """The next event; None when there will be none.

        Raises:
            UploadTooSlow: the client has begun, and does not go on.
            SpeechError: the event is none, or what is being heard failed meanwhile.
        """
        receiving = self._link.receiving()
        transcription = self._transcription
        working = None if transcription is None else transcription.working
        if working is None and self._ended.done():  # nothing new begins
            return None
        watched = {receiving, working or self._ended, self._finishing}
        limit = REST_SECONDS if transcription is None else IDLE_SECONDS
        done, _ = await asyncio.wait(watched, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if self._finishing in done:
            await self._say_farewell()
            return None
        if receiving in done:
            return self._link.received()
        if transcription is None or self._ended in done:
            return None
        if working is not None and working in done:
            working.result()
        await transcription.hear_rest()
        raise UploadTooSlow(f"Nothing arrived for {IDLE_SECONDS:g} s.")

    async def _answer(self, event: Event) -> None:
        match event.type:
            case "describe":
                await self._link.send(info(self._service))
            case "ping":
                await self._link.send(Event("pong", {"text": event.data.get("text")}))
            case "select-program":
                if event.data.get("name") != PROGRAM:
                    raise InvalidParameter(f"There is one program: {PROGRAM}.", param="name")
            case "transcribe":
                await self._begun().ask(event.data)
            case "audio-start":
                self._begun().begin(event.data)
            case "audio-chunk":
                await self._begun().feed(event.data, event.payload)
            case "audio-stop" if self._transcription is not None:
                await self._while_here(self._transcription)
                await self._drop()
            case _:  # whoever does not know an event is to pass over it
                pass

    def _begun(self) -> Transcription:
        if self._transcription is None:
            self._transcription = Transcription(self._service, self._caller, self._link)
        return self._transcription

    async def _while_here(self, transcription: Transcription) -> None:
        """Tell all that is left, unless the client leaves before. What it says next waits; that it says nothing more
        (`nc` ends so what it sends) does not mean that it has left."""
        finishing = asyncio.create_task(transcription.finish())
        try:
            receiving = self._link.receiving()
            await asyncio.wait({finishing, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if finishing.done() or not self._link.hung_up:
                await finishing
        finally:
            finishing.cancel()
            await asyncio.gather(finishing, return_exceptions=True)

    async def _say_farewell(self) -> None:
        """The server ends: the transcript of what was said, as if the client had said that it is all. Home Assistant
        reads it when it has said the rest."""
        if self._transcription is not None:
            await self._while_here(self._transcription)
            await self._drop()
            await self._link.part()

    async def _drop(self) -> None:
        transcription, self._transcription = self._transcription, None
        if transcription is not None:
            await transcription.aclose()
