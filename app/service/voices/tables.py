"""The tables of enrolled voices. A change here needs a migration: a test compares the two."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What the tables share."""


class Voice(Base):
    """Somebody's voice, by name.

    `owner` is who enrolled it, as KeyRing.owner names keys; `name_key` is the name as names are compared; `created` is
    in epoch seconds.
    """

    __tablename__ = "voices"
    __table_args__ = (Index("ix_voices_owner_name_key", "owner", "name_key", unique=True),)

    id: Mapped[str] = mapped_column(String, primary_key=True)
    owner: Mapped[str] = mapped_column(String)
    name: Mapped[str] = mapped_column(String)
    name_key: Mapped[str] = mapped_column(String)
    created: Mapped[float] = mapped_column(Float)


class VoiceSample(Base):
    """One voiceprint of a voice: what the model `encoder` made of `seconds` of speech.

    `embedding` is of unit length: little-endian float32s, as many as the encoder makes (192).
    """

    __tablename__ = "voice_samples"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    voice_id: Mapped[str] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    encoder: Mapped[str] = mapped_column(String)
    seconds: Mapped[float] = mapped_column(Float)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)
    created: Mapped[float] = mapped_column(Float)
