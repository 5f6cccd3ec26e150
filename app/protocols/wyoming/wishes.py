"""What a client asks of the transcription that follows: the event `transcribe`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from app.domain.errors import InvalidParameter
from app.domain.hotwords import Hotword, merged
from app.domain.options import RecognitionOptions
from app.pipeline.hotwords.parsing import LONGEST_TERM, parse_hotwords
from app.protocols.languages import spoken_language
from app.service.residents import ServedModel
from app.service.service import SpeechService

_NO_LANGUAGE = frozenset({"", "auto"})
_NAMES, _TERMS = "transcript_names", "transcript_terms"


@dataclass(frozen=True, slots=True)
class Wishes:
    """The model that is to answer, and what is asked of it."""

    model: ServedModel
    options: RecognitionOptions


async def read_wishes(said: Mapping[str, Any], service: SpeechService) -> Wishes:
    """What the data of a `transcribe` mean; {} asks for what the server does by itself.

    Raises:
        UnknownModel, ModelUnavailable: the model cannot answer.
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: the language makes sense, but not to this model.
    """
    model = service.resolve(_word(said, "name"))
    language = _word(said, "language") or ""
    wanted = None if language.lower() in _NO_LANGUAGE else spoken_language(language, model)
    # Names first: where not all fit, those before others are heard.
    hotwords = merged(await _terms(said, _NAMES, service), await _terms(said, _TERMS, service))
    most = service.settings.max_hotwords
    if len(hotwords) > most:
        raise InvalidParameter(f"{len(hotwords):,} terms are more than the {most:,} there may be.", param=_TERMS)
    return Wishes(model, RecognitionOptions(language=wanted, hotwords=hotwords, timed=False))


def _word(said: Mapping[str, Any], key: str) -> str | None:
    value: object = said.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidParameter(f"{key} must be a string.", param=key)
    return value.strip() or None


async def _terms(said: Mapping[str, Any], key: str, service: SpeechService) -> tuple[Hotword, ...]:
    value: object = said.get(key)
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(term, str) for term in cast("list[object]", value)):
        raise InvalidParameter(f"{key} is a list of strings.", param=key)
    # Hints: a name that nobody can say (a symbol) is no reason to hear nothing.
    terms = [term for term in cast("list[str]", value) if len(term) <= LONGEST_TERM and any(map(str.isalnum, term))]
    # In a thread: ten thousand of them take a while to read.
    return await asyncio.to_thread(parse_hotwords, json.dumps(terms), param=key, most=service.settings.max_hotwords)
