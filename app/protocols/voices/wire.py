"""The shapes of answers about enrolled voices, in the manner of OpenAI's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel

from app.domain.speakers import KnownVoice
from app.service.voices.store import EnrolledVoice

MAX_CANDIDATES = 5


class VoiceBody(BaseModel):
    """An enrolled voice. `created` is in epoch seconds, `seconds` of speech in all samples, `encoder` heard them."""

    id: str
    object: Literal["voice"] = "voice"
    name: str
    created: int
    samples: int
    seconds: float
    encoder: str


class VoiceList(BaseModel):
    """GET /v1/voices."""

    object: Literal["list"] = "list"
    data: list[VoiceBody]


class DeletedVoiceBody(BaseModel):
    """DELETE /v1/voices/{id}."""

    id: str
    object: Literal["voice.deleted"] = "voice.deleted"
    deleted: Literal[True] = True


class CandidateBody(BaseModel):
    """An enrolled voice, and how alike it and the recording sound: a cosine in [-1, 1]."""

    id: str
    name: str
    similarity: float


class IdentificationBody(BaseModel):
    """Who speaks: `voice` is the best of `candidates` if its similarity reaches `threshold`; `seconds` of speech."""

    object: Literal["voice.identification"] = "voice.identification"
    voice: CandidateBody | None
    candidates: list[CandidateBody]
    threshold: float
    seconds: float


def voice_body(voice: EnrolledVoice) -> VoiceBody:
    """A voice as it goes on the wire."""
    return VoiceBody(
        id=voice.id,
        name=voice.name,
        created=voice.created,
        samples=voice.samples,
        seconds=round(voice.seconds, 3),
        encoder=voice.encoder,
    )


def voice_list(voices: Iterable[EnrolledVoice]) -> VoiceList:
    """Voices as a list."""
    return VoiceList(data=[voice_body(voice) for voice in voices])


def identification_body(
    ranked: Sequence[tuple[KnownVoice, float]], *, threshold: float, seconds: float
) -> IdentificationBody:
    """Who speaks, from all candidates with their similarities, best first."""
    candidates = [_candidate(voice, similarity) for voice, similarity in ranked[:MAX_CANDIDATES]]
    recognised = bool(ranked) and ranked[0][1] >= threshold
    return IdentificationBody(
        voice=candidates[0] if recognised else None,
        candidates=candidates,
        threshold=threshold,
        seconds=round(seconds, 3),
    )


def _candidate(voice: KnownVoice, similarity: float) -> CandidateBody:
    return CandidateBody(id=voice.id or "", name=voice.name, similarity=round(similarity, 4))
