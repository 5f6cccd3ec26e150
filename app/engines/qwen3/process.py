"""A vLLM process as the server sees it: started, asked, and started again when it has died.

torch and vLLM live in that process only: what goes wrong there, or takes memory there, ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import app
from app.domain.errors import EngineFailure, ModelUnavailable
from app.engines.qwen3 import channel
from app.engines.qwen3.channel import Message

if TYPE_CHECKING:
    from app.domain.engines import Samples

_logger = logging.getLogger(__name__)

Token = tuple[int, float]
"""A token's id and its natural-log probability."""
Told = Callable[[list[Token]], None]
"""Is handed all tokens so far; fewer than before where the process had to begin again."""

START_SECONDS = 900.0
"""More than weights take from a slow disk, and vLLM to warm up a large GPU."""
PATIENCE_SECONDS = 300.0
"""How long a piece waits for the process to be started again before its request is told to come back."""
RETRY_AFTER_SECONDS = 30.0
_LONGEST_PAUSE = 60.0
"""Seconds between two tries to start what does not start."""
_TOGETHER = 4
"""Pieces tried again at once after a death, of which one may have been the reason."""
_SECRET = frozenset({"API_KEYS", "APPTOKEN"})
_TAIL = 200
"""Lines of vLLM's own log that are kept to tell a failure by."""
_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|MemoryError|memory for the cache blocks|free memory on device|cannot allocate",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start: vLLM's engine arguments, its `runner` ("generate", "pooling"), and the process's environment.

    `warm_up` is a first question, to be asked with a second of silence. `timestamp` is the token at which an aligner is
    asked for a time.
    """

    name: str
    engine: Mapping[str, object]
    warm_up: Mapping[str, object]
    runner: str = "generate"
    timestamp: int = 0
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Answer:
    """What came back: tokens of a recogniser, time bins of an aligner; `reason` is "stop", "length" or "repetition"."""

    tokens: list[Token] = field(default_factory=list[Token])
    bins: list[int] = field(default_factory=list[int])
    reason: str = ""
    prompt_tokens: int = 0


class EngineProcess:
    """One vLLM process. `start` and `close` may be called from any thread, `ask` from one event loop.

    `plans` are what to start, and what instead after that has run out of memory, and so on.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plan, *self._smaller = plans
        self._spawned: _Spawned | None = None
        self._link: _Link | None = None
        self._mending: asyncio.Task[None] | None = None
        self._again = asyncio.Semaphore(_TOGETHER)
        self._numbers = iter(range(sys.maxsize))
        self._closed = False

    @property
    def available(self) -> bool:
        """Whether it can be asked now; False while it is being started again."""
        return self._spawned is not None and self._mending is None and not self._closed

    @property
    def pid(self) -> int | None:
        """The process's id, which is its group's, too; None while there is none."""
        return self._spawned.process.pid if self._spawned else None

    def start(self) -> None:
        """Start the process and wait until it can be asked. Blocking, up to minutes.

        Raises:
            EngineFailure: it cannot be started, not even smaller; the message says why.
        """
        while True:
            try:
                self._spawned = _Spawned(self._plan)
                self._spawned.wait_until_ready()
            except EngineFailure as failure:
                shrunk = self._shrink()
                self._end()
                if not shrunk or self._closed:
                    raise
                _logger.warning("%s; trying again with less", failure.message)
            else:
                return

    async def ask(self, message: Message, samples: Samples, told: Told | None = None) -> Answer:
        """Have one piece recognised or aligned. Cancelling ends the work in the process, too.

        Raises:
            EngineFailure: the model failed on this piece.
            ModelUnavailable: the process has died and is being started again, or died twice of this.
        """
        try:
            return await self._connected().ask(next(self._numbers), message, samples, told)
        except _DiedError:
            pass
        async with self._again:
            await self._mended()
            try:
                return await self._connected().ask(next(self._numbers), message, samples, told)
            except _DiedError:
                raise ModelUnavailable(
                    f"{self._plan.name} has died twice while it worked on this. Try again later.",
                    retry_after=RETRY_AFTER_SECONDS,
                ) from None

    def close(self) -> None:
        """End the process and all of vLLM's."""
        self._closed = True
        if self._mending is not None:
            self._mending.get_loop().call_soon_threadsafe(self._mending.cancel)
        self._end()

    def _end(self) -> None:
        if self._spawned is not None:
            self._spawned.end()

    def _shrink(self) -> bool:
        """Whether it was memory that the process lacked, and there is something smaller to start."""
        if self._spawned is None or not self._spawned.ran_out_of_memory or not self._smaller:
            return False
        self._plan = self._smaller.pop(0)
        return True

    def _connected(self) -> _Link:
        if self._link is None:
            if not self.available or self._spawned is None:
                raise ModelUnavailable(
                    f"{self._plan.name} is being started again. Try again later.", retry_after=RETRY_AFTER_SECONDS
                )
            self._link = _Link(self._spawned.socket, self._died)
        return self._link

    async def _mended(self) -> None:
        """Wait for the process that follows one that died."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._mending is not None:
                    await asyncio.wait({self._mending})
        except TimeoutError:
            raise ModelUnavailable(
                f"{self._plan.name} cannot be started again for now.", retry_after=RETRY_AFTER_SECONDS
            ) from None

    def _died(self) -> None:
        """Called by the link when the other side is gone."""
        self._link = None
        if not self._closed and self._mending is None:
            _logger.error("%s has died and is started again", self._plan.name)
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        """Start the process again, however often it takes."""
        pause = 1.0
        try:
            await asyncio.to_thread(self._end)
            self._shrink()
            while True:
                try:
                    await asyncio.to_thread(self.start)
                except EngineFailure as failure:
                    _logger.error("%s", failure.message)
                else:
                    _logger.info("%s answers again", self._plan.name)
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._mending = None


class _DiedError(Exception):
    """The process has gone, and with it what it was asked."""


class _Spawned:
    """A process and the socket to it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.engines.qwen3.host", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(plan),
            )
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._reading = threading.Thread(target=self._read, name=f"{plan.name} log", daemon=True)
        self._reading.start()

    def wait_until_ready(self) -> None:
        """Tell the process what to start, and wait for it.

        Raises:
            EngineFailure: it could not be started.
        """
        plan = {
            "engine": dict(self._plan.engine),
            "runner": self._plan.runner,
            "timestamp": self._plan.timestamp,
            "warm_up": dict(self._plan.warm_up),
        }
        self.socket.settimeout(START_SECONDS)
        try:
            self.socket.sendall(channel.packed(plan))
            said = channel.receive_blocking(self.socket)
        except TimeoutError:
            raise EngineFailure(f"vLLM did not start {self._plan.name} within {START_SECONDS:.0f} s.") from None
        except OSError as error:
            raise EngineFailure(f"vLLM could not start {self._plan.name}: it died at once.") from error
        if said is None or "ready" not in said:
            reason = "it ran out of memory" if self.ran_out_of_memory else (said or {}).get("failed", "it died")
            raise EngineFailure(f"vLLM could not start {self._plan.name}: {reason}")
        self.socket.settimeout(None)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the process's last words say so."""
        if self.process.poll() is not None:
            self._reading.join(1.0)  # the last of them may still be on their way
        return any(_MEMORY.search(line) for line in list(self._tail))

    def end(self) -> None:
        """Kill all of the process's group. Blocking."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.socket.close()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        with self.process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                _logger.debug("%s: %s", self._plan.name, text)


class _Link:
    """Questions and answers over one process's socket. `died` is called once, when it has gone."""

    def __init__(self, sock: socket.socket, died: Callable[[], None]) -> None:
        self._died = died
        self._pending: dict[int, _Pending] = {}
        self._opening = asyncio.get_running_loop().create_task(self._open(sock))
        self._gone = False

    async def ask(self, number: int, message: Message, samples: Samples, told: Told | None) -> Answer:
        pending = self._pending[number] = _Pending(told)
        try:
            writer = await asyncio.shield(self._opening)
            if self._gone:
                raise _DiedError
            body = samples.tobytes()
            writer.write(channel.packed({"id": number, "streamed": told is not None, **message}, body))
            try:
                await writer.drain()
            except ConnectionError:
                raise _DiedError from None
            return await pending.done
        except asyncio.CancelledError:
            if self._opening.done() and not self._gone and not self._opening.cancelled():
                self._opening.result().write(channel.packed({"do": "drop", "id": number}))
            raise
        finally:
            del self._pending[number]

    async def _open(self, sock: socket.socket) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        self._reading = asyncio.create_task(self._read(reader, writer))
        return writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while frame := await channel.receive(reader):
            message, _ = frame
            if pending := self._pending.get(message["id"]):
                pending.take(message)
        self._gone = True
        writer.close()
        for pending in self._pending.values():
            pending.fail(_DiedError())
        self._died()


class _Pending:
    """An answer on its way."""

    def __init__(self, told: Told | None) -> None:
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._told = told
        self._answer = Answer()

    def take(self, message: Message) -> None:
        if "failed" in message:
            self.fail(EngineFailure("The recogniser failed on a piece of this recording."))
            return
        new: list[Token] = [(token, chance) for token, chance in message.get("tokens", ())]
        self._answer.tokens += new
        if self._told is not None and new:
            self._told(self._answer.tokens)
        if "done" in message and not self.done.done():
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


def _environment(plan: Plan) -> dict[str, str]:
    """This process's own, with what vLLM is told by variables. It is never to open a connection: all is on disk."""
    root = str(Path(app.__file__).parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    quiet: dict[str, Any] = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    own = {name: value for name, value in os.environ.items() if name not in _SECRET}
    return {**own, **quiet, "PYTHONPATH": path, **plan.environment}
