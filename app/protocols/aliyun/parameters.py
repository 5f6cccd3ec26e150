"""From a start's payload to options: read leniently, because SDKs send numbers as text and values beyond the bounds."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import UnsupportedFeature
from app.domain.masking import Masking
from app.domain.options import LiveOptions, RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.aliyun.dialects import Dialect
from app.protocols.aliyun.filtering import NAME as FILTER
from app.protocols.aliyun.filtering import asked_filter
from app.protocols.aliyun.sound import Sound
from app.protocols.aliyun.wire import RECOGNIZER, Command, Speech
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.asked_masking import check_together, said_masking
from app.protocols.languages import spoken_language
from app.protocols.live_speakers import ENABLE, VOICES, live_speakers
from app.protocols.payload import Payload
from app.service.models import ServedModel
from app.service.service import SpeechService

SENSITIVE, SENSITIVE_STYLE = "sensitive_words", "sensitive_words_style"
"""As on OpenAI's routes."""
WITHOUT_EFFECT = frozenset(
    {
        "customization_id",
        "disfluency",
        "enable_semantic_sentence_detection",
        "enable_ignore_sentence_timeout",
        "enable_nlp",
        "nlp_model",
    }
)
"""What the real service knows and this one leaves out; docs/aliyun.md says why."""
_WITH_EFFECT = frozenset(
    {
        "format",
        "sample_rate",
        "enable_intermediate_result",
        "enable_punctuation_prediction",
        "enable_inverse_text_normalization",
        "vocabulary_id",
        "max_sentence_silence",
        "enable_words",
        "speech_noise_threshold",
        "enable_voice_detection",
        "max_start_silence",
        "max_end_silence",
        "session_id",
        "model",
        "language",
        "hotwords",
        "near_field",
        FILTER,
        SENSITIVE,
        SENSITIVE_STYLE,
        ENABLE,
        VOICES,
    }
)
KNOWN = WITHOUT_EFFECT | _WITH_EFFECT

_SILENCE, _SILENCES = 800.0, (200.0, 6_000.0)
"""Milliseconds that end a sentence: the default, and the bounds of the newer documents (older ones say 2000)."""
_START_SILENCES = (200.0, 60_000.0)
_THRESHOLDS = (0.05, 0.95)
_MOST_UNKNOWN = 16


@dataclass(frozen=True, slots=True)
class Start:
    """What a task is to be. Times are in seconds.

    `ends_itself`: after the first sentence, or after `start_silence` without one. `unknown` are parameters that nobody
    here has heard of.
    """

    model: ServedModel
    options: RecognitionOptions
    live: LiveOptions
    sound: Sound
    words: bool
    ends_itself: bool
    start_silence: float | None
    session_id: str | None
    unknown: tuple[str, ...]


async def read_start(command: Command, dialect: Dialect, service: SpeechService, owner: str) -> Start:
    """What a start asks for. Figures beyond their bounds are taken for the nearest that is not.

    Raises:
        TaskFailure: a format or rate that cannot be.
        SpeechError: a value that makes no sense; a model or vocabulary that is not here.
    """
    payload = Payload(command.payload)
    model = service.resolve(payload.text("model"))
    rate = payload.number("sample_rate")
    intermediate = payload.flag("enable_intermediate_result", default=dialect.intermediate)
    ends_itself = command.speech is RECOGNIZER and payload.flag("enable_voice_detection", default=False)
    words = payload.flag("enable_words", default=False)
    start_silence = payload.number("max_start_silence", *_START_SILENCES)
    return Start(
        model=model,
        options=RecognitionOptions(
            language=_language(payload.text("language"), model),
            hotwords=await asked_hotwords(
                {"hotwords": payload.terms("hotwords")},
                payload.text("vocabulary_id", longest=None),
                model,
                service,
                owner,
            ),
            punctuation=payload.flag("enable_punctuation_prediction", default=dialect.punctuation),
            itn=_itn(payload, dialect, service),
            timed=words,
            speakers=await _speakers(payload, command.speech, service, owner),
            masking=await _masking(payload, service, owner),
        ),
        live=LiveOptions(
            silence_seconds=_silence(payload, command.speech, ends_itself=ends_itself),
            longest_seconds=service.settings.max_utterance_seconds,
            partials=intermediate,
            threshold=_threshold(payload),
            near_field=_near_field(payload, dialect, service),
        ),
        sound=Sound((payload.text("format") or "pcm").lower(), None if rate is None else round(rate)),
        words=words,
        ends_itself=ends_itself,
        start_silence=start_silence / 1000 if ends_itself and start_silence is not None else None,
        session_id=payload.text("session_id"),
        unknown=tuple(sorted(name[:64] for name in command.payload if name not in KNOWN))[:_MOST_UNKNOWN],
    )


def _silence(payload: Payload, speech: Speech, *, ends_itself: bool) -> float:
    """Seconds. SpeechRecognizer has another name for it."""
    names = ("max_end_silence", "max_sentence_silence") if ends_itself else ("max_sentence_silence",)
    said = (payload.number(name, *_SILENCES) for name in names if speech is RECOGNIZER or name != "max_end_silence")
    return next((one for one in said if one is not None), _SILENCE) / 1000


def _threshold(payload: Payload) -> float | None:
    lead = payload.number("speech_noise_threshold", -1.0, 1.0)
    return None if lead is None else speech_threshold(lead)


def speech_threshold(lead: float) -> float:
    """The least probability of speech. `lead` is by how much it must exceed that of noise, -1 to 1."""
    low, high = _THRESHOLDS  # at the ends nothing, or everything, would be speech
    return min(max((1 + lead) / 2, low), high)


def _itn(payload: Payload, dialect: Dialect, service: SpeechService) -> bool | None:
    """Whether numbers become digits; None leaves it to the recogniser, where nothing else can do it."""
    name = "enable_inverse_text_normalization"
    if not payload.flag(name, default=dialect.itn):
        return False
    return True if payload.choice(name) and service.writes_numbers else None


def _near_field(payload: Payload, dialect: Dialect, service: SpeechService) -> bool | None:
    """Whether only voices at the microphone are heard; None: as the server is set."""
    said = payload.choice("near_field")
    unset = said is None and service.settings.asr_enable_nearfield_filter is None
    return dialect.near_field if unset else said


def _language(said: str | None, model: ServedModel) -> str | None:
    return None if said is None or said.lower() == "auto" else spoken_language(said, model)


async def _masking(payload: Payload, service: SpeechService, owner: str) -> tuple[Masking, ...]:
    filtered = await asked_filter(payload, service.settings)
    said, style = payload.terms(SENSITIVE), payload.text(SENSITIVE_STYLE)
    both = filtered + await said_masking(said, style, service, owner, param=SENSITIVE)
    check_together(both, service.settings, param=SENSITIVE)
    return both


async def _speakers(payload: Payload, speech: Speech, service: SpeechService, owner: str) -> SpeakerOptions | None:
    said = {ENABLE: payload.choice(ENABLE), VOICES: payload.value(VOICES)}
    if speech is RECOGNIZER and (said[ENABLE] or said[VOICES] is not None):
        raise UnsupportedFeature("SpeechRecognizer does not tell speakers; SpeechTranscriber does.", param=ENABLE)
    return await live_speakers(said, service, owner)
