"""What a caller may ask of a recognition, whatever the protocol it was asked in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.speakers import SpeakerOptions

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class SpeechDetection:
    """How speech is told from silence. None means the model's own default.

    `threshold` 0..1 (higher hears less), `silence_seconds` of quiet end a stretch of speech,
    `padding_seconds` are kept before it.
    """

    threshold: float | None = None
    silence_seconds: float | None = None
    padding_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """One request's wishes.

    `language` forces an ISO-639 code; `languages` are the candidates detection may choose from (empty: all).
    `prompt` is preceding text or style, `hotwords` are terms to listen for. `temperature` 0 is beam search.
    `punctuation` False takes marks out. `itn` writes numbers said as words in digits (None: where the recogniser does
    not).
    `timed` asks for segment and word times (costs an alignment), `logprobs` for every token's probability.
    `draft` asks for a guess at speech that goes on: quick rather than right.
    `speakers` asks to tell speakers apart. `split_channels` recognises each channel by itself; its speaker then is the
    channel, named by `channel_roles` in order.
    `masking` are terms that are not to be read in the text, applied one after the other; recognisers are not told.
    """

    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str = ""
    hotwords: tuple[Hotword, ...] = ()
    punctuation: bool = True
    itn: bool | None = None
    temperature: float = 0.0
    task: Task = "transcribe"
    timed: bool = True
    logprobs: bool = False
    draft: bool = False
    detection: SpeechDetection = field(default_factory=SpeechDetection)
    speakers: SpeakerOptions | None = None
    split_channels: bool = False
    channel_roles: tuple[str, ...] = ()
    masking: tuple[Masking, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How a live stream is listened to.

    `silence_seconds` of quiet end an utterance (None: no quiet does), and one that has lasted
    `longest_seconds` ends at the next place fit for it. `partials` asks for texts while somebody speaks. `threshold`
    0..1 is the least speech probability (None: the detector's own). `near_field` ignores what is quieter than a voice
    at the microphone (None: as the server is set, or not).
    """

    silence_seconds: float | None = 0.8
    longest_seconds: float = 60.0
    partials: bool = True
    threshold: float | None = None
    near_field: bool | None = None
