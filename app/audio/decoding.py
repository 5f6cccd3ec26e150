"""The pool of decoder processes: a path in, a Recording out; what a file does to its decoder costs its request only."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from contextvars import Context, copy_context
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from app.audio.declared import DeclaredSound
from app.audio.protocol import DecodeReport, Job, Limits, read_reply, ready_line
from app.audio.recording import Recording
from app.audio.storing import not_started, not_stored
from app.domain.errors import EngineFailure, SpeechError
from app.domain.meters import NO_METER, Meter

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT = 60.0  # seconds; importing takes half a second, on a busy machine a few
_PACKET_SECONDS = 60.0  # more than any packet holds
_CLOSE_TIMEOUT = 2.0  # seconds an idle worker gets to leave by itself
_WORDS = 1 << 13  # bytes of what a worker says in one piece; a traceback is shorter
# Keys and tokens in the server's environment are no business of a process that reads strangers' bytes.
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TMPDIR", "SYSTEMROOT")


class _WorkerDied(Exception):  # noqa: N818 - an event, turned into an EngineFailure before it leaves this file
    """The process ended, or talks nonsense."""


class _Worker:
    """One decoder process, one job at a time. After `run` was left without an answer it is of no more use."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        jobs: asyncio.StreamWriter,
        replies: asyncio.StreamReader,
        words: asyncio.StreamReader,
    ) -> None:
        self._process = process
        self._jobs = jobs
        self._replies = replies
        self._in_step = True
        self._asking = Context()  # of who has it work: lines are in that request's name
        self._hearing = asyncio.create_task(self._hear(words))

    @classmethod
    async def spawn(cls) -> _Worker:
        """A worker that has imported everything.

        Raises:
            EngineFailure: it does not start.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "app.audio.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=decoder_environment(),
                start_new_session=True,  # a terminal's Ctrl-C reaches the server alone, which then ends its workers
            )
        except OSError as error:
            raise not_started(error, "The audio decoder could not be started.") from error
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise EngineFailure("The audio decoder could not be started.")
        worker = cls(process, process.stdin, process.stdout, process.stderr)
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                ready = await worker._replies.readline()
            if ready != ready_line():
                raise EngineFailure("The audio decoder could not be started.")
        except BaseException as error:
            worker.kill()
            await worker.wait()  # nothing of it is left when the loop is closed
            if isinstance(error, TimeoutError):
                raise EngineFailure("The audio decoder could not be started.") from error
            raise
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it lives and waits for a job."""
        return self._in_step and self._process.returncode is None

    async def run(self, job: Job) -> DecodeReport:
        """Have `job` done.

        Raises:
            SpeechError: the worker's verdict on the file.
            _WorkerDied: no verdict will come.
        """
        self._in_step, self._asking = False, copy_context()
        try:
            self._jobs.write(job.to_line())
            await self._jobs.drain()
            line = await self._replies.readline()
        except (ConnectionError, ValueError) as error:
            raise _WorkerDied from error
        if not line.endswith(b"\n"):
            raise _WorkerDied
        self._in_step = True
        try:
            return read_reply(line)
        except (ValueError, KeyError, TypeError) as error:
            self._in_step = False
            raise _WorkerDied from error

    def kill(self) -> None:
        """End it now, stopped or not."""
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> None:
        """Until it has ended, and all that it said is logged."""
        await self._process.wait()
        await asyncio.wait({self._hearing})

    async def _hear(self, words: asyncio.StreamReader) -> None:
        """Log what it says, which would otherwise stand between the server's lines in a form of its own."""
        while said := await words.read(_WORDS):
            for line in said.decode(errors="replace").splitlines():
                self._asking.run(logger.warning, "a decoder says: %s", line)

    async def close(self) -> None:
        """End it: politely when idle, else at once."""
        if self.usable:
            self._jobs.close()
        else:
            self.kill()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()


class DecoderPool:
    """`workers` decoder processes behind one `decode`. Belongs to the loop that ran `start`; a context manager."""

    def __init__(
        self,
        *,
        workers: int,
        temp_dir: Path | None,
        max_seconds: float,
        timeout: float,
        meter: Meter = NO_METER,
    ) -> None:
        """Limits are in seconds: of sound in one recording, and of decoding it.

        Sound waits in `temp_dir` (None: the system's).
        """
        self._size = workers
        self._temp_dir = temp_dir.absolute() if temp_dir else None
        self._limits = Limits.for_seconds(max_seconds)
        self._timeout = timeout
        self._meter = meter
        self._running = False
        self._alive: set[_Worker] = set()
        self._seats: asyncio.Queue[_Worker | None] = asyncio.Queue()  # None: a seat without a worker yet
        self._replacements: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all workers and wait until they are warm, so that the first request does not pay for it.

        Raises:
            EngineFailure: they do not start.
        """
        self._running = True
        try:
            started = await asyncio.gather(*(self._spawn() for _ in range(self._size)), return_exceptions=True)
            for worker in started:
                if isinstance(worker, BaseException):
                    raise worker
                self._seats.put_nowait(worker)
        except BaseException:
            await self.close()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """The living workers' process ids."""
        return tuple(worker.pid for worker in self._alive)

    async def decode(
        self,
        path: Path,
        declared: DeclaredSound | None = None,
        *,
        split: bool = False,
        leading: float | None = None,
    ) -> Recording:
        """The sound of `path`, decoded by the next free worker. The caller closes the recording; `path` stays theirs.

        Bytes without a container are sound only when `declared`. With `split` the channels are kept apart instead of
        mixed to mono. With `leading`, hardly more than so many seconds are decoded, however long the recording is.
        Cancelling ends the worker and removes what it wrote.

        Raises:
            EmptyAudio, UndecodableAudio, NoAudioStream, AudioTooShort, AudioTooLong: the file's fault.
            EngineFailure: the decoder died on it or took too long; the next request gets a fresh one.
        """
        began = time.monotonic()
        worker = await self._take()
        try:
            recording = await self._decode_with(worker, path, declared, split=split, leading=leading)
            self._meter.stage("decode", time.monotonic() - began)
            return recording
        finally:
            self._give_back(worker)

    async def close(self) -> None:
        """End all workers. A decode in progress, or waiting, gets an EngineFailure."""
        self._running = False
        for task in self._replacements:
            task.cancel()
        await asyncio.gather(*self._replacements, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._alive))
        self._alive.clear()
        self._seats.put_nowait(None)  # wakes one waiting request, which wakes the next

    async def _decode_with(
        self, worker: _Worker, path: Path, declared: DeclaredSound | None, *, split: bool, leading: float | None
    ) -> Recording:
        out = self._reserve()
        limits = self._limits
        if leading is not None:  # what is not wanted of a long recording cannot be too much of it
            limits = replace(limits, max_seconds=max(limits.max_seconds, leading + _PACKET_SECONDS))
        try:
            report = await self._run(worker, Job(path, out, limits, self._timeout, declared, split, leading))
            return Recording(out, warnings=report.warnings, time_scale=report.time_scale, channels=report.channels)
        except (OSError, ValueError) as error:
            out.unlink(missing_ok=True)
            told = "The decoded sound could not be read."
            raise (not_stored(error, told) if isinstance(error, OSError) else EngineFailure(told)) from error
        except BaseException:
            if not worker.usable:
                worker.kill()  # before the name goes: it may still be writing
            out.unlink(missing_ok=True)
            raise

    async def _run(self, worker: _Worker, job: Job) -> DecodeReport:
        try:
            async with asyncio.timeout(self._timeout):
                return await worker.run(job)
        except TimeoutError as error:
            logger.error("a decoder was ended after %g s on one file", self._timeout)
            self._meter.restarted("decoder")
            raise EngineFailure("The decoder took too long on this file and was ended.") from error
        except _WorkerDied as error:
            logger.error("a decoder died on a file")
            if self._running:
                self._meter.restarted("decoder")
            raise EngineFailure("The decoder died on this file.") from error

    def _reserve(self) -> Path:
        """A new file for decoded sound: unguessable name, mode 0600."""
        try:
            descriptor, name = tempfile.mkstemp(prefix="sound-", suffix=".s16", dir=self._temp_dir)
        except OSError as error:
            raise not_stored(error, "There is no place for the decoded sound.") from error
        os.close(descriptor)
        return Path(name)

    async def _take(self) -> _Worker:
        if not self._running:
            raise EngineFailure("The audio decoder is not running.")
        worker = await self._seats.get()
        try:
            if not self._running:
                raise EngineFailure("The audio decoder is shutting down.")
            if worker is not None and not worker.usable:  # died while idle
                self._alive.discard(worker)
                self._meter.restarted("decoder")
                worker = None
            return worker or await self._spawn()
        except BaseException:
            self._seats.put_nowait(None)
            raise

    def _give_back(self, worker: _Worker) -> None:
        if worker.usable and self._running:
            self._seats.put_nowait(worker)
            return
        worker.kill()
        task = asyncio.get_running_loop().create_task(self._replace(worker))
        self._replacements.add(task)
        task.add_done_callback(self._replacements.discard)

    async def _replace(self, worker: _Worker) -> None:
        """Fill the seat of a worker that was ended; at worst it stays empty until the next request wants it."""
        fresh: _Worker | None = None
        try:
            await worker.wait()
            self._alive.discard(worker)
            if self._running:
                fresh = await self._spawn()
        except SpeechError:
            logger.exception("a decoder could not be replaced")
        finally:
            self._seats.put_nowait(fresh)

    async def _spawn(self) -> _Worker:
        worker = await _Worker.spawn()
        self._alive.add(worker)
        return worker

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def decoder_environment() -> dict[str, str]:
    """A worker's environment: what Python needs to start, and nothing secret."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1"}
