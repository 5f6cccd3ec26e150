"""Recognisers in memory: how many requests use each, and when one that nobody uses is freed and loaded again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar, cast

from app.domain.engines import BatchRecognizer, Capabilities, ContinuousRecognizer, Recognizer, Watched
from app.domain.errors import ModelStoreError, ModelUnavailable, SpeechError
from app.domain.meters import NO_METER, Meter
from app.modelstore.catalog import ModelEntry
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.relaying import Relay
from app.service.loading import companion_roles, in_background, load_recognizer
from app.service.memory import check_room, give_back
from app.service.shelf import Shelf
from app.settings import Settings

State = Literal["loaded", "loading", "idle", "unloading", "restarting"]
_Outcome = TypeVar("_Outcome")
_Given = ParamSpec("_Given")
_RESTART_SECONDS = 30.0
"""About what a process with torch takes to start; for Retry-After."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers now. `created` is the epoch second it was loaded."""

    id: str
    created: int
    capabilities: Capabilities
    description: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recogniser in memory, where its pieces wait, and where it computes."""

    recognizer: Recognizer
    batcher: Batcher | Relay
    computing: Computing

    @property
    def available(self) -> bool:
        """Whether it recognises now: what computes may have died, and be on its way back."""
        return not isinstance(self.recognizer, ContinuousRecognizer) or self.recognizer.available


class Memory:
    """Loads and frees recognisers, one at a time: each is weighed against what there is when its turn comes.

    Belongs to one event loop. `weigh`: whether models are weighed here; engines on a GPU do it themselves.
    """

    def __init__(
        self, settings: Settings, shelf: Shelf, threads: ComputeThreads, *, weigh: bool, meter: Meter = NO_METER
    ) -> None:
        self.idle_seconds = settings.asr_idle_unload_seconds
        self.moving = asyncio.Lock()
        self._settings = settings
        self._shelf = shelf
        self._threads = threads
        self._weigh = weigh
        self._meter = meter
        self._held: list[Recognizer] = []
        self._work: set[asyncio.Task[Any]] = set()

    async def load(self, entry: ModelEntry) -> Loaded:
        """A recogniser of what is on this machine.

        Raises:
            ModelStoreError: it is not.
            NotEnoughMemory: others are in memory, and it does not fit beside them.
            EngineFailure: it is here and no good.
        """
        async with self.moving:
            # The threads an engine starts inherit the niceness. The end of the server does not wait for it.
            loading = in_background(partial(self._load, entry, beside=bool(self._held)), nice=True)
            try:
                recognizer = await asyncio.wrap_future(loading)
            except asyncio.CancelledError:
                loading.add_done_callback(_close_unclaimed)
                raise
            self._held.append(recognizer)
        if isinstance(recognizer, Watched):
            recognizer.watch(self._meter)
        computing = Computing(self._threads)
        return Loaded(recognizer, _queue(recognizer, computing, self._meter), computing)

    async def free(self, recognizer: Recognizer) -> None:
        """Free what nobody uses any more. To be called while holding `moving`."""
        self._held = [held for held in self._held if held is not recognizer]
        await asyncio.to_thread(recognizer.close)
        del recognizer  # some are freed when the last name for them is gone
        await asyncio.to_thread(give_back)

    def begin(self, work: Coroutine[Any, Any, _Outcome]) -> asyncio.Task[_Outcome]:
        """`work` as a task that ends on its own, or with everything else. Whoever waits for it may stop waiting."""
        # In nobody's name: what it starts goes on after the request that asked for it.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._work.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self) -> None:
        """End what was begun."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def close(self) -> None:
        """Free everything. Blocking; nothing may be running."""
        for recognizer in self._held:
            recognizer.close()
        self._held.clear()

    def _load(self, entry: ModelEntry, *, beside: bool) -> Recognizer:
        folder = self._shelf.store.locate(entry.id)
        if folder is None:
            raise ModelStoreError(f"{entry.id} is not on this machine.")
        if beside and self._weigh:
            check_room(self._shelf.store.entry(entry.id), folder)
        companions = self._shelf.companions(companion_roles(entry))
        return load_recognizer(entry, folder, self._settings, companions)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, SpeechError):
            _logger.error("a model could not be moved", exc_info=error)


class Resident:
    """A model that answers. In memory, or loaded again when the first request in a while asks for it."""

    def __init__(self, entry: ModelEntry, loaded: Loaded, memory: Memory) -> None:
        self.served = ServedModel(entry.id, int(time.time()), loaded.recognizer.capabilities, entry.title)
        self.entry = entry
        self._memory = memory
        self._loaded: Loaded | None = loaded
        self._loading: asyncio.Task[Loaded] | None = None
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._leaving = False
        self._freeing = False
        self._timer: asyncio.TimerHandle | None = None
        self._wait_idle()

    @property
    def state(self) -> State:
        """What it is doing."""
        if self._leaving or self._freeing:
            return "unloading"
        if self._loaded is not None:
            return "loaded" if self._loaded.available else "restarting"
        return "idle" if self._loading is None else "loading"

    @property
    def waiting(self) -> int:
        """Pieces that wait for it."""
        return self._loaded.batcher.waiting if self._loaded else 0

    @property
    def oldest(self) -> float:
        """Seconds that the one of them has waited that has waited longest."""
        return self._loaded.batcher.oldest if self._loaded else 0.0

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Nothing frees it inside."""
        self._users += 1
        self._unused.clear()
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()
                self._wait_idle()

    async def ready(self) -> Loaded:
        """What recognises, loaded first if need be. To be called inside `in_use`; cancelling it ends no loading.

        Raises:
            ModelUnavailable: it could not be loaded (whoever asks next makes another try), or what computes has died
                and is on its way back: recordings that were begun wait for it, new ones do not.
        """
        loaded = self._loaded
        if loaded is None:
            self._loading = self._loading or self._memory.begin(self._load())
            loaded = await asyncio.shield(self._loading)
        if not loaded.available:
            raise ModelUnavailable(
                f"{self.entry.id} is being started again. Try again later.", retry_after=_RESTART_SECONDS
            )
        return loaded

    async def renew(self) -> None:
        """Load it anew, with what has arrived since, as soon as nobody uses it."""
        before = self._loaded
        while before is not None and self._loaded is before and not self._leaving:
            await self._unused.wait()
            await self._free()
        if self._loaded is None and self._loading is None and not self._leaving:
            self._loading = self._memory.begin(self._load())
            await asyncio.shield(self._loading)

    async def unload(self) -> None:
        """Free it for good, as soon as nobody uses it."""
        self._leaving = True
        await self._unused.wait()
        await self._free()
        while self._loaded is not None:  # somebody came meanwhile
            await self._unused.wait()
            await self._free()

    async def _load(self) -> Loaded:
        began = time.monotonic()
        try:
            self._loaded = loaded = await self._memory.load(self.entry)
        except SpeechError as error:
            _logger.error("%s could not be loaded again: %s", self.entry.id, error.message)
            raise ModelUnavailable(f"{self.entry.id} could not be loaded again: {error.message}") from error
        except Exception as error:  # this try ends here; the next request makes another
            _logger.exception("%s could not be loaded again", self.entry.id)
            raise ModelUnavailable(f"{self.entry.id} could not be loaded again; the server's log says why.") from error
        finally:
            self._loading = None
        _logger.info("%s is loaded again (%.1f s)", self.entry.id, time.monotonic() - began)
        self._wait_idle()  # whoever asked may have gone
        return loaded

    def _wait_idle(self) -> None:
        seconds = self._memory.idle_seconds
        if self._timer is not None:
            self._timer.cancel()
        if seconds > 0 and not self._users and not self._leaving and self._loaded is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_freeing)

    def _begin_freeing(self) -> None:
        self._memory.begin(self._free())

    async def _free(self) -> None:
        """Free it, unless somebody uses it again by then."""
        while self._loaded is not None and not self._users:
            if self._loaded.computing.busy:  # calls whose requests were given up run to their end
                await self._loaded.computing.settled()
                continue
            async with self._memory.moving:
                if not self._users and not self._loaded.computing.busy:
                    await self._free_now(self._loaded)

    async def _free_now(self, loaded: Loaded) -> None:
        self._freeing = True
        try:
            await self._memory.free(self._taken(loaded))
        finally:
            self._freeing = False
        _logger.info("%s is freed", self.entry.id)

    def _taken(self, loaded: Loaded) -> Recognizer:
        """Its recogniser, which answers nobody from here on."""
        self._loaded = None
        return loaded.recognizer


def _queue(recognizer: Recognizer, computing: Computing, meter: Meter) -> Batcher | Relay:
    if isinstance(recognizer, ContinuousRecognizer):
        return Relay(recognizer, computing, meter=meter)
    return Batcher(cast("BatchRecognizer", recognizer), computing, meter=meter)


def _close_unclaimed(loading: Future[Recognizer]) -> None:
    """The end came while it was loaded."""
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()
