"""What helps recognisers: speech found, marks set, numbers written, speakers told apart, live speech heard as it is
spoken. Loaded once, kept for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from app.domain.engines import VoiceActivityDetector
from app.domain.errors import EngineFailure, ModelStoreError, SpeechError
from app.domain.live_engines import LivePunctuator, StreamingRecognizer
from app.modelstore.catalog import CATALOG, ModelEntry, Role
from app.modelstore.selection import Choice, wanted
from app.pipeline.chinese import ChineseWriting
from app.pipeline.text.numbers import NumberWriting
from app.pipeline.text.writing import Correctors, Writing
from app.service.loading import (
    load_detector,
    load_live_punctuator,
    load_punctuator,
    load_speakers,
    load_streaming,
)
from app.service.shelf import Shelf, model_entry
from app.settings import Settings

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_logger = logging.getLogger(__name__)
_Engine = TypeVar("_Engine")
_ABSENT: Mapping[Role, str] = MappingProxyType(
    {
        "punctuation": "The model that sets punctuation marks is",
        "live_punctuation": "The model that sets punctuation marks into live text is",
        "live_asr": "The model that hears speech while it is spoken is",
        "speakers": "The models that tell speakers apart are",
    }
)
"""How it is said that what has a role is not here."""


class Helpers:
    """Everything that is loaded besides recognisers. `detection` are the threads it runs on."""

    def __init__(self, settings: Settings, shelf: Shelf, detection: Executor) -> None:
        self._settings = settings
        self._shelf = shelf
        self._detection = detection
        self.detector: VoiceActivityDetector | None = None
        self.diarizer: Diarizer | None = None
        self.speakers_failure: SpeechError | None = None
        self.streaming: StreamingRecognizer | None = None
        self.live_punctuator: LivePunctuator | None = None
        correctors = Correctors() if settings.asr_hotword_correction else None
        self.writing = Writing(ChineseWriting(), correctors=correctors)

    async def load_detector(self, threads: Executor) -> None:
        """Load what finds speech, which nothing can be recognised without. `threads` load it.

        Raises:
            SpeechError: it cannot be had.
        """
        entry = next(model for model in CATALOG.models if model.role == "vad")
        self.detector = await _run(
            threads, lambda: load_detector(entry, self._shelf.store.ensure(entry.id), self._settings)
        )

    async def load(self, choices: Sequence[Choice]) -> None:
        """What text, live speech and speakers of these models need. Without it everything else is served, and the log
        says so."""
        await self.load_for_any()
        roles = {entry.role for entry in self._wanted(choices)}
        await asyncio.gather(
            *([self._load_punctuator()] if "punctuation" in roles else []),
            *([self._load_streaming()] if "live_asr" in roles else []),
            *([self._load_live_punctuator()] if "live_punctuation" in roles else []),
        )

    async def load_for_any(self) -> None:
        """What every model needs."""
        await asyncio.gather(self._load_speakers(), self._load_numbers())

    def missing(self, choices: Sequence[Choice]) -> list[ModelEntry]:
        """What these models are served better with and is not on this machine. Blocking."""
        # Another one for the same does as well.
        return [entry for entry in self._wanted(choices) if self._shelf.of_role(entry.role) is None]

    def _wanted(self, choices: Sequence[Choice]) -> list[ModelEntry]:
        ids = dict.fromkeys(model_id for choice in choices for model_id in wanted(self._settings, choice))
        return [model_entry(model_id) for model_id in ids]

    async def _load_punctuator(self) -> None:
        if self.writing.punctuator is None:
            punctuator = await self._optional(
                "text will have no marks", lambda: load_punctuator(*self._found("punctuation"), self._settings)
            )
            self.writing = replace(self.writing, punctuator=punctuator)

    async def _load_streaming(self) -> None:
        if self.streaming is None:
            self.streaming = await self._optional(
                "live text is made by the model for whole pieces",
                lambda: load_streaming(*self._found("live_asr"), self._settings),
            )

    async def _load_live_punctuator(self) -> None:
        if self.live_punctuator is None:
            self.live_punctuator = await self._optional(
                "live text will have no marks before it is final",
                lambda: load_live_punctuator(*self._found("live_punctuation"), self._settings),
            )

    async def _load_numbers(self) -> None:
        if self._settings.asr_enable_itn and self.writing.numbers is None:
            numbers = await self._optional("numbers will stay words", NumberWriting)
            self.writing = replace(self.writing, numbers=numbers)

    async def _load_speakers(self) -> None:
        if self._settings.speaker_diarization == "off" or self.diarizer is not None:
            return
        try:
            self.diarizer = await _run(self._detection, self._speakers)
            self.speakers_failure = None
        except SpeechError as error:
            self.speakers_failure = error
            _logger.error("speakers will not be told apart: %s", error.message)
        except Exception:  # this attempt ends here, and everything else can be served
            self.speakers_failure = EngineFailure("What tells speakers apart could not be loaded.")
            _logger.exception("speakers will not be told apart")

    def _speakers(self) -> Diarizer:
        from app.pipeline.diarization.diarizer import Diarizer  # noqa: PLC0415 - scipy: half a second of every start

        models = load_speakers(*self._found("speakers"), self._settings)
        return Diarizer(
            models.segmenter,
            models.encoder,
            self._detection,
            parallel=self._settings.threads,
            threshold=self._settings.voice_threshold,
        )

    def _found(self, role: Role) -> tuple[ModelEntry, Path]:
        """The model of a role. Raises ModelStoreError: it is not on this machine."""
        found = self._shelf.of_role(role)
        if found is None:  # what could not be fetched before is not waited for again now
            raise ModelStoreError(f"{_ABSENT[role]} not on this machine.")
        return found

    async def _optional(self, without: str, load: Callable[[], _Engine]) -> _Engine | None:
        try:
            return await _run(self._detection, load)
        except SpeechError as error:
            _logger.error("%s: %s", without, error.message)
        except Exception:  # as in _load_speakers
            _logger.exception("%s", without)
        return None


async def _run(threads: Executor, work: Callable[[], _Engine]) -> _Engine:
    return await asyncio.get_running_loop().run_in_executor(threads, work)
