"""Live streams through the models that answer: how many there may be, and what each is put together from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.audio.declared import DeclaredSound
from app.audio.live import LiveSource, open_source
from app.audio.nearfield import NearField
from app.domain.engines import VoiceActivityDetector
from app.domain.errors import Overloaded
from app.domain.live_engines import LivePunctuator, StreamingRecognizer
from app.domain.meters import NO_METER, Meter
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Writing
from app.service.admission import Caller, most_of_a_key
from app.service.counted import CountedSource
from app.service.quotas import Allowance
from app.service.residents import Loaded
from app.settings import Settings
from app.streaming.drafting import Drafting, Guessing
from app.streaming.following import Following
from app.streaming.hearing import Ear
from app.streaming.recognising import Recognising
from app.streaming.session import LiveSession
from app.streaming.timing import Timing
from app.streaming.writing import DraftWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.pipeline.diarization.diarizer import Diarizer
    from app.streaming.speakers import LiveSpeakers
    from app.streaming.speech import Utterance

_RETRY_SECONDS = 5.0


class LiveAdmission:
    """The door for live streams. Belongs to one event loop."""

    def __init__(self, most: int, keys: int) -> None:
        """Where there are several `keys`, places are kept free for each, so that one cannot take them all."""
        self._most = most
        self._most_of_a_key = most_of_a_key(most, keys)
        self._inside: Counter[str] = Counter()

    @property
    def active(self) -> int:
        """Streams inside."""
        return self._inside.total()

    @contextmanager
    def place(self, caller: Caller) -> Generator[None]:
        """A place for one stream.

        Raises:
            Overloaded: there is none.
        """
        if self.active >= self._most or self._inside[caller.key] >= self._most_of_a_key:
            raise Overloaded(
                f"The server is listening to {self.active} live streams already. Try again shortly.",
                retry_after=_RETRY_SECONDS,
            )
        self._inside[caller.key] += 1
        try:
            yield
        finally:
            self._inside[caller.key] -= 1


@dataclass(frozen=True, slots=True)
class LiveTools:
    """What every live stream works with. `listening` are the threads for everything but recognition;
    `streaming`, `marks` and `diarizer` are there or not."""

    detector: VoiceActivityDetector
    listening: Executor
    writing: Writing
    settings: Settings
    streaming: StreamingRecognizer | None = None
    marks: LivePunctuator | None = None
    diarizer: Diarizer | None = None
    meter: Meter = NO_METER


@asynccontextmanager
async def live_stream(
    tools: LiveTools,
    loaded: Loaded,
    options: RecognitionOptions,
    live: LiveOptions,
    declared: DeclaredSound | None,
    *,
    key: str,
    allowance: Allowance,
) -> AsyncGenerator[LiveSession, None]:
    """A stream through one recogniser, which fails once it has heard as much as its `allowance`. Leaving it drops
    everything at once.

    Raises:
        UndecodableAudio: `declared` is what nobody sends.
    """
    # In a thread: ten thousand terms take a while.
    masking, chinese = options.masking, tools.writing.chinese
    masker = await asyncio.to_thread(Masker, masking, chinese) if masking else None
    source = CountedSource(open_source(declared, bound=tools.settings.ws_max_buffer_size), allowance)
    try:
        with loaded.batcher.listening():
            async with _session(tools, loaded, options, live, source, masker=masker, key=key) as session:
                yield session
    finally:
        await source.close()


def _session(
    tools: LiveTools,
    loaded: Loaded,
    options: RecognitionOptions,
    live: LiveOptions,
    source: LiveSource,
    *,
    masker: Masker | None,
    key: str,
) -> LiveSession:
    settings, able = tools.settings, loaded.recognizer.capabilities
    near = settings.asr_enable_nearfield_filter if live.near_field is None else live.near_field  # None: nobody asked
    speakers = None
    if options.speakers is not None and tools.diarizer is not None:
        speakers = _speakers(tools, tools.diarizer, options.speakers)
        options = replace(options, timed=True)  # who says a word is known by its time
    recognising = Recognising(
        loaded.batcher.submit,
        able,
        tools.writing,
        options,
        tools.listening,
        key=key,
        speakers=speakers,
        masker=masker,
    )

    def ear(since: float) -> Ear:
        return Ear(
            tools.detector.open(),
            live,
            NearField(settings.asr_nearfield_rms_threshold) if near else None,
            since,
            log=settings.asr_nearfield_filter_log_enabled,
        )

    writer = DraftWriter(tools.writing, options, able, tools.marks, tools.listening)

    def drafting(tell: Callable[[Utterance], None]) -> Drafting:
        streaming = tools.streaming
        if streaming is not None and able.languages <= streaming.languages:
            return Following(streaming, writer, loaded.computing, options.language, tell)
        return Guessing(recognising, writer, tell)

    return LiveSession(
        source,
        ear,
        recognising,
        tools.listening,
        live,
        longest_piece=settings.max_segment_sec,
        drafting=drafting,
        timing=Timing(tools.meter, loaded.recognizer.id),
    )


def _speakers(tools: LiveTools, diarizer: Diarizer, options: SpeakerOptions) -> LiveSpeakers:
    from app.pipeline.diarization.online import OnlineVoices  # noqa: PLC0415 - scipy, which came with the diarizer
    from app.streaming.speakers import LiveSpeakers  # noqa: PLC0415 - as above

    voices = OnlineVoices(options, tools.settings.voice_threshold, diarizer.encoder_id)
    return LiveSpeakers(diarizer.models, voices, tools.listening)
