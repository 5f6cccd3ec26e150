"""What a request says about the text: hotwords to listen for, words to mask, marks, and numbers in digits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.domain.options import RecognitionOptions
from app.pipeline.hotwords.parsing import read_hotwords
from app.pipeline.text.bounds import most_commas
from app.protocols.asked_masking import said_masking
from app.protocols.asked_text import asked_itn, asked_punctuation
from app.protocols.forms import Form
from app.service.models import ServedModel
from app.service.service import SpeechService
from app.settings import Settings

MAX_HOTWORD_CHARACTERS = 200
MAX_VOCABULARY_ID_CHARACTERS = 512
_PUNCTUATION = ("punctuation", "enable_punctuation_prediction")
_ITN = ("itn", "enable_inverse_text_normalization")
"""FunASR's short name, and the one that Alibaba Cloud's users know."""
SENSITIVE, SENSITIVE_STYLE = "sensitive_words", "sensitive_words_style"
TEXT_FIELDS = frozenset({"keywords", "hotwords", "vocabulary_id", SENSITIVE, SENSITIVE_STYLE, *_PUNCTUATION, *_ITN})


@dataclass(frozen=True, slots=True)
class TextWishes:
    """`punctuation` and `itn` None: nothing was said. `vocabulary` is the id of a stored one, or a list of hotwords as
    funasr-api takes it under the same name. `sensitive` are terms to mask and ids of stored lists, as they were sent;
    `style` says how."""

    hotwords: tuple[Hotword, ...] = ()
    vocabulary: str | None = None
    punctuation: bool | None = None
    itn: bool | None = None
    sensitive: tuple[str, ...] = ()
    style: str | None = None


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
    for name in ("keywords", "hotwords", SENSITIVE):
        form.check_list(name)
    keywords = _keywords(form, settings.max_hotwords)
    hotwords = read_hotwords(form.texts("hotwords"), param="hotwords", most=settings.max_hotwords)
    for name in ("keywords", "hotwords", "vocabulary_id"):
        if form.has(name) and form.texts(name) and not _listens(model, settings):
            raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave {name} out.", param=name)
    return TextWishes(
        merged(keywords, hotwords),
        vocabulary,
        _flag(form, _PUNCTUATION),
        _flag(form, _ITN),
        tuple(form.texts(SENSITIVE)),
        form.text(SENSITIVE_STYLE),
    )


async def with_text(
    options: RecognitionOptions, wishes: TextWishes, model: ServedModel, service: SpeechService, owner: str
) -> RecognitionOptions:
    """The options with what was said about the text.

    Raises:
        UnknownVocabulary: `owner` has stored none of that id, or no list of sensitive words of that one.
        InvalidParameter: what stands for it is no list of hotwords, there are too many together, or words to mask or
            their style make no sense.
        UnsupportedFeature: marks or digits are asked for in so many words and cannot be had.
    """
    stored = await service.vocabulary(owner, wishes.vocabulary, param="vocabulary_id") if wishes.vocabulary else ()
    hotwords = merged(wishes.hotwords, stored)
    if len(hotwords) > service.settings.max_hotwords:
        told = f"There are more than {service.settings.max_hotwords} hotwords together."
        raise InvalidParameter(told, param="vocabulary_id")
    punctuation = asked_punctuation(wishes.punctuation, model, service, param=_PUNCTUATION[0])
    itn = asked_itn(wishes.itn, service, param=_ITN[0])
    masking = await said_masking(wishes.sensitive, wishes.style, service, owner, param=SENSITIVE)
    return replace(options, hotwords=hotwords, punctuation=punctuation, itn=itn, masking=masking)


def _keywords(form: Form, most: int) -> tuple[Hotword, ...]:
    # Before they are parted: millions of them would take much memory to be refused.
    few = sum(said.count(",") for said in form.texts("keywords")) <= most_commas(most)
    terms = form.items("keywords") if few else []
    if not few or len(terms) > most or any(len(term) > MAX_HOTWORD_CHARACTERS for term in terms):
        told = f"keywords takes {most} terms of {MAX_HOTWORD_CHARACTERS} characters at most."
        raise InvalidParameter(told, param="keywords")
    return tuple(Hotword(term) for term in terms)


def _listens(model: ServedModel, settings: Settings) -> bool:
    return model.capabilities.hotwords or settings.asr_hotword_correction


def _flag(form: Form, names: tuple[str, str]) -> bool | None:
    short, long = (form.flag(name) for name in names)
    if short is not None and long is not None and short is not long:
        raise InvalidParameter(f"{names[0]} contradicts {names[1]}.", param=names[0])
    return long if short is None else short
