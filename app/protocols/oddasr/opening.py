"""What a client's first message asks for: read leniently, because clients send numbers as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter
from app.domain.options import LiveOptions, RecognitionOptions
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.languages import spoken_language
from app.protocols.live_speakers import ENABLE, VOICES, live_speakers
from app.protocols.payload import Payload
from app.service.models import ServedModel
from app.service.service import SpeechService

WITHOUT_EFFECT = frozenset(
    {
        "appkey",
        "class_vocabulary_id",
        "customization_id",
        "disfluency",
        "enable_gender_detect",
        "enable_ignore_sentence_timeout",
        "enable_semantic_sentence_detection",
        "vad_silence_duration",
    }
)
"""What OddASR declares, and never looks at; docs/oddasr_live.md says so."""
_WITH_EFFECT = frozenset(
    {
        "name",
        "namespace",
        "message_id",
        "token",
        "task_id",
        "payload",
        "format",
        "sample_rate",
        "samplerate",
        "enable_intermediate_result",
        "enable_punctuation_prediction",
        "enable_inverse_text_normalization",
        "enable_words",
        "max_sentence_silence",
        "model",
        "language",
        "hotwords",
        "vocabulary_id",
        "near_field",
        ENABLE,
        VOICES,
    }
)
KNOWN = WITHOUT_EFFECT | _WITH_EFFECT

_FORMATS = frozenset({"pcm", "wav", "raw"})
"""All of them are samples, with a header before them or without."""
_RATES = range(8_000, 48_001)
_RATE = 16_000
_SILENCE, _SILENCES = 800.0, (200.0, 6_000.0)
"""Milliseconds that end a sentence: the default, and the bounds."""
_MOST_UNKNOWN = 16


@dataclass(frozen=True, slots=True)
class Start:
    """What a session is to be. `unknown` are fields that nobody here has heard of."""

    model: ServedModel
    options: RecognitionOptions
    live: LiveOptions
    declared: DeclaredSound
    words: bool
    unknown: tuple[str, ...]


async def read_start(said: Mapping[str, object], service: SpeechService, owner: str) -> Start:
    """What a start asks for. What it leaves out is as OddASR does it.

    Raises:
        SpeechError: a value that makes no sense; a model, voice or vocabulary that is not here.
    """
    fields = Payload(_payload(said), said)
    model = service.resolve(fields.text("model"))
    words = fields.flag("enable_words", default=True)
    return Start(
        model=model,
        options=RecognitionOptions(
            language=_language(fields.text("language"), model),
            hotwords=await asked_hotwords(
                {"hotwords": fields.terms("hotwords")},
                fields.text("vocabulary_id", longest=None),
                model,
                service,
                owner,
            ),
            punctuation=fields.flag("enable_punctuation_prediction", default=True),
            itn=None if fields.flag("enable_inverse_text_normalization", default=True) else False,
            timed=words,
            speakers=await live_speakers(fields.all, service, owner),
        ),
        live=LiveOptions(
            silence_seconds=_silence(fields),
            longest_seconds=service.settings.max_utterance_seconds,
            partials=fields.flag("enable_intermediate_result", default=True),
            near_field=fields.choice("near_field"),
        ),
        declared=_sound(fields),
        words=words,
        unknown=tuple(sorted(name[:64] for name in fields.all if name not in KNOWN))[:_MOST_UNKNOWN],
    )


def _sound(fields: Payload) -> DeclaredSound:
    if (fields.text("format") or "pcm").lower() not in _FORMATS:
        raise InvalidParameter("format must be pcm or wav: 16-bit samples of one channel.", param="format")
    said = (fields.number("sample_rate"), fields.number("samplerate"))
    rate = next((rate for rate in said if rate is not None), _RATE)
    if rate not in _RATES:
        raise InvalidParameter(f"sample_rate must be {_RATES[0]} to {_RATES[-1]} Hz.", param="sample_rate")
    return DeclaredSound("s16le", int(rate))


def _silence(fields: Payload) -> float:
    """Seconds."""
    said = fields.number("max_sentence_silence", *_SILENCES)
    return (_SILENCE if said is None else said) / 1000


def _payload(said: Mapping[str, object]) -> Mapping[str, object]:
    payload = said.get("payload")
    if not (payload is None or isinstance(payload, dict)):
        raise InvalidParameter("payload must be an object.", param="payload")
    return cast("dict[str, object]", payload or {})


def _language(said: str | None, model: ServedModel) -> str | None:
    return None if said is None or said.lower() == "auto" else spoken_language(said, model)
