"""From OddASR's form fields to recognition options."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.domain.masking import Masking
from app.domain.options import RecognitionOptions
from app.domain.speakers import SpeakerOptions
from app.protocols.asked_hotwords import asked_hotwords, listens
from app.protocols.asked_masking import masking_style, said_masking
from app.protocols.asked_speakers import asked_speakers
from app.protocols.asked_text import asked_itn, asked_punctuation
from app.protocols.forms import Form, chosen
from app.protocols.languages import spoken_language
from app.protocols.oddasr.rest import stored
from app.protocols.oddasr.rest.layouts import LAYOUTS, Layout
from app.service.residents import ServedModel
from app.service.service import SpeechService

AUDIO = ("audio", "file")
"""The recording's field, as OddASR calls it, and as everybody else does."""
AUDIO_MISSING = "Invalid parameter. audio param is required."
"""OddASR's own words."""
MODE = "file"
FIELDS = frozenset(
    {
        *AUDIO,
        "mode",
        "output_format",
        "hotwords",
        "hot_uid",
        "sensitive_words",
        "sensitive_uid",
        "sensitive_style",
        "model",
        "language",
        "punctuation",
        "itn",
        "speakers",
    }
)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for: of the recogniser, and of the answer's layout."""

    options: RecognitionOptions
    layout: Layout


def audio_field(form: Form) -> str:
    """The field that has the recording.

    Raises:
        InvalidParameter: none has, or both.
    """
    there = [name for name in AUDIO if form.has(name)]
    if not there:
        raise InvalidParameter(AUDIO_MISSING, param=AUDIO[0])
    if len(there) > 1:
        raise InvalidParameter("Send one recording: audio or file, not both.", param=AUDIO[1])
    return there[0]


async def read_wishes(form: Form, model: ServedModel, service: SpeechService, owner: str) -> Wishes:
    """The request's wishes, all of which can be fulfilled.

    Raises:
        InvalidParameter: a value makes no sense.
        UnknownVocabulary: `owner` has no such list.
        UnsupportedFeature, ModelUnavailable: it makes sense, but cannot be had.
    """
    mode = (form.text("mode") or MODE).strip()
    if mode != MODE:
        raise InvalidParameter(f"unsupported mode: {mode[:40]!r}.", param="mode")
    layout = _layout(form)
    options = RecognitionOptions(
        language=_language(form, model),
        hotwords=await _hotwords(form, model, service, owner),
        punctuation=asked_punctuation(form.flag("punctuation"), model, service, param="punctuation"),
        itn=asked_itn(form.flag("itn"), service, param="itn"),
        timed=layout != "txt",
        speakers=_speakers(form, layout, service),
        masking=await _masking(form, service, owner),
    )
    return Wishes(options, layout)


def _layout(form: Form) -> Layout:
    said = chosen((form.text("output_format") or LAYOUTS[0]).strip(), "output_format", LAYOUTS)
    return next(layout for layout in LAYOUTS if layout == said)


def _language(form: Form, model: ServedModel) -> str | None:
    said = form.text("language")
    return None if said is None or said.strip().lower() == "auto" else spoken_language(said, model)


def _speakers(form: Form, layout: Layout, service: SpeechService) -> SpeakerOptions | None:
    """spk is about nothing else; subtitles say who speaks where that can be told; txt has no place for it."""
    said = form.flag("speakers")
    if layout == "txt":
        if said:
            raise InvalidParameter("speakers=true goes with output_format=spk or srt.", param="speakers")
        return None
    if layout == "spk":
        if said is False:
            raise InvalidParameter("speakers=false contradicts output_format=spk.", param="speakers")
        return asked_speakers(True, service, param="output_format")
    if said is None:
        return SpeakerOptions() if service.tells_speakers else None
    return asked_speakers(said, service, param="speakers")


async def _hotwords(form: Form, model: ServedModel, service: SpeechService, owner: str) -> tuple[Hotword, ...]:
    form.check_list("hotwords")
    said = await asked_hotwords({"hotwords": form.texts("hotwords")}, None, model, service, owner)
    uid = _one(form, "hot_uid")
    if uid is None:
        return said
    if not listens(model, service):
        raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave hot_uid out.", param="hot_uid")
    both = merged(said, await stored.hotwords_of(service.vocabularies, owner, uid, param="hot_uid"))
    most = service.settings.max_hotwords
    if len(both) > most:
        raise InvalidParameter(f"There are more than {most} hotwords together.", param="hot_uid")
    return both


async def _masking(form: Form, service: SpeechService, owner: str) -> tuple[Masking, ...]:
    name, param = "sensitive_words", "sensitive_uid"
    style = masking_style(_one(form, "sensitive_style"), param="sensitive_style")
    form.check_list(name)
    uid = _one(form, param)
    if uid is None:
        return await said_masking(form.texts(name), style, service, owner, param=name)
    found = await stored.list_of(service.vocabularies, owner, uid, "sensitive", param=param)
    return await said_masking(form.texts(name), style, service, owner, param=name, lists=(found.id,))


def _one(form: Form, name: str) -> str | None:
    """A field's value, also where a library calls it name[]: overlooked, words would be read that must not be.

    Raises:
        InvalidParameter: there are several, or it is a file.
    """
    form.check_list(name)
    said = form.texts(name)
    if len(said) > 1:
        raise InvalidParameter(f"{name} was sent {len(said)} times; send it once.", param=name)
    return said[0] if said else None
