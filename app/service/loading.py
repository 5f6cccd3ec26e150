"""From a catalog entry to a running engine. An engine is a module under app/engines/ with a `load` function."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import app.engines
from app.domain.devices import Device
from app.domain.engines import Punctuator, Recognizer, SpeakerModels, VoiceActivityDetector
from app.domain.live_engines import LivePunctuator, StreamingRecognizer
from app.modelstore.catalog import ModelEntry
from app.modelstore.machine import read_machine
from app.service.memory import available_memory
from app.settings import Settings

_Outcome = TypeVar("_Outcome")
_NICENESS = 5
"""Compute threads stand back behind the event loop, so that answers and health checks stay prompt on busy cores."""


def existing_engines() -> frozenset[str]:
    """Names of this version's engines. None is imported."""
    return frozenset(module.name for module in pkgutil.iter_modules(app.engines.__path__))


def compute_threads(purpose: str, count: int) -> ThreadPoolExecutor:
    """Threads for engines, behind the event loop in priority. What an engine loaded on them starts is as nice."""
    return _NamedWork(count, thread_name_prefix=purpose, initializer=_stand_back)


class _NamedWork(ThreadPoolExecutor):
    """Threads whose lines in the log say for whom, as those of asyncio.to_thread do."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As its parent, in the context of who asks."""
        return super().submit(copy_context().run, fn, *args, **kwargs)


def in_background(work: Callable[[], _Outcome], *, nice: bool = False) -> Future[_Outcome]:
    """`work`, on a thread that the end of the process does not wait for: a fetch may take hours, and a model's start
    minutes. `nice`: behind the event loop in priority, with whatever it starts."""
    outcome: Future[_Outcome] = Future()
    outcome.set_running_or_notify_cancel()  # giving up waiting for it does not make it end

    def run() -> None:
        if nice:
            _stand_back()
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            outcome.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return outcome


async def unawaited(work: Callable[[], _Outcome]) -> _Outcome:
    """What `work` makes on a thread of its own, see `in_background`."""
    return await asyncio.wrap_future(in_background(work))


def companion_roles(entry: ModelEntry) -> tuple[str, ...]:
    """Roles of the models that the entry's engine works with, where they are there: its COMPANIONS. Imports it."""
    return cast("tuple[str, ...]", getattr(_engine(entry), "COMPANIONS", ()))


def load_recognizer(entry: ModelEntry, folder: Path, settings: Settings, companions: Mapping[str, Path]) -> Recognizer:
    """Load weights. Blocking: seconds. Raises EngineFailure.

    `companions` are folders by role (`companion_roles`); an engine that has no COMPANIONS is not handed them, nor where
    it is to run: it is small, and finds out itself.
    """
    load = cast("Callable[..., Recognizer]", _loader(entry))
    if companion_roles(entry):
        return load(entry.id, folder, settings, companions=companions, device=device_of(settings))
    return load(entry.id, folder, settings)


def device_of(settings: Settings) -> Device:
    """The card that DEVICE means, or this machine, with what is free on it now."""
    machine = read_machine()
    gpu = machine.gpu(settings.device)
    if gpu is not None:
        return Device(gpu.uuid, gpu.memory, gpu.free)
    available = available_memory()
    free = machine.memory if available is None else available
    return Device(None, machine.memory, free, bfloat16="bf16" in machine.features)


def load_detector(entry: ModelEntry, folder: Path, settings: Settings) -> VoiceActivityDetector:
    """Load a voice activity detector. Blocking. Raises EngineFailure."""
    return cast("Callable[..., VoiceActivityDetector]", _loader(entry))(entry.id, folder, settings)


def load_punctuator(entry: ModelEntry, folder: Path, settings: Settings) -> Punctuator:
    """Load what sets punctuation marks. Blocking. Raises EngineFailure."""
    return cast("Callable[..., Punctuator]", _loader(entry))(entry.id, folder, settings)


def load_live_punctuator(entry: ModelEntry, folder: Path, settings: Settings) -> LivePunctuator:
    """Load what sets punctuation marks into live text. Blocking. Raises EngineFailure."""
    return cast("Callable[..., LivePunctuator]", _engine(entry).load_live)(entry.id, folder, settings)


def load_streaming(entry: ModelEntry, folder: Path, settings: Settings) -> StreamingRecognizer:
    """Load what hears speech while it is spoken. Blocking: seconds. Raises EngineFailure."""
    return cast("Callable[..., StreamingRecognizer]", _loader(entry))(entry.id, folder, settings)


def load_speakers(entry: ModelEntry, folder: Path, settings: Settings) -> SpeakerModels:
    """Load what tells speakers apart. Blocking. Raises EngineFailure."""
    return cast("Callable[..., SpeakerModels]", _loader(entry))(entry.id, folder, settings)


def _loader(entry: ModelEntry) -> object:
    return _engine(entry).load


def _engine(entry: ModelEntry) -> ModuleType:
    return importlib.import_module(f"app.engines.{entry.engine}")


def _stand_back() -> None:
    if hasattr(os, "setpriority"):  # on Linux this is the calling thread's own, and what it starts inherits it
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
