"""What is asked of many rows at once: each function that takes a session inside a transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.service.jobs.codec import HYPOTHESES, PLANS
from app.service.jobs.job import Job, JobRequest, Kept, State
from app.service.jobs.rows import AskedBodies, asked, check_known, jobs, seen
from app.service.jobs.tables import JobRow, NoticeRow, PieceRow, PlanRow, TranscriptRow


@dataclass(frozen=True, slots=True)
class KeptBodies:
    """What is kept of a job's work, still as bytes: of hours it takes a while to read."""

    plans: Mapping[int, bytes]
    pieces: Mapping[tuple[int, int], bytes]

    def decode(self) -> Kept:
        """What they say.

        Raises:
            JobUnreadable: a newer version wrote them, or they are damaged.
        """
        return Kept(
            {channel: PLANS.decode(body) for channel, body in self.plans.items()},
            {place: HYPOTHESES.decode(body) for place, body in self.pieces.items()},
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a job at one moment, still as bytes; of one that has ended nothing is kept but its state."""

    state: State
    asked: AskedBodies
    kept: KeptBodies

    def decode(self) -> tuple[JobRequest, Kept]:
        """What was asked, and what is kept.

        Raises:
            JobUnreadable: a newer version wrote it, or it is damaged.
        """
        return self.asked.decode(), self.kept.decode()


def known(session: Session, owner: str, job_id: str) -> Known:
    """What is known of a job of the owner's, in a transaction that sees all of it at one moment. Raises as `kept`."""
    bodies = kept(session, owner, job_id)
    state = session.scalars(select(JobRow.state).where(JobRow.id == job_id)).one()
    return Known(cast(State, state), asked(session, job_id), bodies)


def kept(session: Session, owner: str | None, job_id: str) -> KeptBodies:
    """What is kept of the work on a job of the owner's, or of anybody's where that is None.

    Raises:
        UnknownJob: there is none of this id.
    """
    check_known(session, owner, job_id)
    plans = session.execute(select(PlanRow.channel, PlanRow.body).where(PlanRow.job == job_id))
    query = select(PieceRow.channel, PieceRow.number, PieceRow.body).where(PieceRow.job == job_id)
    pieces = session.execute(query.order_by(PieceRow.channel, PieceRow.number))
    return KeptBodies(
        {channel: body for channel, body in plans},  # noqa: C416 - a row is no pair to pyright
        {(channel, number): body for channel, number, body in pieces},
    )


def transcript(session: Session, owner: str, job_id: str) -> bytes | None:
    """What came of a job, as bytes; None where it has not succeeded. Raises as `kept`."""
    check_known(session, owner, job_id)
    return session.scalar(select(TranscriptRow.body).where(TranscriptRow.job == job_id))


def waiting(session: Session, now: float) -> tuple[int, float]:
    """How many jobs are queued, and for how many seconds the oldest has been; 0 where none is."""
    oldest = func.coalesce(func.min(JobRow.created), now)
    queued = select(func.count(), oldest).where(JobRow.state == "queued", ~JobRow.removing)
    count, since = session.execute(queued).one()
    return count, max(now - since, 0.0)


def queued_by_model(session: Session) -> dict[str, int]:
    """How many jobs are queued for each model for which any is."""
    queued = select(JobRow.model, func.count()).where(JobRow.state == "queued", ~JobRow.removing)
    found = session.execute(queued.group_by(JobRow.model))
    return {model: count for model, count in found}  # noqa: C416 - a row is no pair to pyright


def notices_waiting(session: Session) -> int:
    """How many notices have neither arrived nor been given up."""
    return session.scalars(select(func.count()).select_from(NoticeRow).where(NoticeRow.settled.is_(None))).one()


def listed(
    session: Session, owner: str, states: Collection[State], *, after: str | None, limit: int, now: float
) -> Sequence[Job]:
    """The owner's jobs in these states (in any where there are none), newest first, of those older than `after`.

    Raises:
        UnknownJob: there is no job `after`.
    """
    query = jobs().where(JobRow.owner == owner)
    if states:
        query = query.where(JobRow.state.in_(states))
    if after is not None:
        check_known(session, owner, after)
        created = select(JobRow.created).where(JobRow.id == after).scalar_subquery()
        query = query.where(or_(JobRow.created < created, and_(JobRow.created == created, JobRow.id < after)))
    query = query.order_by(JobRow.created.desc(), JobRow.id.desc()).limit(limit)
    return [seen(row, request, now) for row, request in session.execute(query)]
