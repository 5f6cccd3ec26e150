"""The protocols engines fulfil, and what they declare about themselves.

The middle of the house (pipeline, service) knows engines only by these; a new model family fulfils one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from app.domain.meters import Meter
from app.domain.options import RecognitionOptions, SpeechDetection, Task
from app.domain.transcript import TokenLogprob, Word

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Hz. Every engine here hears 16 kHz mono."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a recogniser can do; a protocol asks here and answers clearly instead of ignoring a wish.

    `max_seconds` is the longest piece it takes, `preferred_seconds` the length at which it works best, `max_silence`
    the longest pause in a piece, in seconds, across which it goes on listening. `hotwords`: terms change what it hears
    (elsewhere they are corrected towards afterwards). `punctuates` and `writes_numbers` say whether its text has marks
    and digits; `detects_language`, whether it tells languages apart by sound and can be made to hear one: if not,
    it hears whichever of its languages is spoken, and `Hypothesis.language` is read off the text. `mixes_languages`: it
    tells each piece's language well enough that a recording is not held to one. `language_model`: it decodes with a
    separate one. `continues`: told how a piece's text begins (`PieceRequest.prefix`), it goes on from there.
    """

    languages: frozenset[str]
    tasks: frozenset[Task]
    max_seconds: float
    preferred_seconds: float
    max_silence: float = 3.0
    word_times: bool = False
    prompt: bool = False
    hotwords: bool = False
    temperature: bool = False
    logprobs: bool = False
    punctuates: bool = True
    writes_numbers: bool = True
    detects_language: bool = True
    mixes_languages: bool = False
    language_model: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a recording to be recognised by itself: float32 mono samples in [-1, 1]; `start` is in seconds."""

    start: float
    samples: Samples

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class WaitingPiece:
    """A piece whose sound is read when its turn comes, so that what waits takes no memory. Times are in seconds."""

    sound: Sound
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Length in seconds, to the sample what `read` will give."""
        total = round(self.sound.duration * SAMPLE_RATE)
        return (min(round(self.end * SAMPLE_RATE), total) - round(self.start * SAMPLE_RATE)) / SAMPLE_RATE

    def read(self) -> Piece:
        """The piece with its sound. May read from disk."""
        return Piece(self.start, self.sound.piece(self.start, self.end))


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recogniser heard in one piece. Word times are seconds from the piece's start.

    `languages` are detection probabilities by ISO-639 code (one entry of 1.0 when the language was given).
    """

    text: str
    language: str
    languages: dict[str, float]
    words: tuple[Word, ...] = ()
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    temperature: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None
    no_speech_prob: float | None = None
    audio_tokens: int = 0
    prompt_tokens: int = 0
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PieceRequest:
    """A piece and its request's wishes: the unit that is recognised.

    `prefix` is how its text begins, where that is known; only for recognisers that go on from it, in a language that
    the options name.
    """

    piece: Piece
    options: RecognitionOptions
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A piece yet to be read and its request's wishes: the unit that is queued and batched."""

    piece: WaitingPiece
    options: RecognitionOptions
    prefix: str = ""

    def read(self) -> PieceRequest:
        """The request with its sound. May read from disk."""
        return PieceRequest(self.piece.read(), self.options, self.prefix)


Said = Callable[[str], None]
"""Is told a piece's text so far, again and again while it grows: each is the beginning of the next."""


class Recognizer(Protocol):
    """Speech to text, piece by piece: a `BatchRecognizer` or a `ContinuousRecognizer`. Keeps no state between calls."""

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def parallel_calls(self) -> int:
        """How many calls are worth running at once."""
        ...

    def cost(self, request: PieceRequest | WaitingRequest) -> float:
        """Work of a request, in seconds of audio the model really computes (padding included)."""
        ...

    def close(self) -> None:
        """Free the model. Blocking."""
        ...


class BatchRecognizer(Recognizer, Protocol):
    """Recognises several pieces a call. Called from several threads at once."""

    @property
    def batch_cost(self) -> float:
        """The largest sum of `cost` one call should get."""
        ...

    def batch_key(self, request: PieceRequest | WaitingRequest) -> Hashable:
        """Requests with equal keys may share a call."""
        ...

    def recognize(self, requests: Sequence[PieceRequest]) -> list[Hypothesis]:
        """Recognise pieces, one hypothesis each, in order. Blocking. A neighbour never changes another's words.

        Raises:
            EngineFailure: the model failed; none of the pieces has a result.
        """
        ...


@runtime_checkable
class ContinuousRecognizer(Recognizer, Protocol):
    """Takes pieces at any time and batches them by itself. Called from the event loop."""

    @property
    def available(self) -> bool:
        """Whether it takes pieces now. False while what computes has died and is being started again."""
        ...

    async def hear(self, request: PieceRequest, said: Said | None = None) -> Hypothesis:
        """Recognise one piece. Cancelling the caller ends the work. What is `said` begins the hypothesis's text.

        Raises:
            EngineFailure: the model failed on this piece.
            ModelUnavailable: the model is being started again.
        """
        ...


@runtime_checkable
class Watched(Protocol):
    """What computes in a process of its own, which may die and be started again."""

    def watch(self, meter: Meter) -> None:
        """Tell `meter` of it from here on."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """A stretch of speech, in seconds of the recording."""

    start: float
    end: float


class Sound(Protocol):
    """A decoded recording that can be read a stretch at a time, so that hours need no memory."""

    @property
    def duration(self) -> float:
        """Seconds."""
        ...

    def piece(self, start: float, end: float) -> Samples:
        """float32 mono 16 kHz samples in [-1, 1] between two times in seconds, clamped to what there is."""
        ...


class VoiceActivityDetector(Protocol):
    """Tells speech from silence. Called from several threads at once; keeps no state between calls."""

    def detect(self, sound: Sound, options: SpeechDetection) -> list[SpeechSpan]:
        """Spans of speech in order, not overlapping. Blocking; reads the sound a stretch at a time."""
        ...

    def open(self) -> VoiceActivityStream:
        """What listens to one live stream."""
        ...


class VoiceActivityStream(Protocol):
    """Tells speech from silence while sound arrives. One caller at a time; keeps what it needs of what it heard."""

    @property
    def threshold(self) -> float:
        """The least probability that counts as speech, unless the caller wants another."""
        ...

    def push(self, samples: Samples, *, last: bool = False) -> NDArray[np.float32]:
        """Speech probabilities, 0..1, of the frames of 10 ms that are known now, each once and in order. Blocking.

        With the `last` samples, of all that were left.

        Raises:
            EngineFailure: the model failed.
        """
        ...


class Aligner(Protocol):
    """Tells when the words of a known text were said. Batches by itself; called from the event loop."""

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639 codes of the languages it knows."""
        ...

    @property
    def max_seconds(self) -> float:
        """The longest piece it takes."""
        ...

    async def align(self, samples: Samples, words: Sequence[str]) -> list[tuple[float, float]]:
        """Start and end of each word in seconds from the first sample, in order, none before the one before it.

        Raises:
            EngineFailure: the model failed.
            ModelUnavailable: the model is being started again.
        """
        ...

    def close(self) -> None:
        """Free the model. Blocking."""
        ...


class Punctuator(Protocol):
    """Puts marks between words that came without. Called from several threads at once; keeps no state between calls."""

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO-639 codes of the languages it knows."""
        ...

    def marks(self, words: Sequence[str]) -> list[str]:
        """What follows each word: "" or one of the full-width marks ， 。 ？ 、. Blocking.

        `words` are single characters of languages written without spaces, whole words of others. The last one is
        always followed by 。 or ？.

        Raises:
            EngineFailure: the model failed.
        """
        ...


class SpeakerSegmenter(Protocol):
    """Tells a few people apart within a few seconds. Called from several threads at once; keeps no state."""

    @property
    def id(self) -> str:
        """The catalog id of the model."""
        ...

    @property
    def chunk_seconds(self) -> float:
        """The most it hears at once."""
        ...

    @property
    def frame_seconds(self) -> float:
        """Time between frames."""
        ...

    @property
    def first_frame(self) -> float:
        """The time in the sound, in seconds, that the first frame stands for."""
        ...

    def activity(self, sound: Samples) -> NDArray[np.bool_]:
        """Which of a few people speak in each frame: bool of shape (frames, people). Blocking.

        Raises:
            EngineFailure: the model failed.
        """
        ...


class SpeakerEncoder(Protocol):
    """Tells what a voice sounds like. Called from several threads at once; keeps no state between calls."""

    @property
    def id(self) -> str:
        """The catalog id of the model; embeddings of different models have nothing in common."""
        ...

    def embed(self, sounds: Sequence[Samples]) -> NDArray[np.float32]:
        """A unit-length embedding for each sound: float32 of shape (len(sounds), size). Blocking.

        Raises:
            EngineFailure: the model failed, or a sound is too short.
        """
        ...


@dataclass(frozen=True, slots=True)
class SpeakerModels:
    """What tells speakers apart."""

    segmenter: SpeakerSegmenter
    encoder: SpeakerEncoder
