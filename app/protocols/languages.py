"""Languages by ISO-639 code and English name: callers say either, answers carry both."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.service.models import ServedModel

_TABLE = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian, bg bulgarian, bn bengali,
bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh, da danish, de german, el greek, en english,
es spanish, et estonian, eu basque, fa persian, fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa,
haw hawaiian, he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian, id indonesian,
is icelandic, it italian, ja japanese, jw javanese, ka georgian, kk kazakh, km khmer, kn kannada, ko korean, la latin,
lb luxembourgish, ln lingala, lo lao, lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam,
mn mongolian, mr marathi, ms malay, mt maltese, my myanmar, ne nepali, nl dutch, nn nynorsk, no norwegian, oc occitan,
pa punjabi, pl polish, ps pashto, pt portuguese, ro romanian, ru russian, sa sanskrit, sd sindhi, si sinhala,
sk slovak, sl slovenian, sn shona, so somali, sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil,
te telugu, tg tajik, th thai, tk turkmen, tl tagalog, tr turkish, tt tatar, uk ukrainian, ur urdu, uz uzbek,
vi vietnamese, yi yiddish, yo yoruba, yue cantonese, zh chinese
"""
_ALIASES = """
zh mandarin, zh cmn, my burmese, ca valencian, nl flemish, ht haitian, lb letzeburgesch, ps pushto, pa panjabi,
ro moldavian, ro moldovan, si sinhalese, es castilian, fa farsi, tl filipino, tl fil, no nb, he iw, id in, yi ji,
jw jv
"""


def _pairs(table: str) -> list[tuple[str, str]]:
    entries = (entry.strip().split(maxsplit=1) for entry in table.split(","))
    return [(code, name) for code, name in entries]


NAMES = MappingProxyType(dict(_pairs(_TABLE)))
"""Lower-case English name by code, as OpenAI's verbose_json prints it."""
_CODES = MappingProxyType({name: code for code, name in _pairs(_TABLE) + _pairs(_ALIASES)})


def language_name(code: str | None) -> str:
    """The English name of a code ("chinese"); a code without a name is itself, and no language is "unknown"."""
    return NAMES.get(code, code) if code else "unknown"


def language_code(said: str, known: Collection[str]) -> str | None:
    """The code among `known` that a caller means by "zh", "ZH-cn", "zh_CN", "Chinese"; None when it is none of them."""
    name = said.strip().lower().replace("_", "-")
    primary = name.split("-")[0]
    for candidate in (name, _CODES.get(name), primary, _CODES.get(primary)):
        if candidate and candidate in known:
            return candidate
    return None


def is_language(said: str) -> bool:
    """Whether the word names a language at all (one that the model at hand may not know)."""
    return language_code(said, NAMES) is not None


def spoken_language(said: str, model: ServedModel, *, param: str = "language") -> str:
    """The code of the language a caller says is spoken; `param` names the field in errors.

    Raises:
        UnsupportedFeature: the model does not know it.
        InvalidParameter: nobody does.
    """
    known = model.capabilities.languages
    code = language_code(said, known)
    if code is not None:
        return code
    message = f"{said.strip()[:40]!r} is not a language that {model.id} knows. It knows: {', '.join(sorted(known))}."
    raise (UnsupportedFeature if is_language(said) else InvalidParameter)(message, param=param)
