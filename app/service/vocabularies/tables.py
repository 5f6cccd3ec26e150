"""The table of stored vocabularies. A change here needs a migration: a test compares the two."""

from __future__ import annotations

from sqlalchemy import Float, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What the tables share."""


class VocabularyRow(Base):
    """Somebody's list of words, by name.

    `owner` is who stored it, as KeyRing.owner names keys; `kind` is what it is for (see store.ListKind); `name_key` is
    the name as names are compared; `created` and `updated` are in epoch seconds. `hotwords` is JSON in UTF-8: `count`
    pairs of a text and its weight, which is 1 where words are to be masked. It is one value, because it is only ever
    read or replaced as a whole, and it comes last, so that a list of vocabularies is made without reading any.
    """

    __tablename__ = "vocabularies"
    __table_args__ = (Index("ix_vocabularies_owner_kind_name_key", "owner", "kind", "name_key", unique=True),)

    id: Mapped[str] = mapped_column(String, primary_key=True)
    owner: Mapped[str] = mapped_column(String)
    kind: Mapped[str] = mapped_column(String, server_default="hotwords")
    name: Mapped[str] = mapped_column(String)
    name_key: Mapped[str] = mapped_column(String)
    description: Mapped[str] = mapped_column(String, server_default="")
    created: Mapped[float] = mapped_column(Float)
    updated: Mapped[float] = mapped_column(Float)
    count: Mapped[int] = mapped_column(Integer)
    hotwords: Mapped[bytes] = mapped_column(LargeBinary)
