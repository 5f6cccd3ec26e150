"""How a client wants to be heard: `session.update`, whose fields lie side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import InvalidParameter, UnsupportedFeature
from app.domain.options import RecognitionOptions
from app.protocols.asked_hotwords import asked_hotwords
from app.protocols.languages import spoken_language
from app.protocols.live_speakers import ENABLE, VOICES
from app.protocols.messages import is_text
from app.protocols.openai.wishes import MAX_PROMPT_CHARACTERS
from app.protocols.payload import Payload
from app.service.residents import ServedModel
from app.service.service import SpeechService


@dataclass(frozen=True, slots=True)
class Opening:
    """The model that is to answer, and what is asked of it."""

    model: ServedModel
    options: RecognitionOptions


async def read_opening(said: Mapping[str, Any], service: SpeechService) -> Opening:
    """What an update means; it stands for itself, whatever was said before.

    Raises:
        UnknownModel, ModelUnavailable: the model cannot answer.
        InvalidParameter: a value makes no sense.
        UnsupportedFeature: it makes sense, but not to this model or in this dialect.
    """
    if "session" in said:
        raise InvalidParameter("This connection speaks vLLM's dialect: no session, but model beside type.")
    if said.get(ENABLE) or said.get(VOICES):
        told = f"vLLM's dialect has no place for speakers; leave {ENABLE} and {VOICES} out."
        raise UnsupportedFeature(told, param=ENABLE)
    if said.get("vocabulary_id"):
        told = "vLLM's dialect has no place for stored vocabularies; send their words as hotwords."
        raise UnsupportedFeature(told, param="vocabulary_id")
    model = service.resolve(_word(said, "model"))
    language = _word(said, "language")
    wanted = spoken_language(language, model) if language and language.lower() != "auto" else None
    hotwords = await asked_hotwords({"hotwords": Payload(said).terms("hotwords")}, None, model, service, "")
    return Opening(
        model, RecognitionOptions(language=wanted, prompt=_prompt(said, model), hotwords=hotwords, timed=False)
    )


def _word(said: Mapping[str, Any], key: str) -> str | None:
    value: object = said.get(key)
    if not (value is None or isinstance(value, str)) or not is_text(value or ""):
        raise InvalidParameter(f"{key} must be a string of whole characters.", param=key)
    return (value or "").strip() or None


def _prompt(said: Mapping[str, Any], model: ServedModel) -> str:
    prompt = _word(said, "prompt") or ""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidParameter(f"prompt has more than {MAX_PROMPT_CHARACTERS} characters.", param="prompt")
    if prompt and not model.capabilities.prompt:
        raise UnsupportedFeature(f"{model.id} cannot take a prompt; leave prompt out.", param="prompt")
    return prompt
