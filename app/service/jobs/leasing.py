"""Which job is worked on next, by whom, and what is kept of it: each function inside a transaction that writes."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, cast

from sqlalchemy import ColumnElement, CursorResult, Row, Select, and_, case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.domain.errors import JobUnreadable
from app.service.jobs.job import JobRequest, Lease, Progress
from app.service.jobs.notices import notice
from app.service.jobs.rows import asked, leasable, one_job, running
from app.service.jobs.tables import JobRow, PieceRow, PlanRow, TurnRow

FREE: Final[Mapping[str, None]] = MappingProxyType(
    {"token": None, "runner": None, "lease_until": None, "rate_since": None, "reported": None}
)
"""The columns of a job that nobody works on."""
_UNREADABLE_SECONDS: Final = 60.0
"""After which a job that cannot be read here comes up again: another server may have a newer version."""
_MOST_UNREADABLE: Final = 16
"""Jobs that are put off before it is enough for this time."""


def is_anything_leasable(session: Session, models: Collection[str], now: float) -> bool:
    """Whether there is a job for a server with these models: enough for those that find none to write nothing."""
    return session.scalar(select(JobRow.id).where(leasable(now), JobRow.model.in_(models)).limit(1)) is not None


def lease_next(session: Session, runner: str, models: Collection[str], *, now: float, seconds: float) -> Lease | None:
    """Lease the job that is next, with all that was asked; None: there is none. Those that cannot be read are put off:
    they are not to be in the way of others."""
    for _ in range(_MOST_UNREADABLE):
        found = session.execute(_next(models, now)).first()
        if found is None:
            return None
        job_id = found[0]
        try:
            request = asked(session, job_id, voiceprints=True).decode()
        except JobUnreadable as error:
            values = {"state": "queued", "due": now + _UNREADABLE_SECONDS, "waits_for": error.message, "step": None}
            updated(session, JobRow.id == job_id, {**values, **FREE})
            continue
        return _lease(session, found, request, runner, now=now, seconds=seconds)
    return None


def _lease(
    session: Session,
    found: Row[str, str, float | None],
    request: JobRequest,
    runner: str,
    *,
    now: float,
    seconds: float,
) -> Lease | None:
    """Lease a job that `_next` has found."""
    job_id, owner, started = found
    token = secrets.token_hex(16)
    values = {
        "state": "running",
        "started": now if started is None else started,
        "attempts": JobRow.attempts + 1,
        "fruitless": JobRow.fruitless + 1,
        "token": token,
        "runner": runner,
        "lease_until": now + seconds,
        "waits_for": "",
        "rate_since": None,
    }
    if not updated(session, and_(JobRow.id == job_id, leasable(now)), values):
        return None
    _take_turn(session, owner)
    if started is None:  # its owner is told once, however often it is taken up again
        notice(session, job_id, "running", now)
    job = replace(one_job(session, None, job_id, now), request=request)
    fruitless = session.scalars(select(JobRow.fruitless).where(JobRow.id == job_id)).one()
    return Lease(job, token, now + seconds, fruitless)


def _next(models: Collection[str], now: float) -> Select[str, str, float | None]:
    """Of the owner with the fewest running, or of those the one whose turn was longest ago: the most urgent, oldest."""
    busy = select(JobRow.owner, func.count().label("jobs")).where(running(now)).group_by(JobRow.owner).subquery()
    return (
        select(JobRow.id, JobRow.owner, JobRow.started)
        .outerjoin(busy, busy.c.owner == JobRow.owner)
        .outerjoin(TurnRow, TurnRow.owner == JobRow.owner)
        .where(leasable(now), JobRow.model.in_(models))
        .order_by(
            func.coalesce(busy.c.jobs, 0),
            func.coalesce(TurnRow.turn, 0),
            JobRow.priority.desc(),
            JobRow.created,
            JobRow.id,
        )
        .limit(1)
    )


def _take_turn(session: Session, owner: str) -> None:
    last = select(func.coalesce(func.max(TurnRow.turn), 0) + 1).scalar_subquery()
    had_one = session.execute(update(TurnRow).where(TurnRow.owner == owner).values(turn=last))
    if not cast("CursorResult[object]", had_one).rowcount:
        session.execute(insert(TurnRow).values(owner=owner, turn=last))


def renew(session: Session, lease: Lease, progress: Progress, *, waits_for: str, now: float, seconds: float) -> bool:
    """Make it longer, and say how far its job is, and what it waits for; False: it is over."""
    values = {**_progress(progress, now), "lease_until": now + seconds, "waits_for": waits_for}
    return updated(session, held(lease, now), values)


def keep_plan(session: Session, lease: Lease, channel: int, plan: bytes, *, now: float) -> bool:
    """Keep a channel's plan in place of what was kept before; False: the lease is over."""
    if not updated(session, held(lease, now), {"fruitless": 0}):
        return False
    job_id = lease.job.id
    session.execute(delete(PlanRow).where(PlanRow.job == job_id, PlanRow.channel == channel))
    session.execute(insert(PlanRow).values(job=job_id, channel=channel, body=plan))
    return True


def keep_piece(
    session: Session, lease: Lease, place: tuple[int, int], heard: bytes, *, progress: Progress, now: float
) -> bool:
    """Keep what was heard at a place (channel, number) instead of what was kept before, and say how far its job is;
    False: the lease is over."""
    if not updated(session, held(lease, now), {**_progress(progress, now), "fruitless": 0}):
        return False
    job_id, (channel, number) = lease.job.id, place
    here = PieceRow.job == job_id, PieceRow.channel == channel, PieceRow.number == number
    session.execute(delete(PieceRow).where(*here))
    session.execute(insert(PieceRow).values(job=job_id, channel=channel, number=number, body=heard))
    return True


def put_back(session: Session, lease: Lease, seconds: float, waits_for: str, *, fruitless: bool, now: float) -> bool:
    """Let its job wait; False: the lease is over. If it kept nothing, the caller says whether it was `fruitless`."""
    values: dict[str, object] = {"state": "queued", "due": now + seconds, "waits_for": waits_for, "step": None, **FREE}
    if not fruitless:
        values["fruitless"] = case((JobRow.fruitless > 0, JobRow.fruitless - 1), else_=0)
    return updated(session, held(lease, now), values)


def held(lease: Lease, now: float) -> ColumnElement[bool]:
    """The row of its job, as long as the lease is not over."""
    return and_(JobRow.id == lease.job.id, JobRow.token == lease.token, ~JobRow.removing, running(now))


def updated(session: Session, which: ColumnElement[bool], values: Mapping[str, object]) -> bool:
    """Whether a job was there to be changed."""
    result = session.execute(update(JobRow).where(which).values(**values), execution_options=_AS_IT_IS)
    return bool(cast("CursorResult[object]", result).rowcount)


def _progress(progress: Progress, now: float) -> dict[str, object]:
    """How far it is, and since when it is recognised: of that its pace is told."""
    at_it = progress.step == "recognise"
    begins = JobRow.rate_since.is_(None)
    return {
        "step": progress.step,
        "duration": progress.duration,
        "done": progress.done,
        "pieces": progress.pieces,
        "pieces_done": progress.pieces_done,
        "share": progress.share,
        "reported": now,
        "rate_since": case((begins, now), else_=JobRow.rate_since) if at_it else None,
        "rate_done": case((begins, progress.done), else_=JobRow.rate_done),
    }


_AS_IT_IS: Final = {"synchronize_session": False}
"""For statements after which nothing that was read before is looked at again."""
