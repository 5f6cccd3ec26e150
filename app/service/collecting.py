"""What was heard of a recording so far, on its way to be a transcript, and what of it may go to the caller."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Self

from app.audio.recording import Recording
from app.domain.options import RecognitionOptions
from app.domain.speakers import Speaker
from app.domain.transcript import Segment, Transcript, Usage, join_texts
from app.pipeline.diarization.layers import layered
from app.pipeline.hotwords.hits import hits
from app.pipeline.text.masking import Masker
from app.pipeline.text.writing import Written
from app.service.hiding import Hiding

SINGLE_CHANNEL = "single_channel"
"""Warning: channels were to be kept apart, and there is one."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a transcript is of: so many seconds of sound, whose times are to be multiplied by `time_scale` to be on the
    container's clock, and what a reader should know of it. `split`: its channels are kept apart."""

    duration: float
    time_scale: float = 1.0
    split: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, recording: Recording, options: RecognitionOptions, *, split: bool) -> Self:
        """What is known of a recording."""
        single = (SINGLE_CHANNEL,) if options.split_channels and recording.channels == 1 else ()
        return cls(recording.duration, recording.time_scale, split, (*recording.warnings, *single))


class Collecting:
    """A transcript in the making. Its segments are on the container's clock. `masker` masks what goes to the caller;
    None: nothing is masked."""

    def __init__(self, model: str, basis: Basis, options: RecognitionOptions, *, masker: Masker | None) -> None:
        self._model = model
        self._hiding = Hiding(masker, apart=basis.split) if masker is not None else None
        self._split = basis.split
        self._scale = basis.time_scale
        self._duration = basis.duration * self._scale
        self._options = options
        self._languages: Counter[str] = Counter()
        self._corrected: Counter[str] = Counter()
        self._warnings = list(basis.warnings)
        self._segments: list[Segment] = []
        self._texts: list[str] = []
        self._usage = Usage(self._duration)
        self.speakers: tuple[Speaker, ...] = ()

    def hear(self, written: Written) -> None:
        """Take in what was heard in a piece."""
        hypothesis = written.hypothesis
        self._corrected.update(written.corrected)
        if hypothesis.text:
            self._languages[hypothesis.language] += len(hypothesis.words) or 1
            self._texts.append(hypothesis.text)
        self._warnings.extend(hypothesis.warnings)
        self._usage = Usage(
            audio_seconds=self._duration,
            audio_tokens=self._usage.audio_tokens + hypothesis.audio_tokens,
            prompt_tokens=self._usage.prompt_tokens + hypothesis.prompt_tokens,
            output_tokens=self._usage.output_tokens + len(hypothesis.tokens),
        )

    def add(self, segment: Segment) -> list[Segment]:
        """Take in a segment; returns what can go to the caller now. (May take a while where terms are masked.)"""
        self._segments.append(segment.scaled(self._scale))
        return [self._segments[-1]] if self._hiding is None else self._hiding.add(self._segments[-1])

    def rest(self) -> list[Segment]:
        """What is left to go to the caller when all segments were taken in."""
        return [] if self._hiding is None else self._hiding.rest()

    def transcript(self) -> Transcript:
        """What was taken in."""
        told_apart = self._split or self._options.speakers is not None
        found = dict.fromkeys(segment.speaker for segment in self._segments if segment.speaker)
        # As the recogniser wrote it: a pause in a sentence ends a segment, but puts no space into Chinese.
        text = join_texts(segment.text for segment in self._segments) if self._split else join_texts(self._texts)
        segments, said = self._segments, "\n".join(segment.text for segment in self._segments)
        if self._hiding is not None:
            said = self._hiding.hidden(segments)
            text, segments = self._hiding.transcript(text, segments)
        return Transcript(
            text=text,
            language=self._options.language or next(iter(dict(self._languages.most_common(1))), None),
            duration=self._duration,
            model=self._model,
            segments=tuple(layered(segments) if told_apart else segments),
            usage=self._usage,
            warnings=tuple(dict.fromkeys(self._warnings)),
            speakers=tuple(found) if self._split else self.speakers,
            hotwords=hits(self._options.hotwords, said, self._corrected),
        )
