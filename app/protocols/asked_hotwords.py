"""The hotwords that a live stream is asked to listen for: those in its first message, and a stored vocabulary's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.hotwords import Hotword, merged
from app.pipeline.hotwords.parsing import read_hotwords
from app.service.residents import ServedModel
from app.service.service import SpeechService


def listens(model: ServedModel, service: SpeechService) -> bool:
    """Whether hotwords change what is heard or written."""
    return model.capabilities.hotwords or service.settings.asr_hotword_correction


async def asked_hotwords(
    given: Mapping[str, Sequence[str]],
    vocabulary: str | None,
    model: ServedModel,
    service: SpeechService,
    owner: str,
) -> tuple[Hotword, ...]:
    """Those in the texts `given`, by the names of their fields, then those of the `vocabulary` of `owner` with that id.

    Raises:
        InvalidParameter: they make no sense, or there are too many.
        UnknownVocabulary: `owner` has no such vocabulary.
        UnsupportedFeature: the model cannot listen for any.
    """
    most = service.settings.max_hotwords

    def read() -> tuple[Hotword, ...]:
        return merged(*(read_hotwords(texts, param=name, most=most) for name, texts in given.items()))

    # In a thread: ten thousand of them take a while to read.
    said = await asyncio.to_thread(read) if any(given.values()) else ()
    stored = await service.vocabulary(owner, vocabulary, param="vocabulary_id") if vocabulary else ()
    hotwords = merged(said, stored)
    if len(hotwords) > most:
        raise InvalidParameter(f"There are more than {most} hotwords together.", param="hotwords")
    if hotwords and not listens(model, service):
        raise UnsupportedFeature(f"{model.id} cannot listen for hotwords; leave them out.", param="hotwords")
    return hotwords
