"""Marks and digits in so many words: who asks for them gets them, or is told that they are not to be had."""

from __future__ import annotations

from app.domain.errors import UnsupportedFeature
from app.service.residents import ServedModel
from app.service.service import SpeechService


def asked_punctuation(said: bool | None, model: ServedModel, service: SpeechService, *, param: str) -> bool:
    """Whether there are to be marks; None: nothing was said. `param` is the field that says it, for errors.

    Raises:
        UnsupportedFeature: they are asked for, and nothing here sets them.
    """
    if said and not (model.capabilities.punctuates or service.punctuates):
        told = f"{model.id} writes no punctuation, and the model that adds it is not on this server."
        raise UnsupportedFeature(told, param=param)
    return said is not False


def asked_itn(said: bool | None, service: SpeechService, *, param: str) -> bool | None:
    """Whether numbers are to be in digits; None: nothing was said, and it is left to the recogniser.

    Raises:
        UnsupportedFeature: they are to be, and nothing here writes them so.
    """
    if said and not service.writes_numbers:
        raise UnsupportedFeature("Numbers are not rewritten on this server (ASR_ENABLE_ITN=false).", param=param)
    return said
