"""From a command line to recognition options: what the model cannot do is refused by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.cli.transcribing.layouts import TIMED, Layout
from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.languages import spoken_language
from app.service.residents import ServedModel
from app.service.service import SpeechService
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of every recording. None: as it comes, see RecognitionOptions; `speakers` are told apart or not."""

    layouts: tuple[Layout, ...] = ("txt",)
    language: str | None = None
    prompt: str = ""
    hotwords: tuple[Hotword, ...] = field(default=())
    punctuation: bool | None = None
    itn: bool | None = None
    speakers: bool = False
    masking: tuple[Masking, ...] = field(default=())

    @property
    def timed(self) -> bool:
        """Whether a layout needs times."""
        return not TIMED.isdisjoint(self.layouts)


def told_apart(said: bool | None, layouts: tuple[Layout, ...]) -> bool:
    """Whether speakers are: where somebody says so, or a layout is about them.

    Raises:
        InvalidParameter: what was said contradicts the layouts.
    """
    if said and TIMED.isdisjoint(layouts):
        raise InvalidParameter("--speakers: txt has no place for speakers; take spk, srt, vtt or json as --format.")
    if said is False and "spk" in layouts:
        raise InvalidParameter("--no-speakers contradicts --format spk, which says who speaks.")
    return "spk" in layouts if said is None else said


def options_of(wishes: Wishes, model: ServedModel, service: SpeechService) -> RecognitionOptions:
    """The options for `model`.

    Raises:
        InvalidParameter, UnsupportedFeature, ModelUnavailable: a wish that cannot be fulfilled.
    """
    able, settings = model.capabilities, service.settings
    language = None if (wishes.language or "auto").strip().lower() == "auto" else wishes.language
    if wishes.prompt and not able.prompt:
        raise UnsupportedFeature(f"{model.id} cannot take a prompt.", param="--prompt")
    if wishes.hotwords and not _listens(model, settings):
        raise UnsupportedFeature(f"{model.id} cannot listen for hotwords.", param="--hotwords")
    if wishes.punctuation and not (able.punctuates or service.punctuates):
        told = f"{model.id} writes no punctuation, and the model that adds it is not on this machine."
        raise UnsupportedFeature(told, param="--punctuation")
    if wishes.speakers:
        service.check_speakers()
    return RecognitionOptions(
        language=spoken_language(language, model, param="--language") if language else None,
        prompt=wishes.prompt,
        hotwords=wishes.hotwords,
        punctuation=wishes.punctuation is not False,
        itn=wishes.itn,
        timed=wishes.timed,
        speakers=SpeakerOptions() if wishes.speakers else None,
        masking=wishes.masking,
    )


def settings_for(wishes: Wishes, settings: Settings, model: str | None, concurrency: int) -> Settings:
    """The operator's settings, less what makes sense for a server only: nobody is kept waiting or let in here, no
    other model is fetched or loaded meanwhile, and what a command line asks for is what is loaded."""
    return settings.model_copy(
        update={
            "asr_model": model or settings.asr_model,
            "auto_load_custom_asr_models": [],
            "asr_idle_unload_seconds": 0.0,
            "speaker_diarization": "asked" if wishes.speakers else "off",
            "asr_enable_punctuation": settings.asr_enable_punctuation or bool(wishes.punctuation),
            "asr_enable_realtime_punc": False,
            "asr_enable_itn": settings.asr_enable_itn or bool(wishes.itn),
            "api_keys": [],
            "apptoken": type(settings.apptoken)(""),
            "api_key": type(settings.api_key)(""),
            "max_requests": concurrency,
            "max_wait_seconds": float("inf"),
            "request_timeout_seconds": float("inf"),
        }
    )


def _listens(model: ServedModel, settings: Settings) -> bool:
    return model.capabilities.hotwords or settings.asr_hotword_correction
