"""From a request's address to recognition options: every value checked, and what cannot be done refused by name."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from typing import Literal

from fastapi import Request

from app.audio.declared import DeclaredSound
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.options import RecognitionOptions, SpeechDetection
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.errors import UnknownAppkey
from app.protocols.aliyun.filtering import NAME as FILTER
from app.protocols.aliyun.filtering import asked_filter
from app.protocols.aliyun.parameters import speech_threshold
from app.protocols.aliyun.rest.sound import sound_of
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.asked_speakers import asked_speakers
from app.protocols.languages import spoken_language
from app.protocols.payload import Payload
from app.service.models import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

Route = Literal["asr", "flash"]

LONGEST_MODEL = 64
SENTENCE_CHARACTERS = (4, 50)
PUNCTUATION, ITN = "enable_punctuation_prediction", "enable_inverse_text_normalization"
SPEAKERS = "enable_speaker_diarization"
SPEAKERS_UNAVAILABLE = "speakers_unavailable"
PUNCTUATION_UNAVAILABLE = "punctuation_unavailable"
ITN_UNAVAILABLE = "itn_unavailable"
"""Warnings: what is on by default, or in every sample of the documents, and cannot be had here."""

_TOKENS = frozenset({"token", "x_nls_token", "X-NLS-Token", "api_key"})
COMMON = frozenset(
    {
        "model_id",
        "audio_address",
        "appkey",
        "format",
        "sample_rate",
        "vocabulary_id",
        "hotwords",
        "language",
        PUNCTUATION,
        ITN,
        FILTER,
        "customization_id",
    }
)
ASR = COMMON | {SPEAKERS, "word_timestamps", "enable_voice_detection", "disfluency"}
FLASH = COMMON | {
    "enable_word_level_result",
    "sentence_max_length",
    "first_channel_only",
    "speech_noise_threshold",
    "enable_timestamp_alignment",
}
_WITHOUT_EFFECT = {
    "asr": ("enable_voice_detection", "disfluency"),
    "flash": ("enable_timestamp_alignment",),
}
"""Yes or no, and either changes nothing; docs/aliyun_http.md says why."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for.

    `declared` is what the recording's bytes are if they have no container. `sentence_characters` is how long a sentence
    may be (None: as long as it is). `first_channel`: nothing of the others.
    """

    model: ServedModel
    options: RecognitionOptions
    declared: DeclaredSound | None
    address: str | None
    words: bool
    sentence_characters: int | None = None
    first_channel: bool = False
    warnings: tuple[str, ...] = ()


def read_query(request: Request, route: Route, request_id: str) -> Payload:
    """The parameters of a request, each of which is there once. Those that nobody knows are noted.

    Raises:
        InvalidParameter: one is there twice.
    """
    fields: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in fields:
            raise InvalidParameter(f"{name[:64]!r} was sent twice; send it once.", param=name[:64])
        fields[name] = value
    if unknown := fields.keys() - (ASR if route == "asr" else FLASH) - _TOKENS:
        shown = sorted(name[:40] for name in unknown)[:20]
        _logger.debug("request %s: parameters nobody reads: %r", request_id, shown)
    return Payload(fields)


def check_appkey(query: Payload, settings: Settings) -> None:
    """That the request names the project this server is set to, if it is to any.

    Raises:
        UnknownAppkey: it does not.
    """
    wanted, said = settings.appkey.get_secret_value(), str(query.value("appkey") or "")
    if wanted and not hmac.compare_digest(said.encode(errors="replace"), wanted.encode()):
        raise UnknownAppkey("The appkey is missing or unknown.", param="appkey")


async def read_asked(
    query: Payload, route: Route, content_type: str | None, service: SpeechService, owner: str, *, shown: bool
) -> Asked:
    """What a request asks for, all of which its model can do. `shown`: the answer has room for more than a text.

    In the answer, that is: where it has none for them, word times and speakers are not asked for.

    Raises:
        SpeechError: a value makes no sense, or what it asks for is not here or cannot be done.
    """
    model = service.resolve(query.text("model_id", longest=LONGEST_MODEL))
    declared = sound_of(query, content_type)
    for name in _WITHOUT_EFFECT[route]:
        query.choice(name)
    said = query.choice("first_channel_only") if route == "flash" else None
    options = RecognitionOptions(
        language=_language(query.text("language"), model),
        hotwords=await asked_hotwords(
            {"hotwords": query.terms("hotwords")}, query.text("vocabulary_id", longest=None), model, service, owner
        ),
        punctuation=query.flag(PUNCTUATION, default=True),
        itn=_itn(query, route, service),
        timed=shown,
        detection=SpeechDetection(threshold=_threshold(query) if route == "flash" else None),
        speakers=_speakers(query, service) if route == "asr" and shown else None,
        split_channels=said is not None,
        masking=await asked_filter(query, service.settings),
    )
    return Asked(
        model=model,
        options=options,
        declared=declared,
        address=query.text("audio_address", longest=None),
        words=_words(query, route, model, shown=shown),
        sentence_characters=_sentence_characters(query) if route == "flash" else None,
        first_channel=said is True,
        warnings=_warnings(query, route, options, model, service),
    )


def _warnings(
    query: Payload, route: Route, options: RecognitionOptions, model: ServedModel, service: SpeechService
) -> tuple[str, ...]:
    """What cannot be had, though it was asked for or is the default."""
    able = model.capabilities
    by_default = route == "asr" and query.choice(SPEAKERS) is None
    told_apart = service.settings.speaker_diarization == "default" and by_default
    marks, digits = query.flag(PUNCTUATION, default=True), query.flag(ITN, default=route == "asr")
    holds = {
        SPEAKERS_UNAVAILABLE: told_apart and options.speakers is None,
        PUNCTUATION_UNAVAILABLE: marks and not (able.punctuates or service.punctuates),
        ITN_UNAVAILABLE: digits and not (able.writes_numbers or service.writes_numbers),
    }
    return tuple(name for name, so in holds.items() if so)


def _words(query: Payload, route: Route, model: ServedModel, *, shown: bool) -> bool:
    name = "word_timestamps" if route == "asr" else "enable_word_level_result"
    wanted = query.flag(name, default=False) and shown
    if wanted and not model.capabilities.word_times:
        raise UnsupportedFeature(f"{model.id} cannot time words; leave {name} out.", param=name)
    return wanted


def _speakers(query: Payload, service: SpeechService) -> SpeakerOptions | None:
    return asked_speakers(query.choice(SPEAKERS), service, param=SPEAKERS)


def _itn(query: Payload, route: Route, service: SpeechService) -> bool | None:
    """Whether numbers become digits, as funasr-api always had it, and the real service when asked; None leaves it to
    the recogniser, where that writes them."""
    said = query.choice(ITN)
    if said is None:
        return None if route == "asr" else False
    if not said:
        return False
    return True if service.writes_numbers else None


def _language(said: str | None, model: ServedModel) -> str | None:
    return None if said is None or said.lower() == "auto" else spoken_language(said, model)


def _threshold(query: Payload) -> float | None:
    name = "speech_noise_threshold"
    return None if query.value(name) is None else speech_threshold(query.within(name, 0.0, -1.0, 1.0))


def _sentence_characters(query: Payload) -> int | None:
    name = "sentence_max_length"
    least, most = SENTENCE_CHARACTERS
    return None if query.value(name) is None else query.count(name, most, least, most)
