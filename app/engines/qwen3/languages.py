"""The languages Qwen3-ASR and its aligner know: ISO-639 codes and the English names the model itself says."""

from __future__ import annotations

import re
from types import MappingProxyType

_NAMES = MappingProxyType(
    {
        "ar": "Arabic",
        "cs": "Czech",
        "da": "Danish",
        "de": "German",
        "el": "Greek",
        "en": "English",
        "es": "Spanish",
        "fa": "Persian",
        "fi": "Finnish",
        "fr": "French",
        "hi": "Hindi",
        "hu": "Hungarian",
        "id": "Indonesian",
        "it": "Italian",
        "ja": "Japanese",
        "ko": "Korean",
        "mk": "Macedonian",
        "ms": "Malay",
        "nl": "Dutch",
        "pl": "Polish",
        "pt": "Portuguese",
        "ro": "Romanian",
        "ru": "Russian",
        "sv": "Swedish",
        "th": "Thai",
        "tl": "Filipino",  # "fil" in the model's own list; callers' "fil" and "Filipino" come as "tl"
        "tr": "Turkish",
        "vi": "Vietnamese",
        "yue": "Cantonese",
        "zh": "Chinese",
    }
)
_MANDARIN = (
    *("anhui", "dongbei", "fujian", "gansu", "guizhou", "hebei", "henan", "hubei", "hunan", "jiangxi", "ningxia"),
    *("shaanxi", "shandong", "shanxi", "sichuan", "tianjin", "yunnan", "zhejiang"),
)
_OTHER_CHINESE = ("wu", "minnan", "mandarin")
"""The model card's dialects beside the two accents of Cantonese. All are written in Chinese; Wu and Minnan have codes
of their own (wuu, nan), which callers' tables do not know."""
_CODES = MappingProxyType(
    {name.lower(): code for code, name in _NAMES.items()} | dict.fromkeys((*_MANDARIN, *_OTHER_CHINESE), "zh")
)
_QUALIFIED = re.compile(r"\s*(?:\(.*\)|\b(?:language|dialect|accent))\s*$")
"""What a dialect's name may end in: "Wu language", "Cantonese (Hong Kong accent)"."""

_NOTHING = "none"
"""The model's name for no speech."""

LANGUAGES = frozenset(_NAMES)
"""Codes of the 30 languages that are recognised."""
ALIGNED_LANGUAGES = frozenset({"de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "yue", "zh"})
"""Codes of the languages the aligner was trained on."""


def model_name(code: str) -> str | None:
    """What the model calls a language ("Chinese"), or None if it does not know the code."""
    return _NAMES.get(code)


def begins_a_name(said: str) -> bool:
    """Whether this is a language's name in the model's own words, or the beginning of one."""
    return any(name.startswith(said.lower()) for name in (*_CODES, _NOTHING))


def code_of(name: str) -> str | None:
    """The code of a language or Chinese dialect as the model names it; None for a name that is neither."""
    said = " ".join(name.lower().split())
    return _CODES.get(said) or _CODES.get(_QUALIFIED.sub("", said))
