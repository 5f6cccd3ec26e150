"""From a start to options: what the model cannot do is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.options import LiveOptions, RecognitionOptions
from app.protocols.asked_hotwords import asked_hotwords, listens
from app.protocols.languages import spoken_language
from app.protocols.live_speakers import ENABLE, VOICES, live_speakers
from app.protocols.payload import Payload
from app.protocols.qwen.wire import MOST_CHARACTERS, Command, Json, full_name
from app.service.models import ServedModel
from app.service.service import SpeechService

LONGEST_CONTEXT = 10_000
"""Characters of a prompt."""
LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
"""Hz."""
_FORMATS = ("pcm", "wav")
_SILENCE, _SILENCES = 2_000.0, (200.0, 6_000.0)
"""Milliseconds that end a segment: funasr-api's, and the bounds that Alibaba Cloud's protocol has here."""
_CHUNK, _CHUNKS = 0.5, (0.02, 60.0)
"""Seconds of sound between two results."""
_CHUNK_NUM, _TOKEN_NUM, _MOST = 2, 5, 1_000
KNOWN = frozenset(
    {
        "format",
        "sample_rate",
        "language",
        "context",
        "chunk_size_sec",
        "unfixed_chunk_num",
        "unfixed_token_num",
        "enable_inverse_text_normalization",
        "enable_punctuation_prediction",
        "word_timestamps",
        "enable_words",
        "max_sentence_silence",
        "hotwords",
        "vocabulary_id",
        "model",
        "near_field",
        ENABLE,
        VOICES,
    }
)
_MOST_UNKNOWN = 16
_PROSE = re.compile(r"[。！？!?]|\.(?:\s|$)")
"""Lists of terms have no ends of sentences."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a session is to be. `chunk_seconds` of sound are between two results of a segment, at least.

    `params` is what the client is told of it; `unknown` are parameters that nobody here has heard of.
    """

    model: ServedModel
    options: RecognitionOptions
    live: LiveOptions
    sound: DeclaredSound
    words: bool
    chunk_seconds: float
    params: Json
    unknown: tuple[str, ...]


async def read_start(command: Command, service: SpeechService, owner: str) -> Start:
    """What a start asks for.

    Raises:
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: it makes sense, but not to the model that would answer.
        SpeechError: a model, vocabulary or voice that is not here.
    """
    payload = Payload(command.payload)
    model = service.resolve(payload.text("model"))
    sound_format, rate = _format(payload), _rate(payload)
    language = _language(payload.text("language"), model)
    context, words = payload.text("context", longest=MOST_CHARACTERS) or "", _words(payload, model)
    prompt = _prompt(context, model, service)
    silence = payload.within("max_sentence_silence", _SILENCE, *_SILENCES)
    chunk = payload.within("chunk_size_sec", _CHUNK, *_CHUNKS)
    speakers = await live_speakers(command.payload, service, owner)
    params: Json = {
        "format": sound_format,
        "sample_rate": rate,
        "language": full_name(language) or None,
        "context": context,
        "chunk_size_sec": chunk,
        "unfixed_chunk_num": payload.count("unfixed_chunk_num", _CHUNK_NUM, 0, _MOST),
        "unfixed_token_num": payload.count("unfixed_token_num", _TOKEN_NUM, 0, _MOST),
        "enable_inverse_text_normalization": payload.flag("enable_inverse_text_normalization", default=True),
        "word_timestamps": words,
        "max_sentence_silence": round(silence),
        "model": model.id,
    }
    return Start(
        model=model,
        options=RecognitionOptions(
            language=language,
            prompt=prompt,
            hotwords=await asked_hotwords(
                {"hotwords": payload.terms("hotwords"), "context": () if prompt or not context else (context,)},
                payload.text("vocabulary_id", longest=MOST_CHARACTERS),
                model,
                service,
                owner,
            ),
            punctuation=payload.flag("enable_punctuation_prediction", default=True),
            itn=_itn(payload, service),
            timed=words or speakers is not None,
            speakers=speakers,
        ),
        live=LiveOptions(
            silence_seconds=silence / 1000,
            longest_seconds=service.settings.max_utterance_seconds,
            near_field=payload.choice("near_field"),
        ),
        sound=DeclaredSound("s16le", rate),
        words=words,
        chunk_seconds=chunk,
        params=params,
        unknown=_unknown(command),
    )


def _unknown(command: Command) -> tuple[str, ...]:
    names = [*(name for name in command.payload if name not in KNOWN), *command.beside]
    return tuple(sorted(name[:64] for name in names))[:_MOST_UNKNOWN]


def _format(payload: Payload) -> str:
    said = (payload.text("format") or _FORMATS[0]).lower()
    if said not in _FORMATS:
        told = "format must be pcm or wav: 16-bit samples of one channel, with or without headers."
        raise InvalidParameter(told, param="format")
    return said


def _rate(payload: Payload) -> int:
    return payload.count("sample_rate", 16_000, LOWEST_RATE, HIGHEST_RATE)


def _language(said: str | None, model: ServedModel) -> str | None:
    return None if said is None or said.lower() == "auto" else spoken_language(said, model)


def _words(payload: Payload, model: ServedModel) -> bool:
    asked = next((name for name in ("word_timestamps", "enable_words") if payload.flag(name, default=False)), None)
    if asked is not None and not model.capabilities.word_times:
        raise UnsupportedFeature(f"{model.id} cannot time words; leave {asked} out.", param=asked)
    return asked is not None


def _itn(payload: Payload, service: SpeechService) -> bool | None:
    """Whether numbers become digits; None leaves it to the recogniser, where nothing else can do it."""
    said = payload.choice("enable_inverse_text_normalization")
    if said is False:
        return False
    return True if said and service.writes_numbers else None


def _prompt(context: str, model: ServedModel, service: SpeechService) -> str:
    """The context where the model takes one; elsewhere it is none, but perhaps a list of hotwords."""
    if not context:
        return ""
    if model.capabilities.prompt:
        if len(context) > LONGEST_CONTEXT:
            raise InvalidParameter(f"context has more than {LONGEST_CONTEXT} characters.", param="context")
        return context
    if not listens(model, service):
        raise UnsupportedFeature(f"{model.id} takes neither a context nor hotwords; leave it out.", param="context")
    if _PROSE.search(context):
        told = f"{model.id} takes hotwords, not a text. Send terms, with commas or line breaks between them."
        raise UnsupportedFeature(told, param="context")
    return ""
