"""vLLM's dialect of the realtime protocol, for a connection whose first message was in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from app.domain.errors import EngineFailure, RequestError, SpeechError, UploadTooSlow
from app.protocols.closing import close_code, close_reason
from app.protocols.inbox import Inbox
from app.protocols.sockets import NORMAL, Socket
from app.protocols.vllm import wire
from app.protocols.vllm.opening import Opening, read_opening
from app.protocols.vllm.utterance import Utterance
from app.protocols.vllm.wire import Complaint
from app.service.admission import Caller
from app.service.service import SpeechService

IDLE_SECONDS = 60.0
"""How long a client that has begun may send nothing: a stream's place is not kept for somebody who does not speak."""
REST_SECONDS = 600.0
"""How long it may do so between two stretches of sound."""
_FAREWELL = f'{{"type": "{wire.COMMIT}", "final": true}}'
_logger = logging.getLogger(__name__)


async def talk(socket: Socket, service: SpeechService, caller: Caller, first: Mapping[str, Any]) -> None:
    """Serve a connection to its end, of which `session.created` was sent and `first` received."""
    conversation = _Conversation(socket, service, caller)
    try:
        await conversation.run(first)
    except SpeechError as error:
        await conversation.fail(error)
    except Exception:  # a connection ends here
        _logger.exception("a connection in vLLM's dialect failed")
        await conversation.fail(EngineFailure("Something went wrong in the server; its log has the details."))
    finally:
        await conversation.aclose()


class _Conversation:
    """One connection's state: how the client wants to be heard, and what it is saying."""

    def __init__(self, socket: Socket, service: SpeechService, caller: Caller) -> None:
        self._socket = socket
        self._inbox = Inbox(socket)
        self._service = service
        self._caller = caller
        self._opening: Opening | None = None
        self._utterance: Utterance | None = None

    async def run(self, first: Mapping[str, Any]) -> None:
        """Listen until the client leaves, or says nothing for too long. What cannot be followed is told, and passed
        over, as vLLM does.

        Raises:
            SpeechError: there will be no text of what is being said.
        """
        message: str | bytes | Mapping[str, Any] | None = first
        while message is not None and not self._socket.gone:
            try:
                await self._follow(message if isinstance(message, Mapping) else wire.read_message(message))
            except Complaint as complaint:
                await self._socket.send(wire.failure(complaint.message, complaint.code))
            message = await self._next()

    async def fail(self, error: SpeechError) -> None:
        """Tell the client why there will be no (more) text, and end the connection: it may wait for nothing else."""
        cause = error.__cause__
        _logger.log(logging.WARNING if cause else logging.INFO, "vLLM: %s", error.code, exc_info=cause)
        await self._drop()
        await self._socket.send(wire.failure(error.message, "processing_error"))
        await self._socket.close(close_code(error), close_reason(error))

    async def aclose(self) -> None:
        """Leave nothing."""
        await self._drop()
        await self._inbox.aclose()

    async def _next(self) -> str | bytes | None:
        """The next message; None when there will be none.

        Raises:
            UploadTooSlow: the client has begun to say something, and says no more.
            SpeechError: what is being heard failed meanwhile.
        """
        utterance = self._utterance
        try:
            if utterance is None:
                return await self._inbox.next(REST_SECONDS)
            return await self._inbox.next(IDLE_SECONDS, utterance.working)
        except TimeoutError:
            if utterance is not None:
                raise UploadTooSlow(f"Nothing arrived for {IDLE_SECONDS:g} s.") from None
            await self._socket.close(NORMAL, "nothing was said")
            return None

    async def _follow(self, said: Mapping[str, Any]) -> None:
        match said["type"]:
            case wire.UPDATE:
                await self._update(said)
            case wire.APPEND:
                data = wire.sound_of(said)
                await self._inbox.while_here((await self._speaking()).feed(data))
            case wire.COMMIT:
                await self._commit(final=wire.is_final(said))
            case other:
                raise Complaint(f"Unknown event type: {str(other)[:100]}", "unknown_event")

    async def _update(self, said: Mapping[str, Any]) -> None:
        """What is being said already is heard to its end as it was begun."""
        self._opening = None
        try:
            self._opening = await read_opening(said, self._service)
        except RequestError as error:
            raise wire.refused(error) from None

    async def _commit(self, *, final: bool) -> None:
        """The beginning, or the end. A beginning within is passed over, as vLLM does."""
        utterance = await self._speaking()
        if final:
            await self._inbox.while_here(utterance.finish())
            await self._drop()
            self._socket.rest()

    async def _speaking(self) -> Utterance:
        """What is being said: from its first sound, as clients differ in when they say that they begin."""
        if self._utterance is None:
            if self._opening is None:
                told = "No model is agreed on: send a session.update with a model that is here."
                raise Complaint(told, "model_not_validated")
            self._utterance = await Utterance.begin(self._socket, self._service, self._caller, self._opening)
            self._socket.begin(_FAREWELL)
        return self._utterance

    async def _drop(self) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.aclose()
