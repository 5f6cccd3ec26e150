"""Compressed live sound: one decoder process a stream (`live_worker`), fed as bytes come, read as sound comes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import sys
from typing import TYPE_CHECKING

import numpy as np

from app.audio.decoding import decoder_environment
from app.audio.live_backlog import BLOCK, Backlog, Cue
from app.audio.protocol import read_reply
from app.audio.storing import not_started
from app.domain.errors import EngineFailure, SpeechError, UnsupportedFeature

if sys.platform != "win32":
    import fcntl
    import termios

if TYPE_CHECKING:
    from app.domain.engines import Samples

logger = logging.getLogger(__name__)

STALL = 30.0
"""Seconds in which a decoder must read some of what waits for it, or write."""
_START = 60.0  # seconds it gets for the first of that: importing takes half a second, on a busy machine many
_SLICE = 1 << 16  # bytes written at a time
_READ = 2 * BLOCK  # bytes of sound read at a time
_LAST_WORDS = 1 << 12  # bytes of what a decoder says at its end
_PATIENCE = 5.0  # seconds a decoder gets to end after its sound has


class ProcessDecoder:
    """A Decoder (see `live`) for the bytes of a file of any format; its process starts with the first of them."""

    def __init__(self, backlog: Backlog, *, stall: float = STALL) -> None:
        """Sound goes to `backlog`; for `stall` see STALL."""
        self._backlog = backlog
        self._stall = stall
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._written = 0  # bytes
        self._heard = 0  # bytes
        self._finished = False
        self._ending = False  # what there is, is being tidied up

    @property
    def pid(self) -> int | None:
        """The decoder's process id; None before it has started."""
        return self._process.pid if self._process else None

    async def feed(self, data: bytes) -> None:
        """See LiveSource.feed."""
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            await self._write(view[start : start + _SLICE])

    async def finish(self) -> None:
        """See LiveSource.finish."""
        self._finished = True
        if self._life is None:
            self._backlog.end()
            return
        await self._started.wait()
        if self._process and self._process.stdin:
            self._process.stdin.close()  # after what it still holds was written

    async def cue(self, cue: Cue) -> None:
        """See LiveSource.cue: how much of what was fed has come out, nobody knows.

        Raises:
            UnsupportedFeature: always.
        """
        told = f"The sound is compressed: where to {cue.value} it cannot be told. Send raw samples, or end the stream."
        raise UnsupportedFeature(told)

    async def close(self) -> None:
        """See LiveSource.close."""
        self._backlog.drop()
        if self._life is None:
            return
        if not self._ending:
            self._ending = True  # tidying up must not be cancelled by a second call
            self._life.cancel()
            self._started.set()  # it may not even have begun
        await asyncio.wait({self._life})  # and not gather: should the caller be cancelled here, the end goes on

    async def _write(self, piece: memoryview) -> None:
        await self._backlog.room()
        if self._backlog.ended or self._finished:
            return
        if self._life is None:
            self._life = asyncio.create_task(self._live())
        await self._started.wait()
        if self._process is None or self._process.stdin is None:
            return
        self._written += len(piece)
        try:
            self._process.stdin.write(piece)
            await self._process.stdin.drain()
        except ConnectionError:  # it has ended; why, is about to be known
            await asyncio.wait({self._life})

    async def _live(self) -> None:
        """From the process's start to its end, whatever ends it."""
        try:
            self._process = await _spawn()
            self._started.set()
            await self._follow(self._process)
            self._backlog.end()
        except SpeechError as error:
            self._backlog.end(error)
        except Exception:
            logger.exception("a live decoder's output could not be read")
            self._backlog.end(EngineFailure("The decoder failed on this stream."))
        finally:
            self._ending = True
            self._started.set()
            if self._process:
                await _end(self._process)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Read what the decoder writes, to its end.

        Raises:
            SpeechError: its verdict; EngineFailure where it died, or does not get on.
        """
        words = asyncio.create_task(_last_words(process))
        sound = asyncio.create_task(self._listen(process))
        stuck = asyncio.create_task(self._watch(process))
        try:
            await asyncio.wait({sound, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if not sound.done():
                stuck.result()  # what failed in watching is no fault of the decoder's
                logger.error("a live decoder was ended after %g s without progress", self._stall)
                raise EngineFailure("The decoder got stuck on this stream and was ended.")
            sound.result()
            await asyncio.wait({words}, timeout=_PATIENCE)
            _judge(await _returned(process), words.result() if words.done() else b"")
        finally:
            for task in (words, sound, stuck):
                task.cancel()
            await asyncio.wait({words, sound, stuck})

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        rest = b""
        while process.stdout and (read := await process.stdout.read(_READ)):
            self._heard += len(read)
            read = rest + read
            whole = len(read) // 2 * 2
            rest = read[whole:]
            self._backlog.put(_samples(read[:whole]))
            await self._backlog.room()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Until the decoder has made no progress for too long, though there was something to do and room for it."""
        loop = asyncio.get_running_loop()
        before, since, limit = (0, 0), loop.time(), _START
        while loop.time() - since < limit:
            await asyncio.sleep(self._stall / 20)
            waiting = _unread(process)
            now = (self._heard, self._written - waiting)
            limit = self._stall if max(now) > 0 else _START
            if now != before or self._backlog.full or not (waiting or self._finished):
                before, since = now, loop.time()


async def _spawn() -> asyncio.subprocess.Process:
    """A process that decodes what it is given.

    Raises:
        EngineFailure: it does not start.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "app.audio.live_worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=decoder_environment(),
            limit=_READ,
            start_new_session=True,  # a terminal's Ctrl-C reaches the server alone
        )
    except OSError as error:
        raise not_started(error, "The audio decoder could not be started.") from error


async def _last_words(process: asyncio.subprocess.Process) -> bytes:
    """The end of what the decoder says on stderr."""
    said = b""
    while process.stderr and (more := await process.stderr.read(_LAST_WORDS)):
        said = (said + more)[-_LAST_WORDS:]
    return said


async def _returned(process: asyncio.subprocess.Process) -> int | None:
    """How it exited; None: not at all."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            return await process.wait()
    return None


def _judge(code: int | None, said: bytes) -> None:
    """What became of a stream whose decoder exited with `code` and `said` that.

    Raises:
        SpeechError: it did not end well.
    """
    if code == 0:
        return
    if b"Traceback" in said:  # a fault of ours; the bytes' faults come without
        logger.error("a live decoder failed:\n%s", said.decode(errors="replace"))
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            read_reply(line)
    logger.error("a live decoder died (%s)", code)
    raise EngineFailure("The decoder died on this stream.")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it if it lives, and close what connects it with this process."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()  # reads what is left: a pipe that is not at its end stays open
    if process.stdin:
        process.stdin.close()
        with contextlib.suppress(OSError):
            await process.stdin.wait_closed()


def _unread(process: asyncio.subprocess.Process) -> int:
    """Bytes that were written for the decoder and it has not read; some systems add their own overhead."""
    pipe = process.stdin
    if pipe is None or pipe.is_closing():
        return 0
    waiting = pipe.transport.get_write_buffer_size()
    if sys.platform == "win32":
        return waiting
    end = pipe.get_extra_info("pipe") or pipe.get_extra_info("socket")  # uvloop's is a socket by name, too
    if end is None:
        return waiting
    for question in (termios.TIOCOUTQ, termios.FIONREAD):  # asyncio's end is a socket or a pipe
        with contextlib.suppress(OSError, ValueError):
            (count,) = struct.unpack("i", fcntl.ioctl(end, question, b"\0" * 4))
            waiting += count
    return waiting


def _samples(sound: bytes) -> Samples:
    return np.frombuffer(sound, "<i2").astype(np.float32) * np.float32(1 / 32768)
