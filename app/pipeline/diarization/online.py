"""Whose voice is whose while a conversation still goes on: its pieces to speakers, one after another, for good.

What was told stays: a speaker's number never comes to mean somebody else. So a voice is taken for a new one only on
enough sound, and what is too short goes to the voice it is most like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from app.domain.speakers import Speaker, SpeakerOptions, SpeakerTurn, Voiceprint
from app.domain.transcript import Segment
from app.pipeline.diarization.clustering import Voices, grouped, unit
from app.pipeline.diarization.diarizer import Diarization
from app.pipeline.diarization.hearing import HeardChunk
from app.pipeline.diarization.matching import best_first
from app.pipeline.diarization.turns import turns_of
from app.pipeline.diarization.words import WhoSpeaks, with_speakers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MOST_VOICES = 50
"""Of a stream: beyond so many, everybody is one of those who were heard before. Bounds memory and work."""
NEW_SECONDS = 1.0
"""Embedded sound from which a voice can be a new one, and from which it teaches what a known one sounds like."""
SAME = 0.33
"""Similarity from which somebody is a voice that is known: in the middle of where hardly a sentence goes to the wrong
one (`python -m benchmarks.live_speakers`)."""
MERGED = 0.5
"""Similarity of two voices from which they are one after all: what follows has the number that was told first."""


@dataclass(slots=True, eq=False)
class _Voice:
    """`total` is the sum of its embeddings, each times its seconds. `number` is None until it was told."""

    total: Floats
    seconds: float = 0.0
    number: int | None = None
    name: str | None = None

    def like(self, other: _Voice) -> float:
        """How alike their embeddings are on average: that means the same whatever there is of each, where the cosine of
        two centroids grows with what they are made of."""
        return float(self.total @ other.total) / max(self.seconds * other.seconds, 1e-9)


@dataclass(slots=True)
class OnlineVoices:
    """The voices of one stream. One caller at a time.

    `options` as for a recording, but for `least`: that there are more voices cannot be known before they speak.
    `threshold` is the least similarity of a known voice, `encoder` the model that embeds.
    """

    options: SpeakerOptions
    threshold: float
    encoder: str
    _voices: list[_Voice] = field(default_factory=list[_Voice])
    _told: int = 0
    _last: _Voice | None = None

    def tell(self, heard: Sequence[HeardChunk], segments: Iterable[Segment]) -> list[Segment]:
        """A piece's segments with their speakers, parted where these change. `heard` is all of its sound, in order.

        Speakers are numbered in the order in which they first have something to say.
        """
        if not any(chunk.active.any() for chunk in heard):
            return list(segments)
        for voice in _voices(heard):
            self._learn(voice)
        if not self._voices:  # nothing was long enough: somebody, of whom nothing is known yet
            self._voices.append(_Voice(np.zeros(heard[0].embeddings.shape[1], np.float32)))
        before = next((place for place, voice in enumerate(self._voices) if voice is self._last), 0)
        turns = turns_of(heard, self._centroids(), overlap=self.options.overlap, before=before)
        who = WhoSpeaks(Diarization(turns=tuple(SpeakerTurn(one.start, one.end, Speaker(one.voice)) for one in turns)))
        return [self._numbered(segment) for segment in with_speakers(segments, who)]

    # --- learning -----------------------------------------------------------------------------------------------------

    def _learn(self, heard: _Voice) -> None:
        """Take in one voice of a piece: it is known, or new, or too short to tell."""
        name = self._name_of(heard)
        voice = self._known(heard, name)
        if voice is None:
            if len(self._voices) < self._most and (heard.seconds >= NEW_SECONDS or not self._voices):
                heard.name = name
                self._voices.append(heard)
            return
        if heard.seconds < NEW_SECONDS <= voice.seconds:
            return
        voice.total, voice.seconds = voice.total + heard.total, voice.seconds + heard.seconds
        voice.name = voice.name or name or self._name_of(voice)
        self._merge(voice)

    @property
    def _most(self) -> int:
        return min(self.options.count or self.options.most or MOST_VOICES, MOST_VOICES)

    def _known(self, heard: _Voice, name: str | None) -> _Voice | None:
        """The voice that it is, if it is one of those there are."""
        named = next((voice for voice in self._voices if name is not None and voice.name == name), None)
        if named is not None:
            return named
        # Who is known by name is nobody who is known by another.
        possible = [voice for voice in self._voices if name is None or voice.name is None]
        best = max(possible, key=heard.like, default=None)
        return best if best is not None and (best.like(heard) >= SAME or not best.seconds) else None

    def _merge(self, voice: _Voice) -> None:
        """What turns out to be one voice is one from here on."""
        for other in self._voices:
            alike = voice.name == other.name if voice.name and other.name else voice.like(other) >= MERGED
            if other is voice or not alike:
                continue
            kept, gone = sorted((voice, other), key=lambda one: (one.number is None, one.number))
            kept.total, kept.seconds = kept.total + gone.total, kept.seconds + gone.seconds
            kept.name = kept.name or gone.name
            self._voices.remove(gone)
            self._last = kept if self._last is gone else self._last
            return

    def _name_of(self, voice: _Voice) -> str | None:
        """Of the known voice that it is, if it is one."""
        ranked = best_first(self.options.voices, Voiceprint(voice.total, voice.seconds, self.encoder))
        return ranked[0][0].name if ranked and ranked[0][1] >= self.threshold else None

    # --- telling ------------------------------------------------------------------------------------------------------

    def _centroids(self) -> Voices:
        totals = np.stack([voice.total for voice in self._voices])
        return Voices(unit(totals), np.array([voice.seconds for voice in self._voices], np.float32))

    def _numbered(self, segment: Segment) -> Segment:
        """With the speaker's number instead of the voice's place. All its words have one speaker."""
        if segment.speaker is None:
            return segment
        voice = self._last = self._voices[segment.speaker.number]
        if voice.number is None:
            voice.number, self._told = self._told, self._told + 1
        speaker = Speaker(voice.number, voice.name)
        return replace(segment, speaker=speaker, words=tuple(replace(word, speaker=speaker) for word in segment.words))


def _voices(heard: Sequence[HeardChunk]) -> list[_Voice]:
    """The voices of a piece by itself."""
    windows = [window for chunk in heard for window in chunk.windows]
    if not windows:
        return []
    embeddings = np.concatenate([chunk.embeddings for chunk in heard if chunk.windows])
    seconds = np.array([window.seconds for window in windows], np.float32)
    firm = np.flatnonzero(seconds >= NEW_SECONDS)
    if not len(firm):
        firm = np.array([int(seconds.argmax())])
    totals, lengths = grouped(embeddings[firm], seconds[firm])
    return [_Voice(total, float(length)) for total, length in zip(totals, lengths, strict=True)]
