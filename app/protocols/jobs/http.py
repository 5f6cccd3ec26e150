"""Routes for jobs: recordings that are handed over, recognised in their own time, and asked for later. Everybody sees
their own only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathField
from starlette.responses import Response

from app.domain.errors import JobNotDone, UnknownJob
from app.protocols.callers import Key, caller
from app.protocols.connected import while_connected
from app.protocols.errors import request_id
from app.protocols.event_stream import EventStream
from app.protocols.jobs import schema
from app.protocols.jobs.drawing import PartialFormat, ResultFormat, asked_format, check_format, drawn_result
from app.protocols.jobs.events import Following, events, followers_of, last_number
from app.protocols.jobs.failing import failure_response
from app.protocols.jobs.submitting import submitted
from app.protocols.jobs.wire import DeletedJobBody, JobBody, JobList, job_body, job_list
from app.service.jobs.job import Job, State
from app.service.lifecycle import Lifecycle
from app.service.service import SpeechService

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])
PATH: Final = router.prefix
MOST_LISTED: Final = 1000
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What an id looks like; nothing else is worth asking a database about."""

JobId = Annotated[str, PathField(alias="id", description="A job's id.")]
States = Annotated[Sequence[State], Query(description="Jobs of this state only; may be repeated.")]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED, description="How many at most.")]
After = Annotated[str | None, Query(description="The id of a job: only older ones.")]
ResultAs = Annotated[ResultFormat | None, Query(description="Left out: the format that the job was asked for in.")]
PartialAs = Annotated[PartialFormat, Query(description="Its shape.")]


@router.post(
    "",
    summary="Hand over a recording",
    status_code=202,
    response_model=JobBody,
    openapi_extra=schema.job_request(),
    responses=schema.submission_responses(),
)
async def create_job(request: Request, _key: Key) -> Response:
    """Have a recording recognised in the server's own time.

    The form is the transcription route's, and its options are checked at once. A job that was accepted is kept through
    restarts and crashes; pieces that were recognised are not recognised again. 200 in place of 202: a job was handed
    over before with this idempotency key, and this is it.
    """
    job, again = await submitted(request, _service(request))
    body = job_body(job).model_dump_json()
    headers = {"location": f"{PATH}/{job.id}", "x-asr-model": job.request.model}
    return Response(body, 200 if again else 202, media_type="application/json", headers=headers)


@router.get("", summary="List your jobs", responses=schema.list_responses())
async def list_jobs(
    request: Request, _key: Key, limit: Limit = 100, after: After = None, state: States = ()
) -> JobList:
    """The jobs of your key, newest first."""
    if after is not None and not _ID.fullmatch(after):
        raise _unknown()
    jobs = _service(request).jobs
    found = await jobs.list(caller(request).key, states=frozenset(state), after=after, limit=limit + 1)
    return job_list(found[:limit], more=len(found) > limit)


@router.get("/{id}", summary="Show a job", responses=schema.job_responses("The job as it is now."))
async def get_job(request: Request, job_id: JobId, _key: Key) -> JobBody:
    """One of your jobs: its state, how far it is, and how long it will take."""
    return job_body(await _job(request, job_id))


@router.get("/{id}/result", summary="What came of a job", response_class=Response, responses=schema.result_responses())
async def get_result(request: Request, job_id: JobId, _key: Key, response_format: ResultAs = None) -> Response:
    """The transcript, as the transcription route would answer, in any of its formats.

    409 `job_not_done` as long as there is none, and where the job was cancelled. A job that failed answers its own
    failure, with the status and code that the transcription route has for it.
    """
    job = await _job(request, job_id)
    if job.failure is not None:
        return failure_response(job.failure, request.scope)
    if job.state != "succeeded":
        raise JobNotDone(_told_of(job))
    shape = response_format or asked_format(job)
    check_format(job, shape)
    service = _service(request)
    async with service.jobs.reading(job):
        transcript = await service.jobs.transcript(job.owner, job.id)
        text, media_type = await service.drawing(drawn_result, transcript, job, shape)
    return Response(text, media_type=media_type, headers={"x-asr-model": transcript.model})


@router.get(
    "/{id}/partial",
    summary="What a job has recognised so far",
    response_class=Response,
    responses=schema.result_responses(partial=True),
)
async def get_partial(request: Request, job_id: JobId, _key: Key, response_format: PartialAs = "json") -> Response:
    """The transcript of the recording's beginning, as far as it is recognised without a gap; JSON says `partial` among
    its warnings. Speakers are told apart at the end. Once the job has succeeded, this is its result."""
    job = await _job(request, job_id)
    if job.failure is not None:
        return failure_response(job.failure, request.scope)
    if job.state == "cancelled":
        raise JobNotDone(_told_of(job))
    service = _service(request)
    async with service.jobs.reading(job):
        transcript = await while_connected(request.receive, service.jobs.partial(job.owner, job.id))
        text, media_type = await service.drawing(drawn_result, transcript, job, response_format)
    return Response(text, media_type=media_type, headers={"x-asr-model": transcript.model})


@router.post(
    "/{id}/cancel", summary="Cancel a job", responses=schema.job_responses("The job as it is now.", writes=True)
)
async def cancel_job(request: Request, job_id: JobId, _key: Key) -> JobBody:
    """End a job that has not ended, at once; one that has stays as it is. Its recording is deleted."""
    return job_body(await _service(request).jobs.cancel(caller(request).key, _known(job_id)))


@router.delete("/{id}", summary="Delete a job", responses=schema.deletion_responses())
async def delete_job(request: Request, job_id: JobId, _key: Key) -> DeletedJobBody:
    """Forget a job with its recording and its result. One that has not ended is cancelled by this."""
    await _service(request).jobs.delete(caller(request).key, _known(job_id))
    return DeletedJobBody(id=job_id)


@router.get("/{id}/events", summary="Follow a job", response_class=Response, responses=schema.events_responses())
async def follow_job(request: Request, job_id: JobId, _key: Key) -> Response:
    """Server-sent events named `job`, the job as their data: one at once, one whenever something of it has changed, the
    last one when it has ended. A browser's EventSource can be pointed here where no key is needed."""
    who = caller(request)
    looks = _service(request).jobs.watch(who.key, _known(job_id))
    lifecycle: Lifecycle = getattr(request.app.state, "lifecycle", None) or Lifecycle()
    with ExitStack() as stack:
        stack.enter_context(followers_of(request).place(who.key))
        following = Following(looks, lifecycle, stack.pop_all())
    try:  # what fails before the first event still gets a status of its own
        first = await while_connected(request.receive, following.first())
    except BaseException:
        await following.aclose()
        raise
    number = last_number(request.headers.get("last-event-id")) + 1
    return EventStream(events(following, first, number, request_id=request_id(request)), following)


async def _job(request: Request, job_id: str) -> Job:
    return await _service(request).jobs.get(caller(request).key, _known(job_id))


def _known(job_id: str) -> str:
    if not _ID.fullmatch(job_id):
        raise _unknown()
    return job_id


def _unknown() -> UnknownJob:
    return UnknownJob("There is no job with this id.")


def _told_of(job: Job) -> str:
    if job.state == "cancelled":
        return "The job was cancelled: it has no result."
    return f"The job is {job.state}: it has no result yet."


def _service(request: Request) -> SpeechService:
    return request.app.state.service
