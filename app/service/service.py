"""The service object: what every protocol shares. Built in the application's lifespan and handed down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from app.audio.declared import DeclaredSound
from app.audio.decoding import DecoderPool
from app.audio.recording import Recording
from app.domain.engines import Capabilities, Recognizer, VoiceActivityDetector
from app.domain.errors import EngineFailure, ModelUnavailable, SpeechError, UnknownModel
from app.domain.options import RecognitionOptions
from app.domain.transcript import Segment, Transcript, Usage, join_texts
from app.modelstore.catalog import CATALOG, ModelEntry
from app.modelstore.machine import read_machine
from app.modelstore.selection import Choice, choose
from app.modelstore.store import ModelStore
from app.pipeline.assembling import segments
from app.pipeline.batching import Batcher
from app.pipeline.chinese import ChineseWriting
from app.pipeline.recognition import Heard, Recognition
from app.pipeline.segmentation import MAX_SILENCE, Cut, cut
from app.service import leftovers
from app.service.admission import Admission, Caller, Ticket
from app.service.loading import compute_threads, existing_engines, load_detector, load_recognizer
from app.settings import Settings

_logger = logging.getLogger(__name__)

_SLACK_SECONDS = 3600.0
_DEFAULT_NAMES = frozenset({"", "string", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize"})
"""Names that clients send without choosing: nothing, Swagger's placeholder, OpenAI's own."""
_DEFAULT_PREFIXES = ("whisper", "gpt-4o-mini-transcribe")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that answers now. `created` is the epoch second it was loaded."""

    id: str
    created: int
    capabilities: Capabilities
    description: str


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory and what runs it."""

    served: ServedModel
    recognizer: Recognizer
    batcher: Batcher


class SpeechService:
    """Recognition for protocols: resolve a model by the caller's name, transcribe a file with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.choice: Choice = choose(settings, read_machine(), existing_engines())
        self.failure: SpeechError | None = None
        self._store = ModelStore(settings)
        self._decoders = DecoderPool(
            workers=settings.threads,
            temp_dir=settings.temp_dir,
            max_seconds=settings.max_audio_seconds,
            timeout=settings.decode_timeout_seconds,
        )
        self._compute = compute_threads("recognise", settings.threads)
        # Detection is short beside recognition; on threads of its own it never waits for a call to end.
        self._detection = compute_threads("detect", settings.threads)
        self._detector: VoiceActivityDetector | None = None
        self._loaded: dict[str, _Loaded] = {}
        self._chinese = ChineseWriting()
        self._admission = Admission(
            max_requests=settings.max_requests,
            max_wait=settings.max_wait_seconds,
            timeout=settings.request_timeout_seconds,
            keys=len(settings.keys),
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the models and warm the decoders up. A failure is kept in `failure`, so that health can tell it."""
        started = time.monotonic()
        # No request lasts longer than this after its file was last written to.
        longest = self.settings.request_timeout_seconds + self.settings.decode_timeout_seconds + _SLACK_SECONDS
        try:
            await asyncio.to_thread(leftovers.prepare, self.settings.temp_dir, longest)
            # Both to their end, whatever becomes of the other: decoders that are still starting cannot be closed.
            for outcome in await asyncio.gather(self._decoders.start(), self._load_models(), return_exceptions=True):
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

    async def close(self) -> None:
        """End the decoders and free the models. Requests in progress must have ended."""
        await self._decoders.close()
        for threads in (self._detection, self._compute):
            threads.shutdown(wait=True, cancel_futures=True)
        for loaded in self._loaded.values():
            loaded.recognizer.close()

    async def _load_models(self) -> None:
        entry = _model_entry(self.choice.model_id)
        detector = next(model for model in CATALOG.models if model.role == "vad")
        loop = asyncio.get_running_loop()
        # On a compute thread, so that the threads an engine starts inherit its niceness.
        self._detector = await loop.run_in_executor(
            self._compute, lambda: load_detector(detector, self._store.ensure(detector.id), self.settings)
        )
        recognizer = await loop.run_in_executor(
            self._compute, lambda: load_recognizer(entry, self._store.ensure(entry.id), self.settings)
        )
        served = ServedModel(entry.id, int(time.time()), recognizer.capabilities, entry.title)
        self._loaded[entry.id] = _Loaded(served, recognizer, Batcher(recognizer, self._compute))

    # --- models -------------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests can be answered."""
        return bool(self._loaded) and self._detector is not None

    @property
    def active(self) -> int:
        """Requests in progress."""
        return self._admission.active

    @property
    def waiting_pieces(self) -> int:
        """Pieces that wait for a recogniser."""
        return sum(loaded.batcher.waiting for loaded in self._loaded.values())

    def models(self) -> list[ServedModel]:
        """Models that answer now, the default first."""
        return [loaded.served for loaded in self._loaded.values()]

    def resolve(self, name: str | None) -> ServedModel:
        """The model a caller means by `name`.

        None, "", "string", OpenAI's own names and whisper* mean the default.

        Raises:
            UnknownModel: nobody knows it, or it is not loaded (the message names what is).
            ModelUnavailable: still loading.
        """
        if not self.ready:
            reason = self.failure.message if self.failure else "The model is still loading."
            raise ModelUnavailable(reason)
        wanted = (name or "").strip().lower()
        default = next(iter(self._loaded.values())).served
        if wanted in self._loaded:
            return self._loaded[wanted].served
        if wanted in _DEFAULT_NAMES or wanted.startswith(_DEFAULT_PREFIXES):
            return default
        known = CATALOG.model(wanted)
        if known is None and self.settings.asr_unknown_model == "default":
            return default
        problem = "is not loaded" if known is not None and known.role == "asr" else "does not exist"
        raise UnknownModel(
            f"The model '{(name or '')[:100]}' {problem}. Available: {', '.join(self._loaded)}.", param="model"
        )

    # --- recognition --------------------------------------------------------------------------------------------------

    def admit(self, caller: Caller) -> Ticket:
        """A place for a request; to be asked before its body is read. Leaving the ticket frees the place.

        Raises:
            Overloaded: it would wait too long, or there is no place.
        """
        return self._admission.enter(caller)

    async def transcribe(
        self, path: Path, model: str, options: RecognitionOptions, ticket: Ticket, declared: DeclaredSound | None = None
    ) -> Transcript:
        """A whole recording's transcript. `model` is a ServedModel's id. The file and the ticket stay the caller's.

        `declared` is what the file's bytes are if they have no container.

        Raises:
            SpeechError: any leaf; text never goes missing from a success.
        """
        ticket.begin()
        async with aclosing(self._work(path, model, options, ticket, declared)) as work:
            async for item in work:
                if isinstance(item, Transcript):
                    return item
        raise AssertionError("a recognition ends with its transcript")

    def stream(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
    ) -> AsyncIterator[Segment | Transcript]:
        """Segments in order as pieces finish, then the Transcript they make. Same errors as `transcribe`."""
        ticket.begin(streamed=True)
        return self._work(path, model, options, ticket, declared)

    async def _work(
        self,
        path: Path,
        model: str,
        options: RecognitionOptions,
        ticket: Ticket,
        declared: DeclaredSound | None = None,
    ) -> AsyncGenerator[Segment | Transcript, None]:
        loaded = self._loaded[model]
        recording = await ticket.in_time(self._decoders.decode(path, declared))
        with recording:
            cuts = await ticket.in_time(self._pieces(recording, loaded.recognizer, options))
            recognition = Recognition(recording, loaded.recognizer, loaded.batcher, options, key=ticket.key)
            work = [loaded.batcher.work(recognition.cost(cut)) for cut in cuts]
            ticket.expect(sum(work))
            result = _Result(model, recording, options)
            async with aclosing(recognition.pieces(cuts)) as pieces:
                for done in work:
                    heard = await ticket.in_time(anext(pieces))
                    ticket.did(done)
                    for segment in result.add(self._written(heard, options)):
                        yield segment
        yield result.transcript()

    async def _pieces(self, recording: Recording, recognizer: Recognizer, options: RecognitionOptions) -> list[Cut]:
        """Where the recording has speech, in pieces that suit the recogniser."""
        if self._detector is None:
            raise ModelUnavailable("The model is still loading.")
        loop = asyncio.get_running_loop()
        spans = await loop.run_in_executor(self._detection, self._detector.detect, recording, options.detection)
        longest = min(self.settings.max_segment_sec, recognizer.capabilities.preferred_seconds)
        silence = min(MAX_SILENCE, recognizer.capabilities.max_silence)
        return await asyncio.to_thread(cut, recording, spans, longest, silence)

    def _written(self, heard: Heard, options: RecognitionOptions) -> Heard:
        """As a reader expects the language to be written."""
        hypothesis = heard.hypothesis
        if hypothesis.language != "zh" or options.task == "translate":
            return heard
        written = replace(
            hypothesis, text=self._chinese.text(hypothesis.text), words=self._chinese.words(hypothesis.words)
        )
        return replace(heard, hypothesis=written)


class _Result:
    """A transcript in the making."""

    def __init__(self, model: str, recording: Recording, options: RecognitionOptions) -> None:
        self._model = model
        self._scale = recording.time_scale
        self._duration = recording.duration * self._scale
        self._language = options.language
        self._warnings = list(recording.warnings)
        self._segments: list[Segment] = []
        self._texts: list[str] = []
        self._usage = Usage(self._duration)

    def add(self, heard: Heard) -> list[Segment]:
        """Take in a piece; returns its segments."""
        hypothesis = heard.hypothesis
        if hypothesis.text:
            self._language = self._language or hypothesis.language
            self._texts.append(hypothesis.text)
        self._warnings.extend(hypothesis.warnings)
        self._usage = Usage(
            audio_seconds=self._duration,
            audio_tokens=self._usage.audio_tokens + hypothesis.audio_tokens,
            prompt_tokens=self._usage.prompt_tokens + hypothesis.prompt_tokens,
            output_tokens=self._usage.output_tokens + len(hypothesis.tokens),
        )
        made = [segment.scaled(self._scale) for segment in segments(heard.cut, hypothesis)]
        self._segments.extend(made)
        return made

    def transcript(self) -> Transcript:
        """What was taken in."""
        return Transcript(
            # As the recogniser wrote it: a pause in a sentence ends a segment, but puts no space into Chinese.
            text=join_texts(self._texts),
            language=self._language,
            duration=self._duration,
            model=self._model,
            segments=tuple(self._segments),
            usage=self._usage,
            warnings=tuple(dict.fromkeys(self._warnings)),
        )


def _model_entry(model_id: str) -> ModelEntry:
    entry = CATALOG.model(model_id)
    if entry is None:
        raise UnknownModel(f"The catalog has no model {model_id}.", param="model")
    return entry
