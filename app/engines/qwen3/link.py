"""Questions and answers over the socket to one life of a vLLM process."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app.domain.errors import EngineFailure
from app.engines.qwen3 import channel
from app.engines.qwen3.channel import Message

if TYPE_CHECKING:
    from app.domain.engines import Samples

_logger = logging.getLogger(__name__)

Token = tuple[int, float]
"""A token's id and its natural-log probability."""
Told = Callable[[list[Token]], None]
"""Is handed all tokens so far; fewer than before where the process had to begin again."""


class DiedError(Exception):
    """The process has gone, and with it what it was asked."""


class RefusedError(EngineFailure):
    """vLLM takes no such question: it is too long."""


@dataclass(slots=True)
class Answer:
    """What came back: tokens of a recogniser, time bins of an aligner; `reason` is "stop", "length" or "repetition"."""

    tokens: list[Token] = field(default_factory=list[Token])
    bins: list[int] = field(default_factory=list[int])
    reason: str = ""
    prompt_tokens: int = 0


class Link:
    """Asks, as often as there is something to ask. `died` is called once, when the other side has gone."""

    def __init__(self, sock: socket.socket, died: Callable[[], None]) -> None:
        self._died = died
        self._gone = False
        self._pending: dict[int, _Pending] = {}
        self._numbers = 0
        self._opening = asyncio.get_running_loop().create_task(self._open(sock))

    async def ask(self, message: Message, samples: Samples, told: Told | None) -> Answer:
        """The answer. Cancelling ends the work in the process, too.

        Raises:
            DiedError: the process died meanwhile.
            EngineFailure: it failed on this; RefusedError if it took none of it.
        """
        self._numbers += 1
        number = self._numbers
        pending = self._pending[number] = _Pending(told)
        try:
            writer = await asyncio.shield(self._opening)
            if self._gone:
                raise DiedError
            writer.write(channel.packed({"id": number, "streamed": told is not None, **message}, samples.tobytes()))
            try:
                await writer.drain()
            except OSError:
                self._lost()
                raise DiedError from None
            return await pending.done
        except asyncio.CancelledError:
            if not self._gone and self._opening.done() and not self._opening.cancelled():
                self._opening.result().write(channel.packed({"do": "drop", "id": number}))
            raise
        finally:
            del self._pending[number]

    async def _open(self, sock: socket.socket) -> asyncio.StreamWriter:
        try:
            # A copy: whoever has started the process closes the socket, and the loop is to see the end by itself.
            reader, writer = await asyncio.open_unix_connection(sock=sock.dup())
        except OSError:
            self._lost()
            raise DiedError from None
        self._reading = asyncio.create_task(self._read(reader, writer))
        return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while frame := await channel.receive(reader):
                message, _ = frame
                if pending := self._pending.get(message["id"]):
                    pending.take(message)
        except asyncio.CancelledError:  # the loop ends
            raise
        except Exception:  # this link ends here
            _logger.exception("what vLLM said could not be read")
        writer.close()
        self._lost()

    def _lost(self) -> None:
        if not self._gone:
            self._gone = True
            for pending in self._pending.values():
                pending.fail(DiedError())
            self._died()


class _Pending:
    """An answer on its way."""

    def __init__(self, told: Told | None) -> None:
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._told = told
        self._answer = Answer()

    def take(self, message: Message) -> None:
        if self.done.done():
            return
        if "failed" in message:
            kind = RefusedError if message["refused"] else EngineFailure
            self.fail(kind("The recogniser failed on a piece of this recording."))
            return
        new: list[Token] = [(token, chance) for token, chance in message.get("tokens", ())]
        self._answer.tokens += new
        if self._told is not None and new:
            try:
                self._told(self._answer.tokens)
            except Exception as error:  # noqa: BLE001 - passed on; whoever listens to this one must not end the others'
                self.fail(error)
                return
        if "done" in message:
            self._answer = replace(
                self._answer,
                bins=message.get("bins", []),
                reason=message["done"] or "",
                prompt_tokens=message.get("prompt_tokens", 0),
            )
            self.done.set_result(self._answer)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # whoever asked may have left
