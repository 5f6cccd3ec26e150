"""How a job comes to be: each function inside a transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.domain.errors import IdempotencyConflict, TooManyJobs
from app.service.jobs.codec import REQUESTS, encode_terms, encode_voiceprints, without_terms
from app.service.jobs.job import ENDED, Idempotency, Job, JobRequest
from app.service.jobs.notices import notice
from app.service.jobs.rows import one_job
from app.service.jobs.tables import JobRow, RequestRow, TermsRow, VoicesRow

_RETRY_SECONDS = 60.0
"""A job of many ends sooner than that, or hardly any does."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be: what is asked, and by whom. An owner may have `most` jobs that have not ended."""

    owner: str
    request: JobRequest
    idempotency: Idempotency | None
    most: int


def earlier(session: Session, submission: Submission, now: float) -> Job | None:
    """The job that was submitted under the same key before; None: a new one may be made.

    Raises:
        IdempotencyConflict: the key was used for something else.
        TooManyJobs: the owner has as many as it may.
    """
    owner, idempotency = submission.owner, submission.idempotency
    if idempotency is not None and (job := under_key(session, owner, idempotency, now)) is not None:
        return job
    going_on = select(func.count()).where(JobRow.owner == owner, ~JobRow.removing, JobRow.state.not_in(ENDED))
    if session.scalars(going_on).one() >= submission.most:
        told = f"There are {submission.most} jobs that have not ended (MAX_JOBS): wait for one, or cancel it."
        raise TooManyJobs(told, retry_after=_RETRY_SECONDS)
    return None


def under_key(session: Session, owner: str, idempotency: Idempotency, now: float) -> Job | None:
    """The job that the owner submitted under this key; None: there is none.

    Raises:
        IdempotencyConflict: the key was used for something else.
    """
    named = JobRow.owner == owner, JobRow.idempotency_key == _key(idempotency)
    found = session.execute(select(JobRow.id, JobRow.idempotency_digest).where(*named)).first()
    if found is None:
        return None
    job_id, digest = found
    if digest != idempotency.digest:
        told = f"This idempotency key was used for something else ({job_id}): take another one for a new job."
        raise IdempotencyConflict(told, param="idempotency_key")
    return one_job(session, owner, job_id, now)


def insert_job(session: Session, job_id: str, submission: Submission, now: float) -> Job:
    """The new job, with its first notice if anybody is to be told of it. Raises as `earlier`."""
    request, idempotency = submission.request, submission.idempotency
    row = JobRow(
        id=job_id,
        owner=submission.owner,
        model=request.model,
        state="queued",
        created=now,
        attempts=0,
        due=now,
        done=0.0,
        pieces=0,
        pieces_done=0,
        share=0.0,
        rate_done=0.0,
        idempotency_key=None if idempotency is None else _key(idempotency),
        idempotency_digest=None if idempotency is None else idempotency.digest,
        removing=False,
        told=request.webhook is not None,
        priority=request.priority,
        waits_for="",
        fruitless=0,
    )
    session.add(row)
    session.flush()
    session.execute(insert(RequestRow).values(job=job_id, body=REQUESTS.encode(without_terms(request))))
    if (terms := encode_terms(request)) is not None:
        session.execute(insert(TermsRow).values(job=job_id, body=terms))
    if (voiceprints := encode_voiceprints(request)) is not None:
        session.execute(insert(VoicesRow).values(job=job_id, body=voiceprints))
    notice(session, job_id, "queued", now)
    return one_job(session, submission.owner, job_id, now)


def _key(idempotency: Idempotency) -> str:
    """What is kept of a caller's key: it may be any text, and of any length."""
    return hashlib.sha256(idempotency.key.encode("utf-8", "surrogatepass")).hexdigest()
