"""What a request says about the text: hotwords to listen for, marks, and numbers in digits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.domain.options import RecognitionOptions
from app.pipeline.hotwords.parsing import read_hotwords
from app.protocols.openai.forms import Form
from app.service.models import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

MAX_HOTWORD_CHARACTERS = 200
MAX_VOCABULARY_ID_CHARACTERS = 512
_PUNCTUATION = ("punctuation", "enable_punctuation_prediction")
_ITN = ("itn", "enable_inverse_text_normalization")
"""FunASR's short name, and the one that Alibaba Cloud's users know."""
TEXT_FIELDS = frozenset({"keywords", "hotwords", "vocabulary_id", *_PUNCTUATION, *_ITN})


@dataclass(frozen=True, slots=True)
class TextWishes:
    """`punctuation` and `itn` None: nothing was said. `vocabulary` is the id of a stored one, or a list of hotwords as
    funasr-api takes it under the same name."""

    hotwords: tuple[Hotword, ...] = ()
    vocabulary: str | None = None
    punctuation: bool | None = None
    itn: bool | None = None


def read_text_wishes(form: Form, model: ServedModel, settings: Settings) -> TextWishes:
    """What the request says about the text.

    Raises:
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: hotwords, of a model that cannot hear them, where they are not corrected towards either.
    """
    vocabulary = form.text("vocabulary_id")
    if vocabulary and len(vocabulary) > MAX_VOCABULARY_ID_CHARACTERS:
        told = f"vocabulary_id has more than {MAX_VOCABULARY_ID_CHARACTERS} characters."
        raise InvalidParameter(told, param="vocabulary_id")
    keywords = tuple(Hotword(term) for term in form.items("keywords"))
    if len(keywords) > settings.max_hotwords or any(len(one.text) > MAX_HOTWORD_CHARACTERS for one in keywords):
        told = f"keywords takes {settings.max_hotwords} terms of {MAX_HOTWORD_CHARACTERS} characters at most."
        raise InvalidParameter(told, param="keywords")
    hotwords = read_hotwords(form.texts("hotwords"), param="hotwords", most=settings.max_hotwords)
    for name in ("keywords", "hotwords", "vocabulary_id"):
        if form.has(name) and form.texts(name) and not _listens(model, settings):
            raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave {name} out.", param=name)
    return TextWishes(merged(keywords, hotwords), vocabulary, _flag(form, _PUNCTUATION), _flag(form, _ITN))


async def with_text(
    options: RecognitionOptions, wishes: TextWishes, model: ServedModel, service: SpeechService, owner: str
) -> RecognitionOptions:
    """The options with what was said about the text.

    Raises:
        UnknownVocabulary: `owner` has stored none of that id.
        InvalidParameter: what stands for it is no list of hotwords, or there are too many together.
        UnsupportedFeature: marks or digits are asked for in so many words and cannot be had.
    """
    stored = await service.vocabulary(owner, wishes.vocabulary, param="vocabulary_id") if wishes.vocabulary else ()
    hotwords = merged(wishes.hotwords, stored)
    if len(hotwords) > service.settings.max_hotwords:
        told = f"There are more than {service.settings.max_hotwords} hotwords together."
        raise InvalidParameter(told, param="vocabulary_id")
    if wishes.punctuation and not (model.capabilities.punctuates or service.punctuates):
        told = f"{model.id} writes no punctuation, and the model that adds it is not on this server."
        raise UnsupportedFeature(told, param=_PUNCTUATION[0])
    if wishes.itn and not service.writes_numbers:
        raise UnsupportedFeature("Numbers are not rewritten on this server (ASR_ENABLE_ITN=false).", param=_ITN[0])
    return replace(options, hotwords=hotwords, punctuation=wishes.punctuation is not False, itn=wishes.itn)


def _listens(model: ServedModel, settings: Settings) -> bool:
    return model.capabilities.hotwords or settings.asr_hotword_correction


def _flag(form: Form, names: tuple[str, str]) -> bool | None:
    short, long = (form.flag(name) for name in names)
    if short is not None and long is not None and short is not long:
        raise InvalidParameter(f"{names[0]} contradicts {names[1]}.", param=names[0])
    return long if short is None else short
