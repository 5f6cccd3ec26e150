"""Who answers: models found by the names callers use, loaded at start and on demand, joined by better ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from app.domain.engines import VoiceActivityDetector
from app.domain.errors import EngineFailure, ModelConflict, ModelStoreError, SpeechError, UnknownModel
from app.domain.meters import NO_METER, Meter
from app.modelstore.catalog import CATALOG, ModelEntry
from app.modelstore.machine import read_machine
from app.modelstore.selection import QWEN, Choice, best_here, choose
from app.modelstore.store import ModelStore
from app.pipeline.computing import ComputeThreads
from app.pipeline.text.writing import Writing
from app.service.helpers import Helpers
from app.service.loading import companion_roles, compute_threads, existing_engines, unawaited
from app.service.residents import Memory, Resident, ServedModel, State
from app.service.shelf import Shelf, model_entry, recognizer_entry
from app.settings import Settings

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarizer

_logger = logging.getLogger(__name__)

_DEFAULT_NAMES = frozenset({"", "string", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize"})
"""Names that clients send without choosing: nothing, Swagger's placeholder, OpenAI's own."""
_DEFAULT_PREFIXES = ("whisper", "gpt-4o-mini-transcribe", "gpt-realtime", "gpt-live-transcribe")
_NOT_HERE = "it is not on this machine yet"


@dataclass(frozen=True, slots=True)
class ModelState:
    """Where a model stands; `failed` and why is one that was to be loaded at start."""

    id: str
    state: State | Literal["failed"]
    reason: str | None = None


class Models:
    """Everything that is loaded. Belongs to one event loop; `detection` are the threads for all but recognition."""

    def __init__(self, settings: Settings, detection: Executor, meter: Meter = NO_METER) -> None:
        """Choose, and load nothing yet.

        Raises:
            UnknownModel: ASR_MODEL names one that cannot be served.
            InvalidParameter: DEVICE names a card that is not there.
        """
        machine = read_machine()
        self.choice: Choice = choose(settings, machine, existing_engines())
        self.shelf = Shelf(ModelStore(settings))
        self.helpers = Helpers(settings, self.shelf, detection)
        self._settings = settings
        self._compute = compute_threads("recognise", settings.threads)
        gpu = machine.gpu(settings.device)
        # Kept, because asking a card's driver takes a second, and health is asked for it often.
        self.device = "cpu" if gpu is None else f"cuda:{gpu.index}"
        self._memory = Memory(settings, self.shelf, ComputeThreads(self._compute), weigh=gpu is None, meter=meter)
        self._arriving = asyncio.Lock()
        self._residents: dict[str, Resident] = {}
        self._leaving: dict[str, Resident] = {}
        self._extra: dict[str, ModelState] = {}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Load what is there to serve with. Of a machine's choices the first that can be loaded answers.

        Raises:
            SpeechError: nothing can be served.
        """
        await self.helpers.load_detector(self._compute)
        # Beside the recogniser, which takes as long as everything else together.
        beside = asyncio.create_task(self.helpers.load_for_any())
        try:
            resident = await self._first_that_loads()
        finally:
            await beside
        await self.helpers.load([self.choice])
        self._residents[resident.served.id] = resident

    async def load_more(self) -> None:
        """Load what is to answer beside the default (AUTO_LOAD_CUSTOM_ASR_MODELS). What fails is logged and told."""
        names = list(dict.fromkeys(name.lower() for name in self._settings.auto_load_custom_asr_models))
        self._extra |= {name: ModelState(name, "loading") for name in names if name not in self._residents}
        for name in list(self._extra):
            try:
                await self.fetch(recognizer_entry(name).id)
                await self.admit(name)
            except SpeechError as error:
                reason = " ".join(error.message.split())
                _logger.error("AUTO_LOAD_CUSTOM_ASR_MODELS: %s is not served: %s", name, reason)
            except Exception:  # this one ends here, and the others can be served
                reason = "It could not be loaded; the server's log says why."
                _logger.exception("AUTO_LOAD_CUSTOM_ASR_MODELS: %s is not served", name)
            else:
                continue
            self._extra[name] = ModelState(name, "failed", reason)

    async def close(self) -> None:
        """Free the models. Nothing may be running."""
        await self._memory.settle()
        self._compute.shutdown(wait=True, cancel_futures=True)
        self._memory.close()

    # --- who answers --------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return bool(self._residents) and self.detector is not None

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return sum(resident.waiting for resident in (*self._residents.values(), *self._leaving.values()))

    @property
    def oldest_piece(self) -> float:
        """Seconds that the one of them has waited that has waited longest; 0 where none waits."""
        waiting = (resident.oldest for resident in (*self._residents.values(), *self._leaving.values()))
        return max(waiting, default=0.0)

    @property
    def has_language_model(self) -> bool:
        """Whether the default model decodes with a language model."""
        return any(model.capabilities.language_model for model in self.served()[:1])

    def served(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return [resident.served for resident in self._residents.values()]

    def states(self) -> list[ModelState]:
        """Models that answer, the default first, those on their way out, and those that were to be loaded at start."""
        here = [*self._residents.items(), *self._leaving.items()]
        return [*(ModelState(model_id, resident.state) for model_id, resident in here), *self._extra.values()]

    @contextmanager
    def using(self, model_id: str) -> Generator[Resident]:
        """The model that answers by that id; it stays until the block ends.

        Raises:
            UnknownModel: it does not answer any more.
        """
        resident = self._residents.get(model_id)
        if resident is None:
            raise self._unknown(model_id)
        with resident.in_use():
            yield resident

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`.

        None, "", "string", OpenAI's own names and whisper* mean the default; qwen3-asr means Qwen3-ASR of any size.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
        """
        said = (name or "").strip().lower()
        if said in self._residents:
            return self._residents[said].served
        if said == QWEN and (sizes := [name for name in self._residents if name.startswith(QWEN)]):
            return self._residents[sizes[0]].served
        if said in _DEFAULT_NAMES or (said.startswith(_DEFAULT_PREFIXES) and CATALOG.model(said) is None):
            return self.served()[0]
        if CATALOG.model(said) is None and self._settings.asr_unknown_model == "default":
            return self.served()[0]
        raise self._unknown(name or "")

    def _unknown(self, name: str) -> UnknownModel:
        known = CATALOG.model(name.strip().lower())
        problem = "is not loaded" if known is not None and known.role == "asr" else "does not exist"
        return UnknownModel(
            f"The model {name[:100]!r} {problem}. Available: {', '.join(self._residents)}.", param="model"
        )

    # --- what helps them ----------------------------------------------------------------------------------------------

    @property
    def detector(self) -> VoiceActivityDetector | None:
        """What finds speech."""
        return self.helpers.detector

    @property
    def writing(self) -> Writing:
        """What text passes through."""
        return self.helpers.writing

    @property
    def diarizer(self) -> Diarizer | None:
        """What tells speakers apart."""
        return self.helpers.diarizer

    @property
    def speakers_failure(self) -> SpeechError | None:
        """Why there is none, where that went wrong."""
        return self.helpers.speakers_failure

    # --- coming and going ---------------------------------------------------------------------------------------------

    async def admit(self, name: str, *, default: bool = False) -> ServedModel:
        """Have a model of this machine answer, as the `default` or after those that do. One that does already stays.

        Raises:
            UnknownModel: it does not exist, recognises no speech, or is not on this machine.
            ModelConflict: it is being unloaded, or does not fit into memory.
            EngineFailure: it is here and no good.
        """
        entry = recognizer_entry(name)
        async with self._arriving:
            if entry.id in self._leaving:
                raise ModelConflict(
                    f"{entry.id} is being unloaded: requests still use it. Try again later.", param="model"
                )
            resident = self._residents.get(entry.id)
            if resident is None:
                if await asyncio.to_thread(self.shelf.located, entry.id) is None:
                    command = f"python start.py models download {entry.id}"
                    raise UnknownModel(f"{entry.id} is not on this machine. Fetch it: {command}", param="model")
                resident = await self._new(entry)
            if default:
                self.choice = replace(self.choice, model_id=entry.id)
            # First: what writes no marks by itself is not to answer without any.
            await self.load_helpers(entry.id)
            joined = {entry.id: resident}
            self._residents = {**joined, **self._residents} if default else {**self._residents, **joined}
            self._extra.pop(entry.id, None)
        return resident.served

    async def unload(self, name: str) -> str:
        """End a model's answering; free it when the requests that use it have ended. Returns its id once it is free.

        Of the default, the next one takes the place.

        Raises:
            UnknownModel: it is not loaded.
            ModelConflict: no other model would be left.
        """
        model_id = name.strip().lower()
        async with self._arriving:
            if model_id not in self._residents:
                raise self._unknown(name)
            if len(self._residents) == 1:
                raise ModelConflict(
                    f"{model_id} is the only model that answers. Load another one first.", param="model"
                )
            self._leaving[model_id] = self._residents.pop(model_id)
        if self.choice.model_id == model_id:
            self.choice = replace(self.choice, model_id=next(iter(self._residents)), reason=f"{model_id} was unloaded")
        await asyncio.shield(self._memory.begin(self._dismiss(model_id)))
        return model_id

    async def _dismiss(self, model_id: str) -> None:
        try:
            await self._leaving[model_id].unload()
        finally:
            del self._leaving[model_id]

    async def renew(self, role: str) -> None:
        """Load those models anew that work with one of this role, which has arrived."""
        for resident in list(self._residents.values()):
            if role in companion_roles(resident.entry):
                await resident.renew()

    async def load_helpers(self, *more: str) -> None:
        """Load what helps the models that answer, and `more` that soon will, as far as it is here."""
        await self.helpers.load(self._choices(*more))

    def missing_helpers(self) -> list[ModelEntry]:
        """What the models that answer are served better with and is not on this machine. Blocking."""
        return self.helpers.missing(self._choices())

    async def fetch(self, model_id: str) -> None:
        """Have a model on this machine, from a mirror if need be. Ending does not wait for it.

        Raises:
            SpeechError: it cannot be had.
        """
        await unawaited(lambda: self.shelf.store.ensure(model_id))

    def _choices(self, *more: str) -> list[Choice]:
        """A choice for each of them."""
        ids = dict.fromkeys((self.choice.model_id, *self._residents, *more))
        return [replace(self.choice, model_id=model_id) for model_id in ids]

    async def _first_that_loads(self) -> Resident:
        """The chosen model, or the next best of an automatic choice. What is on this machine is not waited for."""
        while True:
            self.choice = await asyncio.to_thread(
                best_here, self.choice, lambda model_id: self.shelf.located(model_id) is not None, _NOT_HERE
            )
            try:
                await self.fetch(self.choice.model_id)
                return await self._new(model_entry(self.choice.model_id))
            except (EngineFailure, ModelStoreError) as error:
                if not self.choice.alternatives:
                    raise
                _logger.error("%s cannot be served: %s", self.choice.model_id, error.message)
                self.choice = self.choice.falling_back(error.message)

    async def _new(self, entry: ModelEntry) -> Resident:
        return Resident(entry, await self._memory.load(entry), self._memory)
