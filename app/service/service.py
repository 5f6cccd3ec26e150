"""The service object: what every protocol shares. Built in the application's lifespan and handed down."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Coroutine, Mapping
from contextvars import Context

from app.domain.errors import EngineFailure, ModelUnavailable, SpeechError
from app.domain.hotwords import Hotword
from app.domain.meters import NO_METER, Meter
from app.modelstore.selection import Choice
from app.pipeline.hotwords.parsing import parse_hotwords
from app.service import heaps, leftovers
from app.service.equipped import LOADING
from app.service.improving import Improvement
from app.service.jobs.files import incoming
from app.service.jobs.job import Face
from app.service.jobs.jobs import Jobs
from app.service.jobs.messages import Drawer
from app.service.models import ModelState
from app.service.recognising import RecognisingService
from app.service.residents import ServedModel
from app.service.resumable.store import UploadStore
from app.service.vocabularies.store import VocabularyStore
from app.service.voices.store import VoiceStore
from app.settings import Settings

_logger = logging.getLogger(__name__)

_HOUR = 3600.0
_SLACK_SECONDS = 3600.0
_ID = re.compile(r"vocab_\w+|[0-9a-f]{32}")
"""What a stored vocabulary is called here, and at Alibaba Cloud, from where clients may bring ids."""


class SpeechService(RecognisingService):
    """Recognition for protocols: resolve a model by the caller's name, transcribe a file with it.

    Here are its life, its models and what is stored; what becomes of a recording is in RecognisingService.
    """

    def __init__(
        self, settings: Settings, meter: Meter = NO_METER, drawers: Mapping[Face, Drawer] | None = None
    ) -> None:
        """`meter` is told what is worth counting; `drawers` draw what owners of jobs are told at their webhooks."""
        super().__init__(settings, meter)
        self.failure: SpeechError | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._improvement = Improvement(self._models)
        self._improving: asyncio.Task[None] | None = None
        self.voices = VoiceStore(settings.data_dir / "voices.db", max_voices=settings.max_voices)
        self.vocabularies = VocabularyStore(
            settings.data_dir / "vocabularies.db",
            max_vocabularies=settings.max_vocabularies,
            max_hotwords=settings.max_hotwords,
        )
        self.uploads = UploadStore(
            settings.jobs_folder / "uploads",
            max_bytes=settings.max_job_audio_size,
            retention_seconds=settings.upload_retention_hours * _HOUR,
        )
        sweeps = {
            "resumable uploads": self.uploads.sweep,
            "forms of killed servers": self._sweep_incoming,
        }
        self.jobs = Jobs(self, settings, meter, drawers=drawers, sweeps=sweeps)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the models and warm the decoders up. A failure is kept in `failure`, so that health can tell it. Owners
        of jobs are told of them, and what has expired goes, whatever becomes of the models."""
        started = time.monotonic()
        self.jobs.start()
        try:
            await asyncio.to_thread(leftovers.prepare, self.settings.temp_dir, self._longest)
            # Both to their end, whatever becomes of the other: decoders that are still starting cannot be closed.
            for outcome in await asyncio.gather(self._decoders.start(), self._models.load(), return_exceptions=True):
                if outcome is not None:
                    raise outcome
        except SpeechError as error:
            self.failure = error
            _logger.error("not ready: %s", error.message)
            return
        except OSError:
            self.failure = EngineFailure("TEMP_DIR cannot be used; the server's log says why.")
            _logger.exception("not ready")
            return
        except Exception:  # this task ends here, and health must not say "loading" for ever
            self.failure = EngineFailure("The model could not be loaded; the server's log says why.")
            _logger.exception("not ready")
            return
        _logger.info("ready in %.1f s: %s, %s", time.monotonic() - started, self.choice.model_id, self.choice.reason)
        for model_id, reason in self.choice.passed_over:
            _logger.warning("%s would be the better model here, but %s", model_id, reason)
        self._improve()
        self._begin(self._models.load_more())
        self._begin(heaps.give_back())
        self.jobs.work()

    async def close(self) -> None:
        """End the decoders and free the models. Requests in progress must have ended; jobs are put back."""
        await self.jobs.close()
        await self.close_job_tools()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._fetcher.close()
        await self._decoders.close()
        self._detection.shutdown(wait=True, cancel_futures=True)
        self._listening.shutdown(wait=True, cancel_futures=True)
        await self.voices.close()
        await self.vocabularies.close()
        await self._models.close()

    @property
    def _longest(self) -> float:
        """Seconds: no request lasts longer after its file was last written to."""
        return self.settings.request_timeout_seconds + self.settings.decode_timeout_seconds + _SLACK_SECONDS

    async def _sweep_incoming(self) -> int:
        folder = await asyncio.to_thread(incoming, self.settings.jobs_folder)
        return await asyncio.to_thread(leftovers.prepare, folder, self._longest)

    def _improve(self) -> None:
        """See to it that what is missing is fetched."""
        if self._improving is None or self._improving.done():
            self._improving = self._begin(self._improvement.run())

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=Context())  # in nobody's name: it goes on after the request
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # --- models -------------------------------------------------------------------------------------------------------

    @property
    def choice(self) -> Choice:
        """The model this machine serves, and why."""
        return self._models.choice

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return self._models.ready

    @property
    def device(self) -> str:
        """What DEVICE meant on this machine when the server started: cpu, or a card, as cuda:0."""
        return self._models.device

    @property
    def active(self) -> int:
        """Requests in progress."""
        return self._admission.active

    @property
    def active_streams(self) -> int:
        """Live streams that go on."""
        return self._live.active

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return self._models.waiting_pieces

    @property
    def oldest_piece(self) -> float:
        """Seconds that the one of them has waited that has waited longest; 0 where none waits."""
        return self._models.oldest_piece

    @property
    def backlog(self) -> float:
        """Seconds of the whole machine that requests in progress still need, as foretold."""
        return self._admission.backlog

    @property
    def punctuates(self) -> bool:
        """Whether text that was recognised without marks gets some."""
        return self._models.writing.punctuator is not None

    @property
    def writes_numbers(self) -> bool:
        """Whether numbers said as words are written in digits."""
        return self._models.writing.numbers is not None

    @property
    def has_language_model(self) -> bool:
        """Whether the default model decodes with a language model."""
        return self._models.has_language_model

    def models(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return self._models.served()

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`; see Models.resolve.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
            ModelUnavailable: still loading.
        """
        self._check_ready()
        return self._models.resolve(name)

    def states(self) -> list[ModelState]:
        """Which models are in memory, the default first, and which were to be and are not."""
        return self._models.states()

    async def load_model(self, model_id: str) -> ServedModel:
        """Have a model of this machine answer beside those that do; see Models.admit for errors.

        Raises:
            ModelUnavailable: the first is still loading.
        """
        self._check_ready()
        served = await self._models.admit(model_id)
        self._improve()  # it may be served better with something that is not here
        return served

    async def unload_model(self, model_id: str) -> str:
        """End a model's answering, and free it once nobody uses it; see Models.unload for errors. Returns its id.

        Raises:
            ModelUnavailable: the first is still loading.
        """
        self._check_ready()
        return await self._models.unload(model_id)

    def _check_ready(self) -> None:
        if not self.ready:
            raise ModelUnavailable(self.failure.message if self.failure else LOADING)

    # --- hotwords -----------------------------------------------------------------------------------------------------

    async def vocabulary(self, owner: str, said: str, *, param: str) -> tuple[Hotword, ...]:
        """The hotwords of the stored vocabulary or class of words whose id is `said`; or, as in funasr-api, those that
        `said` lists.

        Raises:
            UnknownVocabulary: it is an id, and `owner` has stored none of that id.
            InvalidParameter: it is neither.
            VocabulariesUnavailable: the database cannot be used.
        """
        if _ID.fullmatch(said.strip()):
            return await self.vocabularies.hotwords_of(owner, said.strip(), param=param)
        return parse_hotwords(said, param=param, most=self.settings.max_hotwords)
