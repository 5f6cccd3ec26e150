"""Who speaks: speakers of one recording, the turns they take, and voices that are known by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody who speaks in a recording.

    `number` counts from 0 in the order in which they are first heard. `name` is that of a known voice or of a
    channel's role; None: nobody said who this is. What stands in an answer is the protocol's affair.
    """

    number: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """A stretch in which one speaker speaks, in seconds. Turns of different speakers may overlap."""

    start: float
    end: float
    speaker: Speaker


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """What a voice sounds like: `embedding` is of unit length, made by the model `encoder` from `seconds` of speech.

    Biometric data: it identifies a person.
    """

    embedding: Embedding
    seconds: float
    encoder: str


@dataclass(frozen=True, slots=True, eq=False)
class KnownVoice:
    """A voice that can be recognised. `id` is its id where it is enrolled, None where it came with a request."""

    name: str
    voiceprints: tuple[Voiceprint, ...]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class SpeakerOptions:
    """One request's wishes about speakers.

    `count` says how many there are; otherwise there are from `least` to `most` (None: any number). `voices` are those
    that may be recognised and named. `overlap` gives stretches where two speak to both.
    """

    count: int | None = None
    least: int = 1
    most: int | None = None
    overlap: bool = True
    voices: tuple[KnownVoice, ...] = field(default=())
