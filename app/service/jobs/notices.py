"""Whom to tell of what: the outbox, written with what it tells. Each function inside a transaction that writes."""

from __future__ import annotations

import secrets
from types import MappingProxyType
from typing import Final, cast

from sqlalchemy import ColumnElement, and_, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.service.jobs.job import ENDED, Notice, State
from app.service.jobs.rows import job_of
from app.service.jobs.tables import JobRow, NoticeRow, RequestRow

_NUMBERS: Final = MappingProxyType({"queued": 0, "running": 1} | dict.fromkeys(ENDED, 2))
"""A job comes to each of these once as far as its owner is told, and in this order."""


def notice(session: Session, job_id: str, state: State, now: float) -> None:
    """Have its owner told that a job has come to a state, if anybody is to be told of it."""
    if session.scalar(select(JobRow.told).where(JobRow.id == job_id)):
        number = _NUMBERS[state]
        session.execute(
            insert(NoticeRow).values(
                job=job_id,
                number=number,
                id=f"msg_{secrets.token_hex(12)}",
                state=state,
                created=now,
                due=now,
                tries=0,
            )
        )


def take_due(session: Session, sender: str, now: float, seconds: float) -> Notice | None:
    """The notice that is due longest, which is the sender's for so many seconds; None: none is due."""
    query = (
        select(NoticeRow, JobRow, RequestRow.body)
        .join(JobRow, JobRow.id == NoticeRow.job)
        .join(RequestRow, RequestRow.job == NoticeRow.job)
        .where(_is_due(now), ~JobRow.removing)
        .order_by(NoticeRow.due, NoticeRow.job, NoticeRow.number)
        .limit(1)
    )
    found = session.execute(query).first()
    if found is None:
        return None
    row, job, request = found
    told = Notice(row.id, job_of(job, request, now), cast(State, row.state), row.created, row.tries)
    session.execute(
        update(NoticeRow).where(NoticeRow.id == row.id).values(sender=sender, held_until=now + seconds),
        execution_options={"synchronize_session": False},
    )
    return told


def is_any_due(session: Session, now: float) -> bool:
    """Whether there may be one: enough for senders that find none to write nothing."""
    return session.scalar(select(NoticeRow.id).where(_is_due(now)).limit(1)) is not None


def _is_due(now: float) -> ColumnElement[bool]:
    """Its time has come, nobody sends it now, and what its job's owner is to be told before has been."""
    before = aliased(NoticeRow)
    earlier = select(before.id).where(
        before.job == NoticeRow.job, before.number < NoticeRow.number, before.settled.is_(None)
    )
    free = or_(NoticeRow.held_until.is_(None), NoticeRow.held_until <= now)
    return and_(NoticeRow.settled.is_(None), NoticeRow.due <= now, free, ~earlier.exists())


def settle(session: Session, notice_id: str, now: float) -> None:
    """It has arrived, or is given up."""
    session.execute(update(NoticeRow).where(NoticeRow.id == notice_id).values(settled=now))


def postpone(session: Session, notice_id: str, due: float) -> None:
    """It was sent in vain, and is to be sent again."""
    values = {"due": due, "tries": NoticeRow.tries + 1, "sender": None, "held_until": None}
    session.execute(
        update(NoticeRow).where(NoticeRow.id == notice_id, NoticeRow.settled.is_(None)).values(**values),
        execution_options={"synchronize_session": False},
    )
