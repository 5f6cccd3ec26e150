"""The models in memory: loaded at start, found by the names callers use, joined by better ones when these arrive."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from app.domain.engines import (
    BatchRecognizer,
    Capabilities,
    ContinuousRecognizer,
    Punctuator,
    Recognizer,
    VoiceActivityDetector,
)
from app.domain.errors import EngineFailure, ModelStoreError, SpeechError, UnknownModel
from app.modelstore.catalog import CATALOG, ModelEntry, Role
from app.modelstore.machine import read_machine
from app.modelstore.selection import Choice, best_here, choose, wanted
from app.modelstore.store import ModelStore
from app.pipeline.batching import Batcher
from app.pipeline.chinese import ChineseWriting
from app.pipeline.relaying import Relay
from app.pipeline.text.numbers import NumberWriting
from app.pipeline.text.writing import Correctors, Writing
from app.service.loading import (
    compute_threads,
    existing_engines,
    load_detector,
    load_punctuator,
    load_recognizer,
    load_speakers,
    unawaited,
)
from app.settings import Settings

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_logger = logging.getLogger(__name__)
_Engine = TypeVar("_Engine")

_DEFAULT_NAMES = frozenset({"", "string", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize"})
"""Names that clients send without choosing: nothing, Swagger's placeholder, OpenAI's own."""
_DEFAULT_PREFIXES = ("whisper", "gpt-4o-mini-transcribe")
_NOT_HERE = "it is not on this machine yet"
_RETRY_SECONDS = 600.0
"""Between two tries to fetch what is missing."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers now. `created` is the epoch second it was loaded."""

    id: str
    created: int
    capabilities: Capabilities
    description: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory and what runs it."""

    served: ServedModel
    recognizer: Recognizer
    batcher: Batcher | Relay


class Models:
    """Everything that is loaded. Belongs to one event loop; `detection` are the threads for all but recognition."""

    def __init__(self, settings: Settings, detection: Executor) -> None:
        """Choose, and load nothing yet.

        Raises:
            UnknownModel: ASR_MODEL names one that cannot be served.
        """
        self._settings = settings
        self.choice: Choice = choose(settings, read_machine(), existing_engines())
        self._store = ModelStore(settings)
        self._compute = compute_threads("recognise", settings.threads)
        self._detection = detection
        self._loaded: dict[str, Loaded] = {}
        self.detector: VoiceActivityDetector | None = None
        self.diarizer: Diarizer | None = None
        self.speakers_failure: SpeechError | None = None
        correctors = Correctors() if settings.asr_hotword_correction else None
        self.writing = Writing(ChineseWriting(), correctors=correctors)

    async def load(self) -> None:
        """Load what is there to serve with. Of a machine's choices the first that can be loaded answers.

        Raises:
            SpeechError: nothing can be served.
        """
        detector = next(model for model in CATALOG.models if model.role == "vad")
        self.detector = await self._run(
            self._compute, lambda: load_detector(detector, self._store.ensure(detector.id), self._settings)
        )
        # Beside the recogniser, which takes as long as everything else together.
        beside = asyncio.gather(self._load_speakers(), self._load_numbers())
        try:
            loaded = await self._first_that_loads()
        finally:
            await beside
        await self._load_helpers()
        self._loaded[loaded.served.id] = loaded

    async def improve(self) -> None:
        """Keep trying to get what would serve better than what is there; ends when nothing is missing."""
        told: set[str] = set()
        # In threads: a file that is looked at for the first time is hashed, and the loop has others to serve.
        while missing := await asyncio.to_thread(self._missing):
            for model_id in missing:
                if await self._improved(model_id, told):
                    break  # what was missing beside it may not be any more
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _improved(self, model_id: str, told: set[str]) -> bool:
        """Whether the model could be fetched, and serves now or never will. What keeps it away is logged once."""
        try:
            await unawaited(lambda: self._store.ensure(model_id))
        except SpeechError as error:
            if model_id not in told:
                told.add(model_id)
                _logger.warning("%s is still missing: %s", model_id, " ".join(error.message.split()))
            return False
        except Exception:  # this try ends here; the next one may go better
            if model_id not in told:
                told.add(model_id)
                _logger.exception("%s is still missing", model_id)
            return False
        try:
            await self._adopt(model_id)
        except Exception as error:  # it is here and no good: what serves goes on serving
            why = error.message if isinstance(error, SpeechError) else "it could not be loaded"
            unforeseen = not isinstance(error, SpeechError)
            _logger.error("%s has arrived and cannot be served: %s", model_id, why, exc_info=unforeseen)
            reasons = ((passed, why if passed == model_id else reason) for passed, reason in self.choice.passed_over)
            self.choice = replace(self.choice, passed_over=tuple(reasons))
        return True

    def close(self) -> None:
        """Free the models. Blocking; nothing may be running."""
        self._compute.shutdown(wait=True, cancel_futures=True)
        for loaded in self._loaded.values():
            loaded.recognizer.close()

    # --- who answers --------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return bool(self._loaded) and self.detector is not None

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return sum(loaded.batcher.waiting for loaded in self._loaded.values())

    @property
    def has_language_model(self) -> bool:
        """Whether the default model decodes with a language model."""
        return any(loaded.recognizer.capabilities.language_model for loaded in list(self._loaded.values())[:1])

    def served(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return [loaded.served for loaded in self._loaded.values()]

    def get(self, model_id: str) -> Loaded:
        """The loaded model of that id."""
        return self._loaded[model_id]

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`.

        None, "", "string", OpenAI's own names and whisper* mean the default.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
        """
        said = (name or "").strip().lower()
        if said in self._loaded:
            return self._loaded[said].served
        if said in _DEFAULT_NAMES or said.startswith(_DEFAULT_PREFIXES):
            return next(iter(self._loaded.values())).served
        known = CATALOG.model(said)
        if known is None and self._settings.asr_unknown_model == "default":
            return next(iter(self._loaded.values())).served
        problem = "is not loaded" if known is not None and known.role == "asr" else "does not exist"
        raise UnknownModel(
            f"The model '{(name or '')[:100]}' {problem}. Available: {', '.join(self._loaded)}.", param="model"
        )

    # --- loading ------------------------------------------------------------------------------------------------------

    async def _first_that_loads(self) -> Loaded:
        """The chosen model, or the next best of an automatic choice. What is on this machine is not waited for."""
        while True:
            self.choice = await asyncio.to_thread(best_here, self.choice, self._is_here, _NOT_HERE)
            try:
                return await self._load_model(self.choice.model_id)
            except (EngineFailure, ModelStoreError) as error:
                if not self.choice.alternatives:
                    raise
                _logger.error("%s cannot be served: %s", self.choice.model_id, error.message)
                self.choice = self.choice.falling_back(error.message)

    def _is_here(self, model_id: str) -> bool:
        return self._located(model_id) is not None

    async def _load_model(self, model_id: str) -> Loaded:
        entry = model_entry(model_id)
        # On a compute thread, so that the threads an engine starts inherit its niceness.
        recognizer = await self._run(
            self._compute, lambda: load_recognizer(entry, self._store.ensure(entry.id), self._settings)
        )
        served = ServedModel(entry.id, int(time.time()), recognizer.capabilities, entry.title)
        return Loaded(served, recognizer, self._queue(recognizer))

    def _queue(self, recognizer: Recognizer) -> Batcher | Relay:
        if isinstance(recognizer, ContinuousRecognizer):
            return Relay(recognizer, self._compute)
        return Batcher(cast("BatchRecognizer", recognizer), self._compute)

    async def _load_helpers(self) -> None:
        """What text and speakers need. Without it everything else is served, and the log says so."""
        await self._load_speakers()
        await self._load_numbers()
        helpers = map(model_entry, wanted(self._settings, self.choice))
        marks = any(entry.role == "punctuation" for entry in helpers)
        if marks and self.writing.punctuator is None:
            punctuator = await self._optional("text will have no marks", self._punctuator)
            self.writing = replace(self.writing, punctuator=punctuator)

    async def _load_numbers(self) -> None:
        if self._settings.asr_enable_itn and self.writing.numbers is None:
            numbers = await self._optional("numbers will stay words", NumberWriting)
            self.writing = replace(self.writing, numbers=numbers)

    async def _load_speakers(self) -> None:
        if self._settings.speaker_diarization == "off" or self.diarizer is not None:
            return
        try:
            self.diarizer = await self._run(self._detection, self._speakers)
            self.speakers_failure = None
        except SpeechError as error:
            self.speakers_failure = error
            _logger.error("speakers will not be told apart: %s", error.message)
        except Exception:  # this attempt ends here, and everything else can be served
            self.speakers_failure = EngineFailure("What tells speakers apart could not be loaded.")
            _logger.exception("speakers will not be told apart")

    def _speakers(self) -> Diarizer:
        from app.pipeline.diarization.diarizer import Diarizer  # noqa: PLC0415 - scipy: half a second of every start

        found = self._entry_here("speakers")
        if found is None:  # what could not be fetched before is not waited for again now
            raise ModelStoreError("The models that tell speakers apart are not on this machine.")
        models = load_speakers(*found, self._settings)
        return Diarizer(
            models.segmenter,
            models.encoder,
            self._detection,
            parallel=self._settings.threads,
            threshold=self._settings.voice_threshold,
        )

    def _punctuator(self) -> Punctuator:
        found = self._entry_here("punctuation")
        if found is None:
            raise ModelStoreError("The model that sets punctuation marks is not on this machine.")
        return load_punctuator(*found, self._settings)

    async def _optional(self, without: str, load: Callable[[], _Engine]) -> _Engine | None:
        try:
            return await self._run(self._detection, load)
        except SpeechError as error:
            _logger.error("%s: %s", without, error.message)
        except Exception:  # as in _load_speakers
            _logger.exception("%s", without)
        return None

    def _entry_here(self, role: Role) -> tuple[ModelEntry, Path] | None:
        """The first entry of a role that is on this machine, and its folder."""
        entries = (entry for entry in CATALOG.models if entry.role == role)
        return next(((entry, folder) for entry in entries if (folder := self._located(entry.id))), None)

    def _located(self, model_id: str) -> Path | None:
        try:
            return self._store.locate(model_id)
        except ModelStoreError:  # a folder that was named for it is not there: told when it is loaded
            return Path()

    # --- improving ----------------------------------------------------------------------------------------------------

    def _missing(self) -> list[str]:
        """Ids of what this machine is wanted to have and does not have yet."""
        better = [] if self.choice.by_name else [model_id for model_id, _ in self.choice.passed_over]
        known = [entry for entry in map(CATALOG.model, better) if entry is not None]
        helpers = [
            entry
            for entry in map(model_entry, wanted(self._settings, self.choice))
            if self._entry_here(entry.role) is None  # another one for the same does as well
        ]
        return [
            entry.id
            for entry in (*known, *helpers)
            if entry.engine in existing_engines() and self._located(entry.id) is None
        ]

    async def _adopt(self, model_id: str) -> None:
        """Serve with what has arrived: a better recogniser becomes the default, the one before it stays."""
        entry = model_entry(model_id)
        if entry.role == "asr":
            loaded = await self._load_model(model_id)
            better = [passed for passed, _ in self.choice.passed_over].index(model_id)
            self.choice = replace(self.choice, model_id=model_id, passed_over=self.choice.passed_over[:better])
            await self._load_helpers()  # first: what writes no marks by itself is not to answer without any
            self._loaded = {model_id: loaded, **self._loaded}
            _logger.info("%s has arrived and answers from now on", model_id)
        else:
            await self._load_helpers()

    async def _run(self, threads: Executor, work: Callable[[], _Engine]) -> _Engine:
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def model_entry(model_id: str) -> ModelEntry:
    """The catalog's entry of a model that was chosen from it."""
    entry = CATALOG.model(model_id)
    if entry is None:
        raise AssertionError(f"{model_id} was chosen and is not in the catalog")
    return entry
