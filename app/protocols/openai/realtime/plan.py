"""From a session's settings to what the core is asked, and to how a session is shown: what is in effect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.pipeline.hotwords.parsing import read_hotwords
from app.protocols.languages import language_code, spoken_language
from app.protocols.live_speakers import ENABLE, VOICES, live_speakers
from app.protocols.openai.realtime.settings import LOGPROBS, SessionSettings, Transcribing, TurnDetection
from app.service.models import ServedModel
from app.service.service import SpeechService

_PATH = "session.audio.input.transcription"
_DIARIZES = "-diarize"
"""How OpenAI calls a model that tells speakers apart."""
_EAGER_SECONDS: MappingProxyType[str, float] = MappingProxyType({"low": 1.5, "medium": 0.8, "auto": 0.8, "high": 0.5})
"""Of silence, for want of a model that understands whether a sentence is complete."""
_USUAL, _LOWEST, _HIGHEST = 0.8, 0.05, 0.95
"""The detector's own threshold, which is what OpenAI's 0.5 is taken for, and what 0 and 1 are: beyond them everything,
or nothing, would be speech."""
_FORMATS: MappingProxyType[str, str] = MappingProxyType(
    {"s16le": "audio/pcm", "mulaw": "audio/pcmu", "alaw": "audio/pcma"}
)
_FLAT_FORMATS: MappingProxyType[str, str] = MappingProxyType(
    {"s16le": "pcm16", "mulaw": "g711_ulaw", "alaw": "g711_alaw"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the core is asked. `manual`: the client's commits end utterances. `prefix`: seconds before speech that count
    as its own. Two that are equal go on with the same stream."""

    model: ServedModel
    options: RecognitionOptions
    live: LiveOptions
    sound: DeclaredSound
    manual: bool
    prefix: float

    @property
    def bytes_a_second(self) -> int:
        """Of the sound as it is sent."""
        return self.sound.rate * (2 if self.sound.encoding == "s16le" else 1)


async def plan_of(settings: SessionSettings, service: SpeechService, owner: str) -> Plan:
    """What to ask for `settings`, in the name of `owner`.

    Raises:
        UnknownModel, ModelUnavailable: it cannot answer.
        InvalidParameter: a language or a keyword makes no sense.
        UnsupportedFeature: a language is not the model's, speakers cannot be told apart here.
        UnknownVocabulary, UnknownVoice: `owner` has none of that name.
    """
    said = settings.transcribing
    model = service.resolve(said.model)
    able = model.capabilities
    language, languages = _languages(said, model)
    speakers = await _speakers(said, service, owner)
    logprobs = settings.logprobs and able.logprobs
    detection = settings.detection
    options = RecognitionOptions(
        language=language,
        languages=languages,
        prompt=(said.prompt or "") if able.prompt else "",
        hotwords=await _hotwords(said, model, service, owner),
        timed=logprobs or speakers is not None,
        logprobs=logprobs,
        speakers=speakers,
    )
    live = LiveOptions(
        silence_seconds=None if detection is None else _silence(detection),
        longest_seconds=service.settings.max_utterance_seconds,
        threshold=None if detection is None else _threshold(detection.threshold),
        near_field=None if settings.noise is None else settings.noise == "near_field",
    )
    prefix = 0.0 if detection is None else detection.prefix_padding / 1000
    return Plan(model, options, live, settings.sound, detection is None, prefix)


def shown(session_id: str, settings: SessionSettings, plan: Plan, *, flat: bool) -> dict[str, object]:
    """The session as GA has it, or (`flat`) as beta does."""
    head: dict[str, object] = {
        "id": session_id,
        "object": "realtime.transcription_session",
        "expires_at": None,
        "include": [LOGPROBS] if plan.options.logprobs else None,
    }
    noise = None if settings.noise is None else {"type": settings.noise}
    transcription = _shown_transcription(settings.transcribing, plan)
    detection = None if settings.detection is None else _shown_detection(settings.detection)
    if flat:
        return {
            **head,
            "input_audio_format": _FLAT_FORMATS[plan.sound.encoding],
            "input_audio_noise_reduction": noise,
            "input_audio_transcription": transcription,
            "turn_detection": detection,
        }
    sound: dict[str, object] = {"type": _FORMATS[plan.sound.encoding]}
    if plan.sound.encoding == "s16le":
        sound["rate"] = plan.sound.rate
    heard = {
        "format": sound,
        "noise_reduction": noise,
        "transcription": transcription,
        "turn_detection": detection,
    }
    return {"type": "transcription", **head, "audio": {"input": heard}}


def _shown_transcription(said: Transcribing, plan: Plan) -> dict[str, object]:
    fields: dict[str, object] = {
        "model": said.model or plan.model.id,
        "language": said.language,
        "prompt": plan.options.prompt or None,
    }
    others: Mapping[str, object] = {
        "languages": list(said.languages),
        "keywords": list(said.keywords) if plan.options.hotwords else None,
        "vocabulary_id": said.vocabulary,
        ENABLE: plan.options.speakers is not None,
        VOICES: said.voices,
    }
    return fields | {name: value for name, value in others.items() if value}


def _shown_detection(detection: TurnDetection) -> dict[str, object]:
    if detection.type == "semantic_vad":
        return {"type": detection.type, "eagerness": detection.eagerness}
    return {
        "type": detection.type,
        "threshold": detection.threshold,
        "prefix_padding_ms": detection.prefix_padding,
        "silence_duration_ms": detection.silence_duration,
    }


def _silence(detection: TurnDetection) -> float:
    by_figure = detection.type == "server_vad"
    return detection.silence_duration / 1000 if by_figure else _EAGER_SECONDS[detection.eagerness]


def _threshold(said: float) -> float | None:
    """The least probability of speech; None: the detector's own."""
    if said == 0.5:
        return None
    if said < 0.5:
        return _LOWEST + (_USUAL - _LOWEST) * said / 0.5
    return _USUAL + (_HIGHEST - _USUAL) * (said - 0.5) / 0.5


def _languages(said: Transcribing, model: ServedModel) -> tuple[str | None, tuple[str, ...]]:
    """The language, and those it may be. Those of several that the model does not know do no harm."""
    language = said.language if said.language and said.language.lower() != "auto" else None
    code = spoken_language(language, model, param=f"{_PATH}.language") if language else None
    known = model.capabilities.languages
    codes = tuple(dict.fromkeys(found for one in said.languages if (found := language_code(one, known))))
    if said.languages and not codes:
        spoken_language(said.languages[0], model, param=f"{_PATH}.languages")  # raises
    if len(codes) == 1 and len(said.languages) == 1:
        return code or codes[0], ()
    return code, codes


async def _hotwords(said: Transcribing, model: ServedModel, service: SpeechService, owner: str) -> tuple[Hotword, ...]:
    most = service.settings.max_hotwords
    able = model.capabilities.hotwords or service.settings.asr_hotword_correction
    listed: tuple[Hotword, ...] = ()
    if said.keywords and able:  # a hint, in OpenAI's words: without effect where a model takes none
        as_json = json.dumps(said.keywords, ensure_ascii=False)
        listed = await asyncio.to_thread(read_hotwords, (as_json,), param=f"{_PATH}.keywords", most=most)
    if not said.vocabulary:
        return listed
    param = f"{_PATH}.vocabulary_id"
    if not able:
        raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave vocabulary_id out.", param=param)
    hotwords = merged(listed, await service.vocabulary(owner, said.vocabulary, param=param))
    if len(hotwords) > most:
        raise InvalidParameter(f"There are more than {most} keywords together.", param=param)
    return hotwords


async def _speakers(said: Transcribing, service: SpeechService, owner: str) -> SpeakerOptions | None:
    asked = said.speakers
    if asked is None and said.model is not None and said.model.endswith(_DIARIZES):
        asked = True
    voices = list(said.voices) if isinstance(said.voices, tuple) else said.voices
    fields: dict[str, Any] = {ENABLE: asked, VOICES: voices}
    return await live_speakers(fields, service, owner)
