"""special_word_filter: words that a request does not want to read."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import cast

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.masking import Masking, MaskingStyle
from app.protocols.asked_masking import asked_masking, check_together
from app.protocols.payload import Payload
from app.settings import Settings

NAME = "special_word_filter"
_STYLES: MappingProxyType[str, MaskingStyle] = MappingProxyType(
    {"filter_with_signed": "stars", "filter_with_empty": "remove"}
)
_SYSTEM = "system_reserved_filter"
_WORDS = "word_list"


async def asked_filter(fields: Payload, settings: Settings) -> tuple[Masking, ...]:
    """What is to be masked: filter_with_signed writes stars, filter_with_empty leaves words out. (It is JSON in a text;
    a start's may be an object.)

    Raises:
        InvalidParameter: it is no JSON of that shape. The message does not repeat it.
        UnsupportedFeature: it wants the cloud's own list of words.
    """
    said = fields.value(NAME)
    if said is None or (isinstance(said, str) and not said.strip()):
        return ()
    wishes = _object(said)
    if unknown := wishes.keys() - {*_STYLES, _SYSTEM}:
        raise _wrong(f"it has {len(unknown)} keys that are none of {', '.join([*_STYLES, _SYSTEM])}")
    reserved = wishes.get(_SYSTEM)
    if reserved is not None and not isinstance(reserved, bool):
        raise _wrong(f"{_SYSTEM} must be true or false")
    if reserved:
        told = f"There is no list of reserved words on this server: leave {_SYSTEM} out, and send the words."
        raise UnsupportedFeature(told, param=NAME)
    lists: dict[MaskingStyle, list[str]] = {style: _words(wishes.get(key), key) for key, style in _STYLES.items()}
    maskings: list[Masking] = []
    for style, words in lists.items():
        maskings += await asked_masking(words, style, settings, param=NAME)
    check_together(maskings, settings, param=NAME)
    return tuple(maskings)


def _words(said: object, key: str) -> list[str]:
    """The words of one filter. A filter without any that can be read is refused: they would be read in the answer."""
    if said is None or said == {}:
        return []
    fields = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    words = fields.get(_WORDS)
    if (
        fields.keys() != {_WORDS}
        or not isinstance(words, list)
        or not all(isinstance(word, str) for word in cast("list[object]", words))
    ):
        raise _wrong(f"{key} must be an object whose {_WORDS} is a list of texts, and which has nothing else")
    return cast("list[str]", words)


def _object(said: object) -> dict[str, object]:
    try:
        parsed: object = json.loads(said, object_pairs_hook=_fields) if isinstance(said, str) else said
    except (ValueError, RecursionError):  # without a cause: it would repeat what was sent in the log
        parsed = None
    if not isinstance(parsed, dict):
        raise _wrong("it is no JSON object")
    return cast("dict[str, object]", parsed)


def _fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Of a key that is there twice, one list would go unread."""
    if len(pairs) > len(fields := dict(pairs)):
        raise _wrong("a key is there twice")
    return fields


def _wrong(why: str) -> InvalidParameter:
    return InvalidParameter(f"{NAME} cannot be read: {why}.", param=NAME)
