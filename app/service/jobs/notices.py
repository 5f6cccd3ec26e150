"""Whom to tell of what: the outbox, written with what it tells. Each function inside a transaction that writes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection
from types import MappingProxyType
from typing import Final, cast

from sqlalchemy import ColumnElement, and_, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.domain.errors import JobUnreadable
from app.service.jobs.job import ENDED, Notice, State
from app.service.jobs.rows import job_of
from app.service.jobs.tables import JobRow, NoticeRow, RequestRow

_NUMBERS: Final = MappingProxyType({"queued": 0, "running": 1} | dict.fromkeys(ENDED, 2))
"""A job comes to each of these once as far as its owner is told, and in this order."""
_UNREADABLE_SECONDS: Final = 86_400.0
"""So long others may tell what cannot be read here: a newer version is then on all servers."""
_MOST_UNREADABLE: Final = 16
"""Notices that are put off before it is enough for this time."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 900.0
"""Until one that could not be read comes up again: twice as long each time."""
_logger = logging.getLogger(__name__)


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


def take_due(
    session: Session, sender: str, now: float, seconds: float, passing_over: Collection[str] = ()
) -> Notice | None:
    """The notice that is due longest, which is the sender's for so many seconds; None: none is due. `passing_over` are
    owners whose notices are not asked for. Those of jobs that cannot be read are put off: they are not to be in the way
    of others."""
    query = (
        select(NoticeRow, JobRow, RequestRow.body)
        .join(JobRow, JobRow.id == NoticeRow.job)
        .join(RequestRow, RequestRow.job == NoticeRow.job)
        .where(_is_due(now, passing_over))
        .order_by(NoticeRow.due, NoticeRow.job, NoticeRow.number)
        .limit(1)
    )
    for _ in range(_MOST_UNREADABLE):
        found = session.execute(query).first()
        if found is None:
            return None
        row, job, request = found
        try:
            told = Notice(row.id, job_of(job, request, now), cast(State, row.state), row.created, row.tries)
        except JobUnreadable as error:
            _put_off(session, row, now, error)
            continue
        session.execute(
            update(NoticeRow).where(NoticeRow.id == row.id).values(sender=sender, held_until=now + seconds),
            execution_options={"synchronize_session": False},
        )
        return told
    return None


def _put_off(session: Session, row: NoticeRow, now: float, error: JobUnreadable) -> None:
    """Let another server tell it, which may be of a newer version; once that had its time, nobody does."""
    if now >= row.created + _UNREADABLE_SECONDS:
        _logger.error("job %s: its webhook will not be told that it is %s: %s", row.job, row.state, error)
        settle(session, row.id, now)
        return
    if not row.tries:
        _logger.error("job %s: its webhook cannot be told that it is %s: %s", row.job, row.state, error)
    postpone(session, row.id, now + min(_FIRST_PAUSE * 2.0 ** min(row.tries, 30), _LONGEST_PAUSE))


def is_any_due(session: Session, now: float, passing_over: Collection[str] = ()) -> bool:
    """Whether there may be one: enough for senders that find none to write nothing."""
    query = select(NoticeRow.id).join(JobRow, JobRow.id == NoticeRow.job).where(_is_due(now, passing_over))
    return session.scalar(query.limit(1)) is not None


def _is_due(now: float, passing_over: Collection[str]) -> ColumnElement[bool]:
    """Its time has come, nobody sends it now, and what its job's owner is to be told before has been. Its job is there,
    and none of those owners'."""
    before = aliased(NoticeRow)
    earlier = select(before.id).where(
        before.job == NoticeRow.job, before.number < NoticeRow.number, before.settled.is_(None)
    )
    free = or_(NoticeRow.held_until.is_(None), NoticeRow.held_until <= now)
    asked_for = and_(~JobRow.removing, JobRow.owner.not_in(passing_over)) if passing_over else ~JobRow.removing
    return and_(NoticeRow.settled.is_(None), NoticeRow.due <= now, free, asked_for, ~earlier.exists())


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
