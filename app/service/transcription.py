"""One recording's way through the models: speech found, pieces recognised, speakers told apart, one transcript made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from app.audio.protocol import CHANNELS_ALIKE
from app.audio.recording import Recording
from app.domain.engines import Hypothesis, Recognizer, Sound, SpeechSpan, VoiceActivityDetector
from app.domain.meters import NO_METER, Meter
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Spoken, Transcript, separator
from app.pipeline.assembling import segments
from app.pipeline.batching import Batcher
from app.pipeline.chinese import ChineseWriting
from app.pipeline.diarization.words import WhoSpeaks, with_speakers
from app.pipeline.merging import by_time
from app.pipeline.recognition import Hearing, Recognition
from app.pipeline.relaying import Relay
from app.pipeline.segmentation import MAX_SILENCE, Cut, cut
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Writer, Writing, Written
from app.pipeline.turns import Urgency
from app.service.admission import Ticket
from app.service.collecting import Basis, Collecting
from app.service.jobs.job import Plan, Step
from app.service.partial import said_by
from app.service.remembering import Memory, PiecesOf, Watch

if TYPE_CHECKING:
    from app.pipeline.diarization.diarizer import Diarization, Diarizer

_T = TypeVar("_T")
Segments = AsyncGenerator[Segment, None]
Parts = AsyncGenerator[Segment | Spoken, None]
_HELD_BACK = 9
"""Characters whose form more text can still change: the longest phrase that OpenCC's t2s knows is of ten, and the
width of a mark depends on what follows it."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every request works with. `detection` are the threads for everything but recognition; `helpers` those for
    what is short and still too long for the event loop (None: asyncio's)."""

    detector: VoiceActivityDetector
    detection: Executor
    writing: Writing
    max_segment: float
    diarizer: Diarizer | None = None
    meter: Meter = NO_METER
    helpers: Executor | None = None

    async def aside(self, call: Callable[[], _T]) -> _T:
        """What `call` returns or raises, on a helper thread."""
        if self.helpers is None:
            return await asyncio.to_thread(call)
        return await asyncio.get_running_loop().run_in_executor(self.helpers, call)

    async def spans(self, sound: Sound, options: RecognitionOptions) -> list[SpeechSpan]:
        """Where there is speech."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        spans = await loop.run_in_executor(self.detection, self.detector.detect, sound, options.detection)
        self.meter.stage("detect", time.monotonic() - began)
        return spans


@dataclass(frozen=True, slots=True)
class _Part:
    """Sound that is recognised by itself: the whole recording, or a channel with its speaker. `work` is by piece."""

    sound: Sound
    spans: Sequence[SpeechSpan]
    cuts: Sequence[Cut]
    recognition: Recognition
    work: list[float]
    speaker: Speaker | None = None


class Transcription:
    """One request's recognition. `run` may be called once."""

    def __init__(
        self,
        tools: Tools,
        recognizer: Recognizer,
        batcher: Batcher | Relay,
        options: RecognitionOptions,
        ticket: Ticket,
        *,
        early: bool = False,
        memory: Memory | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`early`: text is wanted as soon as it is known, as Spoken. (Not where channels are kept apart: what each says
        is put in order by segments; nor where terms are masked: one may have begun.)

        `memory` is a job's, which is behind everybody else: what is kept there is not done again, and the transcript is
        the same however often it was interrupted. `watch` is told what it is at.
        """
        self._tools = tools
        self._recognizer = recognizer
        self._batcher = batcher
        self._options = options
        self._ticket = ticket
        self._early = early and not options.masking
        self._memory = memory
        self._watch = watch
        self._writer = Writer(tools.writing, options, recognizer.capabilities)

    async def run(self, recording: Recording) -> AsyncGenerator[Segment | Spoken | Transcript, None]:
        """Segments in order, each as soon as it is final, then the transcript they make; between them, if it is wanted
        early, the text, each stretch before its segments: these wait for their speakers, text does not. Where terms
        are masked, a segment waits while one may go on in the next.

        Raises:
            SpeechError: any leaf; text never goes missing from a success.
        """
        self._at("detect")
        split = self._options.split_channels and recording.channels > 1 and CHANNELS_ALIKE not in recording.warnings
        parts = await self._parts(recording, split=split)
        diarizer = None if split else self._diarizer()
        telling_work = diarizer.work(parts[0].spans) if diarizer else 0.0
        self._ticket.expect(sum(sum(part.work) for part in parts) + telling_work)
        self._at("recognise")
        basis = Basis.of(recording, self._options, split=split)
        result = Collecting(self._recognizer.id, basis, self._options, masker=await self._masker())
        telling = (
            asyncio.create_task(self._tell(diarizer, parts[0], telling_work, result)) if diarizer is not None else None
        )
        try:
            async with aclosing(self._segments(parts, result, telling)) as items:
                async for item in items:
                    if isinstance(item, Spoken):
                        yield item
                        continue
                    for segment in await self._ready(partial(result.add, item)):
                        yield segment
            for segment in await self._ready(result.rest):
                yield segment
            if telling is not None:  # there may have been nothing to tell apart
                await self._ticket.in_time(telling)
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
        yield await self._tools.aside(result.transcript)

    def _at(self, step: Step) -> None:
        if self._watch is not None:
            self._watch.at(step)

    async def _ready(self, made: Callable[[], list[Segment]]) -> list[Segment]:
        """What can go to the caller. In a thread where terms are masked: the loop has live sessions to serve."""
        return await self._tools.aside(made) if self._options.masking else made()

    async def _masker(self) -> Masker | None:
        masking = self._options.masking
        return await self._tools.aside(partial(Masker, masking, self._tools.writing.chinese)) if masking else None

    def _diarizer(self) -> Diarizer | None:
        """Who tells the speakers apart, where that is wanted. (Where channels were, it may not be there.)"""
        return None if self._options.speakers is None else self._tools.diarizer

    async def _tell(self, diarizer: Diarizer, part: _Part, work: float, result: Collecting) -> Diarization:
        assert self._options.speakers is not None  # noqa: S101 - who calls has looked
        began = time.monotonic()
        found = await diarizer.diarize(part.sound, part.spans, self._options.speakers)
        self._tools.meter.stage("speakers", time.monotonic() - began)
        self._ticket.did(work)
        result.speakers = found.speakers
        return found

    async def _parts(self, recording: Recording, *, split: bool) -> list[_Part]:
        if not split:
            return [await self._part(recording, 0, recording.time_scale, None)]
        roles = self._options.channel_roles
        names = [roles[number] if number < len(roles) else None for number in range(recording.channels)]
        channels = [recording.channel(number) for number in range(recording.channels)]
        speakers = [Speaker(number, name) for number, name in enumerate(names)]
        return [
            await self._part(channel, number, recording.time_scale, speaker)
            for number, (channel, speaker) in enumerate(zip(channels, speakers, strict=True))
        ]

    async def _part(self, sound: Sound, channel: int, time_scale: float, speaker: Speaker | None) -> _Part:
        memory = None if self._memory is None else PiecesOf(self._memory, channel, self._ticket.fail)
        plan = await self._plan(sound, channel, time_scale)
        recognition = Recognition(
            sound,
            self._recognizer,
            self._batcher,
            self._options,
            key=self._ticket.key,
            following=self._early and speaker is None and self._writes_as_heard,
            urgency=Urgency.FILE if memory is None else Urgency.JOB,
            memory=memory,
        )
        done = frozenset(number for number in range(len(plan.cuts)) if memory and memory.heard(number) is not None)
        work = [
            0.0 if number in done else self._batcher.work(recognition.cost(one)) for number, one in enumerate(plan.cuts)
        ]
        return _Part(sound, plan.spans, plan.cuts, recognition, work, speaker)

    async def _plan(self, sound: Sound, channel: int, time_scale: float) -> Plan:
        """What is to be recognised of a channel: as it was planned already, or found out now."""
        if self._memory is not None and (kept := self._memory.plan(channel)) is not None:
            return kept
        spans = await self._ticket.in_time(self._tools.spans(sound, self._options))
        able = self._recognizer.capabilities
        longest = min(self._tools.max_segment, able.preferred_seconds)
        silence = min(MAX_SILENCE, able.max_silence)
        cuts = await self._ticket.in_time(self._tools.aside(partial(cut, sound, spans, longest, silence)))
        plan = Plan(spans, cuts, sound.duration, time_scale)
        if self._memory is not None:
            await self._ticket.in_time(self._memory.keep_plan(channel, plan))
        return plan

    @property
    def _writes_as_heard(self) -> bool:
        """Whether a piece's text begins with what is heard first, but for the way Chinese is written."""
        return self._writer.quick and self._options.punctuation and self._options.task == "transcribe"

    def _segments(self, parts: Sequence[_Part], result: Collecting, telling: asyncio.Task[Diarization] | None) -> Parts:
        """All segments in order, with their speakers where those are told apart, and text that is wanted early."""
        if parts[0].speaker is not None:
            return by_time([self._of_channel(part, part.speaker, result) for part in parts if part.speaker])
        if telling is not None:
            return self._told_apart(parts[0], result, telling)
        return self._untold(parts[0], result)

    async def _pieces(self, part: _Part, result: Collecting) -> AsyncGenerator[Spoken | list[Segment], None]:
        """Each piece's segments, after what text is wanted early."""
        ahead = _TextAhead(self._tools.writing.chinese, self._language) if self._early and not part.speaker else None
        times = _Times()
        async with aclosing(part.recognition.pieces(part.cuts)) as pieces:
            for work in part.work:
                while isinstance(item := await times.waited(self._ticket.in_time(anext(pieces))), Hearing):
                    if ahead and (text := ahead.growing(item.text)):
                        yield Spoken(text)
                written = await times.wrote(self._written(item.hypothesis))
                self._ticket.did(work)
                result.hear(written)
                if ahead and (text := ahead.finished(written.hypothesis.text)):
                    yield Spoken(text)
                yield segments(item.cut, written.hypothesis)
        if part.work:
            self._tools.meter.stage("recognise", times.recognising)
            self._tools.meter.stage("write", times.writing)

    @property
    def _language(self) -> str | None:
        """The language of every piece, where it is known before they are recognised."""
        return self._options.language if self._recognizer.capabilities.detects_language else None

    async def _of_channel(self, part: _Part, speaker: Speaker, result: Collecting) -> Segments:
        async with aclosing(self._untold(part, result)) as items:
            async for item in items:
                if isinstance(item, Segment):
                    yield said_by(speaker, item)

    async def _untold(self, part: _Part, result: Collecting) -> Parts:
        """Segments without speakers."""
        async with aclosing(self._pieces(part, result)) as pieces:
            async for made in pieces:
                for item in [made] if isinstance(made, Spoken) else made:
                    yield item

    async def _told_apart(self, part: _Part, result: Collecting, telling: asyncio.Task[Diarization]) -> Parts:
        """Segments wait until the speakers are known; recognition does not."""
        waiting: list[Segment] = []
        who: WhoSpeaks | None = None
        async with aclosing(self._pieces(part, result)) as pieces:
            async for made in pieces:
                if isinstance(made, Spoken):
                    yield made
                    continue
                waiting += made
                if who is None and telling.done():
                    who = WhoSpeaks(telling.result())
                if who is not None:
                    for segment in with_speakers(waiting, who):
                        yield segment
                    waiting.clear()
        if who is None:
            self._at("speakers")
            who = WhoSpeaks(await self._ticket.in_time(telling))
        for segment in with_speakers(waiting, who):
            yield segment

    async def _written(self, hypothesis: Hypothesis) -> Written:
        """As a reader expects it. Beside the recogniser, which is busy with the next pieces meanwhile."""
        if self._writer.quick:
            return self._writer.written(hypothesis)
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._tools.detection, self._writer.written, hypothesis)
        return await self._ticket.in_time(writing)


class _Times:
    """How many seconds a part waited for its recogniser, and for what its text passes through. Not those in which the
    caller was busy with what there is."""

    def __init__(self) -> None:
        self.recognising = self.writing = 0.0

    async def waited(self, step: Awaitable[_T]) -> _T:
        """The outcome of a step of the recognition."""
        began = time.monotonic()
        try:
            return await step
        finally:
            self.recognising += time.monotonic() - began

    async def wrote(self, step: Awaitable[_T]) -> _T:
        """The outcome of a step of the writing."""
        began = time.monotonic()
        try:
            return await step
        finally:
            self.writing += time.monotonic() - began


class _TextAhead:
    """How much of the transcript's text is known and was passed on, ahead of its segments."""

    def __init__(self, chinese: ChineseWriting, language: str | None) -> None:
        self._chinese = chinese
        self._language = language
        self._finished = ""
        self._passed = ""

    def growing(self, text: str) -> str:
        """What can be passed on now that the first piece that is not done says `text` and more."""
        known = self._known(text).rstrip()
        return self._beyond(self._finished + separator(self._finished, known) + known)

    def finished(self, text: str) -> str:
        """What can be passed on now that this piece's text is, as written, `text`."""
        self._finished += separator(self._finished, text) + text
        return self._beyond(self._finished)

    def _known(self, text: str) -> str:
        """The beginning of what a piece will read like, whatever follows `text` in it."""
        if self._language not in {None, "zh"}:
            return text
        written = self._chinese.text(text)
        if len(written) != len(text):  # no telling which character became which
            return ""
        known = written[:-_HELD_BACK]
        # It is not written anew should it turn out to be Japanese, say: only what reads the same either way is known.
        return known if self._language else _alike(known, text)

    def _beyond(self, text: str) -> str:
        if not text.startswith(self._passed):
            return ""
        more = text[len(self._passed) :]
        self._passed = text
        return more


def _alike(text: str, other: str) -> str:
    """What both begin with."""
    differing = (place for place, (one, two) in enumerate(zip(text, other, strict=False)) if one != two)
    return text[: next(differing, min(len(text), len(other)))]
