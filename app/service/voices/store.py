"""Enrolled voices: kept on disk, seen by nobody but their owner, and gone when they are deleted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.domain.errors import InvalidParameter, UnknownVoice, VoiceExists, VoicesUnavailable
from app.domain.speakers import KnownVoice, Voiceprint
from app.service.database import BUSY_SECONDS, Database, Holding
from app.service.voices.names import clean_name, name_key
from app.service.voices.tables import Voice, VoiceSample

MAX_SAMPLES = 20
"""Samples of a voice that one encoder has heard: more make it no clearer."""
MAX_ASKED = 500
"""Voices that one request may name."""
_HOLDING = Holding("voice", "enrolled voices", "app.service.voices:migrations", VoicesUnavailable)


@dataclass(frozen=True, slots=True)
class EnrolledVoice:
    """A voice as its owner sees it. `created` is in epoch seconds.

    `samples` and `seconds` (of speech, in all) are those of `encoder`, the model that made the newest of them: voices
    outlive models, and what an older one made of a voice says nothing to a newer.
    """

    id: str
    name: str
    created: int
    samples: int
    seconds: float
    encoder: str


_Voices: TypeAlias = list[EnrolledVoice]  # inside the class, `list` is the method
_KnownVoices: TypeAlias = list[KnownVoice]


class VoiceStore:
    """Voices by name, each belonging to an `owner` (as KeyRing.owner names keys), to whom all others do not exist.

    Every method runs its transaction in the store's one thread, and opens the database first where it is not open. Each
    raises VoicesUnavailable where the database cannot be used; the next call tries anew.
    """

    def __init__(self, path: Path, *, max_voices: int = 1000, busy_seconds: float = BUSY_SECONDS) -> None:
        """`path` is the file, which need not exist yet; `max_voices` is of each owner."""
        self._max_voices = max_voices
        self._database = Database(path, _HOLDING, busy_seconds=busy_seconds)

    async def open(self) -> None:
        """Make or migrate the database now instead of at the first use."""
        await self._database.open()

    async def enrol(self, owner: str, name: str, voiceprints: Sequence[Voiceprint]) -> EnrolledVoice:
        """A new voice from at least one voiceprint, all of one encoder.

        Raises:
            InvalidParameter: the name cannot be one, or there are too many voices or voiceprints.
            VoiceExists: the owner has a voice of that name.
        """
        clean = clean_name(name)
        return await self._database.write(lambda session: self._enrol(session, owner, clean, voiceprints))

    async def add(self, owner: str, voice_id: str, voiceprints: Sequence[Voiceprint]) -> EnrolledVoice:
        """The voice with more voiceprints, all of one encoder.

        Raises:
            InvalidParameter: there would be too many.
            UnknownVoice: the owner has no such voice.
        """
        return await self._database.write(lambda session: _add(session, owner, voice_id, voiceprints))

    async def list(self, owner: str) -> _Voices:
        """The owner's voices, oldest first."""
        return await self._database.read(lambda session: _enrolled(session, owner))

    async def get(self, owner: str, voice_id: str) -> EnrolledVoice:
        """One of the owner's voices.

        Raises:
            UnknownVoice: the owner has no such voice.
        """
        return await self._database.read(lambda session: _one(session, owner, voice_id))

    async def delete(self, owner: str, voice_id: str) -> None:
        """Remove a voice and every trace of it in the database's files.

        Raises:
            UnknownVoice: the owner has no such voice.
        """
        await self._database.write(lambda session: _delete(session, owner, voice_id), sweeps=True)

    async def known(
        self, owner: str, encoder: str, names_or_ids: Sequence[str] | None = None, *, param: str = "voices"
    ) -> _KnownVoices:
        """Voices as `encoder` can recognise them: those asked for, in that order, or all of the owner's that it can.

        `param` is the field that asked, for errors.

        Raises:
            InvalidParameter: more than MAX_ASKED are asked for.
            UnknownVoice: the owner has not got one that is asked for, or another encoder heard it.
        """
        if names_or_ids is not None and len(names_or_ids) > MAX_ASKED:
            raise InvalidParameter(f"{param} takes {MAX_ASKED} voices at most.", param=param)
        return await self._database.read(lambda session: _known(session, owner, encoder, names_or_ids, param))

    async def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        await self._database.close()

    def _enrol(self, session: Session, owner: str, name: str, voiceprints: Sequence[Voiceprint]) -> EnrolledVoice:
        key = name_key(name)
        if taken := session.scalar(select(Voice.id).where(Voice.owner == owner, Voice.name_key == key)):
            told = f"There is a voice of that name, {taken}: add samples to it, or delete it first."
            raise VoiceExists(told, param="name")
        if session.scalars(select(func.count()).where(Voice.owner == owner)).one() >= self._max_voices:
            raise InvalidParameter(f"There are {self._max_voices} voices (MAX_VOICES); delete one first.")
        voice_id = f"voice_{secrets.token_hex(12)}"
        session.add(Voice(id=voice_id, owner=owner, name=name, name_key=key, created=time.time()))
        session.flush()
        return _add(session, owner, voice_id, voiceprints)


def _enrolled(session: Session, owner: str, voice_id: str | None = None) -> list[EnrolledVoice]:
    """The owner's voices, oldest first; only the one if an id is given."""
    newest = func.max(VoiceSample.id)
    query = (
        select(
            Voice.id,
            Voice.name,
            Voice.created,
            VoiceSample.encoder,
            func.count(),
            func.sum(VoiceSample.seconds),
            newest,
        )
        .join(VoiceSample, VoiceSample.voice_id == Voice.id)
        .where(Voice.owner == owner, *([] if voice_id is None else [Voice.id == voice_id]))
        .group_by(Voice.id, VoiceSample.encoder)
        .order_by(Voice.created, Voice.id, newest)
    )
    voices = {  # of several encoders the newest comes last, and stays
        found: EnrolledVoice(found, name, int(created), samples, seconds, encoder)
        for found, name, created, encoder, samples, seconds, _ in session.execute(query)
    }
    return list(voices.values())


def _one(session: Session, owner: str, voice_id: str) -> EnrolledVoice:
    found = _enrolled(session, owner, voice_id)
    if not found:
        raise UnknownVoice("There is no voice with this id.")
    return found[0]


def _add(session: Session, owner: str, voice_id: str, voiceprints: Sequence[Voiceprint]) -> EnrolledVoice:
    (encoder,) = {voiceprint.encoder for voiceprint in voiceprints}
    owned = select(Voice.id).where(Voice.owner == owner, Voice.id == voice_id)
    if session.scalar(owned) is None:
        raise UnknownVoice("There is no voice with this id.")
    of_voice = select(func.count()).where(VoiceSample.voice_id == voice_id, VoiceSample.encoder == encoder)
    present = session.scalars(of_voice).one()
    if present + len(voiceprints) > MAX_SAMPLES:
        told = f"A voice has {MAX_SAMPLES} samples at most; this one has {present}."
        raise InvalidParameter(told, param="files")
    session.add_all(_sample(voice_id, voiceprint) for voiceprint in voiceprints)
    session.flush()
    return _one(session, owner, voice_id)


def _delete(session: Session, owner: str, voice_id: str) -> None:
    gone = session.execute(delete(Voice).where(Voice.owner == owner, Voice.id == voice_id).returning(Voice.id))
    if gone.first() is None:
        raise UnknownVoice("There is no voice with this id.")


def _known(
    session: Session, owner: str, encoder: str, names_or_ids: Sequence[str] | None, param: str
) -> list[KnownVoice]:
    query = (
        select(Voice.id, Voice.name, VoiceSample.seconds, VoiceSample.embedding)
        .join(VoiceSample, VoiceSample.voice_id == Voice.id)
        .where(Voice.owner == owner, VoiceSample.encoder == encoder)
        .order_by(Voice.created, Voice.id, VoiceSample.id)
    )
    asked = None if names_or_ids is None else _asked(session, owner, names_or_ids)
    if asked is not None:
        query = query.where(Voice.id.in_(filter(None, asked.values())))
    found: dict[str, KnownVoice] = {}
    for (voice_id, name), rows in groupby(session.execute(query), key=lambda row: (row[0], row[1])):
        voiceprints = (_voiceprint(encoder, seconds, embedding) for _, _, seconds, embedding in rows)
        found[voice_id] = KnownVoice(name, tuple(voiceprints), voice_id)
    if asked is None:
        return list(found.values())
    for wanted, voice_id in asked.items():
        if voice_id not in found:
            reason = "no such voice" if voice_id is None else "for that voice no sample that this server's model heard"
            raise UnknownVoice(f"There is {reason}: {wanted[:100]!r}.", param=param)
    return [found[voice_id] for voice_id in dict.fromkeys(filter(None, asked.values()))]


def _asked(session: Session, owner: str, names_or_ids: Sequence[str]) -> dict[str, str | None]:
    """Each name or id that is asked for, with the id of the owner's voice that it means."""
    voices = session.execute(select(Voice.id, Voice.name_key).where(Voice.owner == owner)).all()
    ids = {voice_id: voice_id for voice_id, _ in voices}
    by_name = {key: voice_id for voice_id, key in voices}
    return {wanted: ids.get(wanted.strip()) or by_name.get(name_key(wanted)) for wanted in names_or_ids}


def _sample(voice_id: str, voiceprint: Voiceprint) -> VoiceSample:
    return VoiceSample(
        voice_id=voice_id,
        encoder=voiceprint.encoder,
        seconds=float(voiceprint.seconds),
        embedding=voiceprint.embedding.astype("<f4").tobytes(),
        created=time.time(),
    )


def _voiceprint(encoder: str, seconds: float, embedding: bytes) -> Voiceprint:
    return Voiceprint(np.frombuffer(embedding, "<f4").astype(np.float32), seconds, encoder)
