"""What only jobs work with: a decoder and threads of their own, so that nobody waits for an hour of sound to be gone
through."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.recording import Recording
from app.domain.errors import EngineFailure
from app.domain.meters import Meter
from app.pipeline.presence import Presence
from app.service.loading import compute_threads
from app.service.remembering import Memory, Watch
from app.service.transcription import Tools
from app.settings import Settings

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_T = TypeVar("_T")
_NICENESS = 10
"""Behind the threads and decoders of those who wait for an answer, which are 5."""
_PATIENCE = 4.0
"""How many times as long as a request's a job's decoder may take: it stands back, and recordings are larger."""


@dataclass(frozen=True, slots=True)
class JobWork:
    """What the work on a recording is in the course of: a job's memory, and who is told how far it is."""

    memory: Memory
    watch: Watch


class JobTools:
    """Belongs to one event loop. Nothing is started before the first job."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._threads: dict[str, Executor] = {}
        self._decoders: DecoderPool | None = None
        self._starting = asyncio.Lock()
        self._diarizers: dict[Diarizer, Diarizer] = {}
        self._closed = False

    def of(self, tools: Tools, presence: Presence) -> Tools:
        """The same tools, for jobs, which make way for who is there. Speakers are told apart on half of the threads
        that they are for all others."""
        thread = self._thread("job")
        diarizer = tools.diarizer and self._diarizer(tools.diarizer, tools, presence)
        return replace(tools, detection=thread, helpers=thread, diarizer=diarizer)

    async def read(self, made: Callable[[], _T]) -> _T:
        """What `made` makes of what is kept of a job, one after the other: a day of it takes a while to be written."""
        return await asyncio.get_running_loop().run_in_executor(self._thread("read"), made)

    async def decode(self, path: Path, declared: DeclaredSound | None, *, split: bool) -> Recording:
        """The sound of `path`, one recording after the other; see DecoderPool.decode."""
        decoders = await self._started()
        for pid in decoders.pids:  # a replacement, too
            _stand_back(pid)
        return await decoders.decode(path, declared, split=split)

    async def close(self) -> None:
        """End the decoder and the threads. No job may be worked on any more."""
        async with self._starting:
            self._closed = True
            decoders, self._decoders = self._decoders, None
        if decoders is not None:
            await decoders.close()
        for thread in self._threads.values():
            thread.shutdown(wait=True, cancel_futures=True)

    def _thread(self, purpose: str) -> Executor:
        """A thread that stands back."""
        if purpose not in self._threads:
            self._threads[purpose] = thread = compute_threads(purpose, 1)
            thread.submit(_stand_back, None)  # there is no other, and it stays
        return self._threads[purpose]

    async def _started(self) -> DecoderPool:
        async with self._starting:
            if self._closed:
                raise EngineFailure("The audio decoder is shutting down.")
            if self._decoders is None:
                settings = self._settings
                decoders = DecoderPool(
                    workers=1,
                    temp_dir=settings.temp_dir,
                    max_seconds=settings.max_audio_seconds,
                    timeout=settings.decode_timeout_seconds * _PATIENCE,
                    meter=self._meter,
                )
                await decoders.start()
                self._decoders = decoders
            return self._decoders

    def _diarizer(self, shared: Diarizer, tools: Tools, presence: Presence) -> Diarizer:
        if shared not in self._diarizers:
            from app.pipeline.diarization.diarizer import Diarizer  # noqa: PLC0415 - as loading it does

            models = shared.models
            self._diarizers = {
                shared: Diarizer(
                    models.segmenter,
                    models.encoder,
                    tools.detection,
                    parallel=max(1, self._settings.threads // 2),
                    threshold=self._settings.voice_threshold,
                    presence=presence,
                )
            }
        return self._diarizers[shared]


def _stand_back(process: int | None) -> None:
    """Have a process, or (None) this thread, stand further back in priority, where the system lets it."""
    if hasattr(os, "setpriority"):  # on Linux a thread has its own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id() if process is None else process, _NICENESS)
