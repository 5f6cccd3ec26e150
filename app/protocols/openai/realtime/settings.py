"""How a session is to be heard, as clients say it: nested (GA) or flat (beta), changed a field at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter
from app.pipeline.hotwords.parsing import LONGEST_TERM
from app.protocols.live_speakers import ENABLE, VOICES
from app.protocols.openai.realtime.fields import Fields
from app.protocols.openai.wishes import MAX_MILLISECONDS, MAX_PROMPT_CHARACTERS
from app.service.names import MAX_CHARACTERS

Detection: TypeAlias = Literal["server_vad", "semantic_vad"]
Noise: TypeAlias = Literal["near_field", "far_field"]
LOGPROBS = "item.input_audio_transcription.logprobs"
LEAST_SILENCE = 200
"""Milliseconds; less of it is a pause within a word."""
_RATES = (8_000, 48_000)
_USUAL_RATE, _TELEPHONE_RATE = 24_000, 8_000
_LONGEST_NAME = 512
_MOST_LANGUAGES = 100
_MOST_VOICES = 1000
_EAGERNESS = ("low", "medium", "high", "auto")
_DELAYS = ("minimal", "low", "medium", "high", "xhigh")
_USUAL_SOUND = DeclaredSound("s16le", _USUAL_RATE)
_TELEPHONE = MappingProxyType(
    {"audio/pcmu": DeclaredSound("mulaw", _TELEPHONE_RATE), "audio/pcma": DeclaredSound("alaw", _TELEPHONE_RATE)}
)
_FLAT_FORMATS = MappingProxyType(
    {"pcm16": _USUAL_SOUND, "g711_ulaw": _TELEPHONE["audio/pcmu"], "g711_alaw": _TELEPHONE["audio/pcma"]}
)
_WITHOUT_DETECTION = ("gpt-realtime-whisper", "gpt-live-transcribe")
"""Models of OpenAI's that do not end turns by themselves: who names one, and says nothing of turns, ends them."""


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """What ends an utterance: silence. Milliseconds; `threshold` is on OpenAI's scale, whose middle is the usual."""

    type: Detection = "server_vad"
    threshold: float = 0.5
    prefix_padding: int = 300
    silence_duration: int = 500
    eagerness: str = "auto"


@dataclass(frozen=True, slots=True)
class Transcribing:
    """What is asked of the recogniser. `speakers` and `voices` are as live_speakers takes them."""

    model: str | None = None
    language: str | None = None
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    prompt: str | None = None
    vocabulary: str | None = None
    delay: str | None = None
    speakers: object = None
    voices: str | tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """All of it. `detection` None: only the client's commits end an utterance. `detection_said`: it is the client's
    wish, not the default."""

    sound: DeclaredSound = _USUAL_SOUND
    transcribing: Transcribing = field(default_factory=Transcribing)
    detection: TurnDetection | None = field(default_factory=TurnDetection)
    detection_said: bool = False
    noise: Noise | None = None
    logprobs: bool = False


def read_session(said: object, before: SessionSettings, most_keywords: int) -> SessionSettings:
    """The settings after a client has sent the object `session`. What it leaves out stays, what it does not know is
    left alone, and null is the default (for turn detection: none).

    Raises:
        InvalidParameter: a value makes no sense.
    """
    session = Fields(said, "session")
    kind = session.raw.get("type")
    if kind not in (None, "transcription"):
        told = "Sessions are of the type transcription here; this server has no voice agents."
        raise InvalidParameter(told, param="session.type")
    after = before
    if "include" in session:
        included = session.texts("include", 16, _LONGEST_NAME)
        after = replace(after, logprobs=LOGPROBS in included)
    after = _read_audio(session, after, most_keywords, "input_audio_", flat=True)
    audio = session.inner("audio")
    if audio is not None and (heard := audio.inner("input")) is not None:
        after = _read_audio(heard, after, most_keywords, "", flat=False)
    if not after.detection_said:
        ends_itself = not (after.transcribing.model or "").startswith(_WITHOUT_DETECTION)
        after = replace(after, detection=TurnDetection() if ends_itself else None)
    return after


def _read_audio(
    said: Fields, before: SessionSettings, most_keywords: int, prefix: str, *, flat: bool
) -> SessionSettings:
    after = before
    if (name := f"{prefix}format") in said:
        after = replace(after, sound=_flat_format(said, name) if flat else _format(said.inner(name), before.sound))
    if (name := f"{prefix}noise_reduction") in said:
        noise = said.inner(name)
        word = noise.choice("type", ("near_field", "far_field")) if noise else None
        after = replace(after, noise=cast("Noise | None", word))
    if (name := f"{prefix}transcription") in said:
        after = replace(after, transcribing=_transcribing(said.inner(name), before.transcribing, most_keywords))
    if "turn_detection" in said:
        detection = _detection(said.inner("turn_detection"), before.detection)
        after = replace(after, detection=detection, detection_said=True)
    return after


def _flat_format(said: Fields, name: str) -> DeclaredSound:
    return _FLAT_FORMATS[said.choice(name, _FLAT_FORMATS) or "pcm16"]


def _format(said: Fields | None, before: DeclaredSound) -> DeclaredSound:
    if said is None:
        return _USUAL_SOUND
    kind = said.choice("type", ("audio/pcm", *_TELEPHONE))
    if kind is not None and kind in _TELEPHONE:
        return _TELEPHONE[kind]
    if "rate" not in said and before.encoding == "s16le":
        return before
    return DeclaredSound("s16le", said.whole("rate", *_RATES) or _USUAL_RATE)


def _transcribing(said: Fields | None, before: Transcribing, most_keywords: int) -> Transcribing:
    if said is None:
        return Transcribing()
    after = before
    for name, attribute in (("model", "model"), ("language", "language"), ("vocabulary_id", "vocabulary")):
        if name in said:
            after = replace(after, **{attribute: said.text(name, _LONGEST_NAME)})
    if "languages" in said:
        languages = said.texts("languages", _MOST_LANGUAGES, _LONGEST_NAME)
        after = replace(after, languages=languages, language=after.language if "language" in said else None)
    elif after.language != before.language:
        after = replace(after, languages=())
    if "keywords" in said:
        after = replace(after, keywords=said.texts("keywords", most_keywords, LONGEST_TERM))
    if "prompt" in said:
        after = replace(after, prompt=said.text("prompt", MAX_PROMPT_CHARACTERS))
    if "delay" in said:
        after = replace(after, delay=said.choice("delay", _DELAYS))
    if ENABLE in said:
        after = replace(after, speakers=said.raw[ENABLE])
    if VOICES in said:
        after = replace(after, voices=_voices(said))
    return after


def _voices(said: Fields) -> str | tuple[str, ...] | None:
    if isinstance(said.raw[VOICES], str):
        return said.text(VOICES, _MOST_VOICES * MAX_CHARACTERS)
    return said.texts(VOICES, _MOST_VOICES, MAX_CHARACTERS) or None


def _detection(said: Fields | None, before: TurnDetection | None) -> TurnDetection | None:
    if said is None:
        return None
    before = before or TurnDetection()
    kind = said.choice("type", ("server_vad", "semantic_vad")) or before.type
    after = before if kind == before.type else TurnDetection(type=cast("Detection", kind))
    usual = TurnDetection()
    if "threshold" in said:
        threshold = said.number("threshold", 0.0, 1.0)
        after = replace(after, threshold=usual.threshold if threshold is None else threshold)
    if "prefix_padding_ms" in said:
        padding = said.number("prefix_padding_ms", 0, MAX_MILLISECONDS)
        after = replace(after, prefix_padding=usual.prefix_padding if padding is None else round(padding))
    if "silence_duration_ms" in said:
        silence = said.number("silence_duration_ms", 0, MAX_MILLISECONDS)
        lasting = usual.silence_duration if silence is None else max(LEAST_SILENCE, round(silence))
        after = replace(after, silence_duration=lasting)
    if "eagerness" in said:
        after = replace(after, eagerness=said.choice("eagerness", _EAGERNESS) or usual.eagerness)
    return after
