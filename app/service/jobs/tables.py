"""The tables of jobs. A change here needs a migration: a test compares the two.

What is long or rarely needed has a table of its own, so that looking through jobs and renewing leases stay cheap.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What the tables share."""


class JobRow(Base):
    """A job but for what was asked. Times are in epoch seconds, all that is bytes is codec.py's.

    A queued one may be leased from `due` on. `token`, `runner` and `lease_until` are of the lease that it has, if it is
    running. `reported` is when its progress was last told; `rate_since` and `rate_done` are when the recognising began
    by which its pace is told, and with how many seconds done. `fruitless` leases in a row kept nothing. `removing`: it
    is deleted, and only its files may be left. `told` says whether somebody is told of it. `idempotency_key` is a
    digest of the caller's.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_owner_created", "owner", "created", "id"),
        Index("ix_jobs_owner_idempotency_key", "owner", "idempotency_key", unique=True),
        Index("ix_jobs_state_due", "state", "due"),
        Index("ix_jobs_state_lease_until", "state", "lease_until"),
        Index("ix_jobs_expires", "expires"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    owner: Mapped[str] = mapped_column(String)
    model: Mapped[str] = mapped_column(String)
    state: Mapped[str] = mapped_column(String)
    created: Mapped[float] = mapped_column(Float)
    started: Mapped[float | None] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float)
    expires: Mapped[float | None] = mapped_column(Float)
    attempts: Mapped[int] = mapped_column(Integer)
    due: Mapped[float] = mapped_column(Float)
    token: Mapped[str | None] = mapped_column(String)
    runner: Mapped[str | None] = mapped_column(String)
    lease_until: Mapped[float | None] = mapped_column(Float)
    step: Mapped[str | None] = mapped_column(String)
    duration: Mapped[float | None] = mapped_column(Float)
    done: Mapped[float] = mapped_column(Float)
    pieces: Mapped[int] = mapped_column(Integer)
    pieces_done: Mapped[int] = mapped_column(Integer)
    share: Mapped[float] = mapped_column(Float)
    reported: Mapped[float | None] = mapped_column(Float)
    rate_since: Mapped[float | None] = mapped_column(Float)
    rate_done: Mapped[float] = mapped_column(Float)
    idempotency_key: Mapped[str | None] = mapped_column(String)
    idempotency_digest: Mapped[str | None] = mapped_column(String)
    removing: Mapped[bool] = mapped_column(Boolean)
    told: Mapped[bool] = mapped_column(Boolean)
    failure: Mapped[bytes | None] = mapped_column(LargeBinary)
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    waits_for: Mapped[str] = mapped_column(String, server_default="")
    fruitless: Mapped[int] = mapped_column(Integer, server_default="0")


class RequestRow(Base):
    """What was asked: a JobRequest without terms and voiceprints."""

    __tablename__ = "job_requests"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class TermsRow(Base):
    """The terms that came with it, which may be thousands: nobody but who recognises it reads them."""

    __tablename__ = "job_terms"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class VoicesRow(Base):
    """The voiceprints that came with it: biometric data, gone when the job ends."""

    __tablename__ = "job_voices"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class PlanRow(Base):
    """What is to be recognised of a channel: a Plan. Gone when the job ends."""

    __tablename__ = "job_plans"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class PieceRow(Base):
    """What was heard in a piece: a Hypothesis. Gone when the job ends."""

    __tablename__ = "job_pieces"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class TranscriptRow(Base):
    """What came of it: a Transcript."""

    __tablename__ = "job_transcripts"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class NoticeRow(Base):
    """That a job has come to a state, which somebody is to be told: written with that state, in one transaction.

    A job's go out by `number`. `held_until` is how long a sender has it for itself; `settled` is when it arrived or was
    given up.
    """

    __tablename__ = "job_notices"
    __table_args__ = (
        Index("ix_job_notices_id", "id", unique=True),
        Index("ix_job_notices_settled_due", "settled", "due"),
    )

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    id: Mapped[str] = mapped_column(String)
    state: Mapped[str] = mapped_column(String)
    created: Mapped[float] = mapped_column(Float)
    due: Mapped[float] = mapped_column(Float)
    tries: Mapped[int] = mapped_column(Integer)
    sender: Mapped[str | None] = mapped_column(String)
    held_until: Mapped[float | None] = mapped_column(Float)
    settled: Mapped[float | None] = mapped_column(Float)


class FolderRow(Base):
    """The folder of recordings is the one with this id in it. `marked`: it was written there once. One row at most."""

    __tablename__ = "job_folder"

    id: Mapped[str] = mapped_column(String, primary_key=True)
    marked: Mapped[bool] = mapped_column(Boolean)


class TurnRow(Base):
    """Whose job was begun last has the highest `turn`."""

    __tablename__ = "job_turns"

    owner: Mapped[str] = mapped_column(String, primary_key=True)
    turn: Mapped[int] = mapped_column(Integer)
