"""One session: a client's messages, what is heard of them, and settings that change while it lasts."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from app.domain.errors import InvalidParameter, SpeechError
from app.protocols.inbox import Inbox
from app.protocols.openai.realtime import wire
from app.protocols.openai.realtime.hearing import Hearing, open_hearing
from app.protocols.openai.realtime.items import Conversation
from app.protocols.openai.realtime.plan import Plan, plan_of, shown
from app.protocols.openai.realtime.settings import SessionSettings, read_session
from app.protocols.openai.realtime.wire import ClientEvent
from app.protocols.sockets import NORMAL, Farewell, Socket
from app.service.admission import Caller
from app.service.service import SpeechService

IDLE_SECONDS = 60.0
"""How long a stream is kept for a client that sends nothing; then it ends as if the client had said so."""
REST_SECONDS = 600.0
"""How long a client may say nothing after that: clients keep connections in a pool for five minutes."""
LEAST_COMMIT = 0.1
"""Seconds of sound that a commit ends (OpenAI's figure)."""
_FAREWELL = '{"type": "server.ends"}'
"""Nothing that a client could say: no message of the protocol says that there is no more sound."""

_Step: TypeAlias = Callable[[], Awaitable[None]]

_logger = logging.getLogger(__name__)


class Session:
    """One connection's state: how the client wants to be heard, and what is being heard."""

    def __init__(
        self,
        socket: Socket,
        service: SpeechService,
        caller: Caller,
        settings: SessionSettings,
        plan: Plan,
        *,
        flat: bool,
    ) -> None:
        """`plan` is what `settings` come to. `flat`: the client speaks the beta's protocol."""
        self._socket = socket
        self._inbox = Inbox(socket)
        self._service = service
        self._caller = caller
        self._settings = settings
        self._plan = plan
        self._id = wire.new_id("sess")
        self._conversation = Conversation(flat=flat)
        self._hearing: Hearing | None = None
        self._unended = 0.0  # seconds of sound that no commit or clear has ended

    async def greet(self) -> None:
        """The first message. Its own id and time are vLLM's, whose clients come to the same address."""
        flat = self._conversation.flat
        kind = "transcription_session.created" if flat else "session.created"
        session = shown(self._id, self._settings, self._plan, flat=flat)
        await self._socket.send(wire.event_of(kind, session=session, id=self._id, created=int(time.time())))

    async def run(self, other_dialect: Callable[[ClientEvent], bool]) -> ClientEvent | None:
        """Listen until the client leaves, or says nothing for too long. The first message is handed back if it is of
        the `other_dialect`.

        Raises:
            SpeechError: what is being heard cannot be heard any more.
        """
        begun = False
        while not self._socket.gone and (raw := await self._next()) is not None:
            if isinstance(raw, Farewell):
                await self._say_farewell()
                continue
            try:
                event = await wire.read_event(raw)
            except InvalidParameter as error:
                await self._socket.send(wire.error(error, None))
                continue
            if not begun and other_dialect(event):
                return event
            if not begun and event.type == wire.FLAT_UPDATE:
                self._conversation.flat = True
            begun = True
            await self._obey(event)
        return None

    async def fail(self, error: SpeechError) -> None:
        """Tell the client which items will have no text."""
        if self._hearing is not None:
            await self._hearing.fail(error)
        for message in self._conversation.fail_open(error):
            await self._socket.send(message)

    async def aclose(self) -> None:
        """Leave nothing."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            await hearing.aclose()
        await self._inbox.aclose()

    # --- what comes in ------------------------------------------------------------------------------------------------

    async def _next(self) -> str | bytes | None:
        """The next message; None when there will be none. A stream whose client sends nothing ends meanwhile.

        Raises:
            SpeechError: what is being heard failed.
        """
        if self._hearing is not None:
            try:
                return await self._inbox.next(IDLE_SECONDS, self._hearing.working)
            except TimeoutError:
                await self._end_hearing()
        try:
            return await self._inbox.next(REST_SECONDS)
        except TimeoutError:
            await self._socket.close(NORMAL, "nothing was said")
            return None

    async def _obey(self, event: ClientEvent) -> None:
        """Do what the client says. What makes no sense changes nothing, and the session goes on."""
        try:
            step = await self._step(event)
        except SpeechError as error:
            _logger.info("realtime: refused a message: %s", error.code)
            await self._socket.send(wire.error(error, event.id))
        else:
            await step()

    async def _step(self, event: ClientEvent) -> _Step:
        """What there is to do. Raises SpeechError."""
        if event.type == wire.APPEND:
            return partial(self._hear, await wire.read_audio(event))
        if event.type == wire.COMMIT:
            return partial(self._commit, event.id)
        if event.type == wire.CLEAR:
            return self._clear
        if event.type in {wire.UPDATE, wire.FLAT_UPDATE}:
            settings = read_session(event.body.get("session"), self._settings, self._service.settings.max_hotwords)
            same = settings == self._settings
            plan = self._plan if same else await plan_of(settings, self._service, self._caller.key)
            return partial(self._change, settings, plan, flat=event.type == wire.FLAT_UPDATE)
        told = f"{event.type[:64]!r} is no message of a transcription session. Known: {', '.join(wire.KNOWN)}."
        raise InvalidParameter(told, param="type")

    # --- what is done -------------------------------------------------------------------------------------------------

    async def _hear(self, data: bytes) -> None:
        if not data:
            return
        if self._hearing is None:
            self._hearing = await open_hearing(
                self._plan, self._conversation, self._service, self._caller, self._socket.send
            )
            self._socket.begin(_FAREWELL)
        self._unended += len(data) / self._plan.bytes_a_second
        await self._inbox.while_here(self._hearing.feed(data))

    @property
    def _committable(self) -> bool:
        """Whether there is enough sound to commit, where the client does that."""
        return self._plan.manual and round(self._unended, 6) >= LEAST_COMMIT

    async def _commit(self, client_event: str | None) -> None:
        if self._plan.manual and not self._committable:
            told = f"there are {self._unended * 1000:.0f} ms of sound, and a commit takes {LEAST_COMMIT * 1000:.0f} ms."
            await self._socket.send(wire.nothing_to_commit(told, client_event))
            return
        self._unended = 0.0
        if self._hearing is not None:
            await self._hearing.commit(client_event)
        elif self._plan.manual:
            await self._commit_rest()
            self._rest()
        else:
            await self._socket.send(wire.nothing_to_commit("nobody has spoken.", client_event))

    async def _clear(self) -> None:
        self._unended = 0.0
        if self._hearing is not None:
            await self._hearing.clear()
            return
        self._conversation.clear_open(self._conversation.offset)
        await self._socket.send(wire.event_of("input_audio_buffer.cleared"))
        self._rest()

    async def _change(self, settings: SessionSettings, plan: Plan, *, flat: bool) -> None:
        """What was said before is heard to its end as it was to be heard then."""
        if plan != self._plan:
            await self._end_hearing()
            if self._plan.manual and not plan.manual and self._conversation.open is not None:
                await self._commit_rest()
            if self._plan.manual != plan.manual:
                self._unended = 0.0
                self._conversation.clear_open(self._conversation.offset)
        self._settings, self._plan = settings, plan
        self._rest()
        kind = "transcription_session.updated" if flat else "session.updated"
        await self._socket.send(wire.event_of(kind, session=shown(self._id, settings, plan, flat=flat)))

    async def _commit_rest(self) -> None:
        """Commit what was heard by a stream that has ended."""
        logprobs = self._plan.options.logprobs
        for message in self._conversation.commit_open(self._conversation.offset, logprobs=logprobs):
            await self._socket.send(message)

    async def _end_hearing(self) -> None:
        if self._hearing is not None:
            await self._inbox.while_here(self._hearing.finish())
            await self._hearing.aclose()
            self._hearing = None
        self._rest()

    def _rest(self) -> None:
        """Nothing is being said, if that is so. Sound that its client may still commit is, though nobody hears it."""
        if self._hearing is None and not self._committable:
            self._socket.rest()

    async def _say_farewell(self) -> None:
        """The server ends: what was said is told, as if the client had committed it."""
        if self._committable:
            await self._commit(None)
        await self._end_hearing()
