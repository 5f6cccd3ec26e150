"""What the interactive documentation knows of the routes: the form is parsed by hand, so it is described by hand.

The field names here are compared with those the parser reads by a test.
"""

from __future__ import annotations

from typing import Any, cast

from app.protocols.jobs.fields import (
    MAX_IDEMPOTENCY_CHARACTERS,
    MAX_METADATA,
    MAX_NAME_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    MOST_PRIORITY,
    TASKS,
    UPLOAD,
)
from app.protocols.jobs.receiving import FORM
from app.protocols.jobs.wire import DeletedJobBody, JobBody, JobList
from app.protocols.openai.schema import error_responses, recognition_responses, transcription_request
from app.protocols.openai.wire import ErrorBody
from app.protocols.openai.wishes import ADDRESS

Schema = dict[str, Any]
Responses = dict[int | str, Schema]

_JOB: Schema = {
    "id": "job_5f1d0c9ab3e24786a1c05d9e",
    "object": "job",
    "state": "running",
    "created_at": 1_700_000_000,
    "started_at": 1_700_000_004,
    "ended_at": None,
    "expires_at": None,
    "model": "whisper-base",
    "name": "board-meeting.m4a",
    "metadata": {"meeting": "2026-01"},
    "progress": {
        "percent": 37.5,
        "seconds_done": 1350.2,
        "seconds_total": 3600.0,
        "pieces_done": 61,
        "pieces_total": 163,
        "step": "recognise",
        "seconds_left": 412.0,
    },
    "attempts": 1,
    "waits_for": "",
    "error": None,
    "webhook": "https://example.org/hooks/jobs",
    "response_format": "verbose_json",
}
_QUEUED: Schema = _JOB | {
    "state": "queued",
    "started_at": None,
    "attempts": 0,
    "progress": {
        "percent": 0.0,
        "seconds_done": 0.0,
        "seconds_total": None,
        "pieces_done": 0,
        "pieces_total": 0,
        "step": None,
        "seconds_left": None,
    },
}
_LIST: Schema = {
    "object": "list",
    "data": [_JOB],
    "has_more": False,
    "first_id": _JOB["id"],
    "last_id": _JOB["id"],
}
_EVENT = (
    'retry: 2000\nid: 1\nevent: job\ndata: {"id":"job_5f1d0c9ab3e24786a1c05d9e","object":"job","state":"queued", ...}'
    "\n\n: keep-alive\n\n"
)
_MEANINGS = {
    404: "You have no such job.",
    409: "The job has no result (yet); the message names its state.",
    422: "The idempotency key was used for another submission.",
    429: "You have as many jobs that have not ended, or hand as many over at once, as you may; try again after "
    "Retry-After seconds.",
    503: "The database of jobs cannot be used.",
    507: "The server's disk is full; try again later.",
}


def job_request() -> Schema:
    """OpenAPI's description of the form: the transcription route's, without `stream` and with fields of its own."""
    schema = transcription_request()
    contents = cast("dict[str, Schema]", schema["requestBody"]["content"])
    for content in contents.values():
        properties = cast("Schema", content["schema"]["properties"])
        properties.pop("stream")
        properties |= _own_fields()
    contents[FORM] = _without_file(contents["multipart/form-data"])
    schema["parameters"] = [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": MAX_IDEMPOTENCY_CHARACTERS},
            "description": "A name of your own for this submission: the same again is answered with the same job.",
        }
    ]
    return schema


def submission_responses() -> Responses:
    """Answers of the route that takes jobs."""
    errors = error_responses(400, 401, 404, 408, 413, 429, 500, 503, 504) | _errors(422, 429, 507)
    errors[404] = {"description": "No such model, upload, voice or stored list.", "model": ErrorBody}
    errors[409] = {"description": "The upload is not finished, or somebody is at it.", "model": ErrorBody}
    return _ok(202, "The new job.", _QUEUED, JobBody) | _ok(200, "It was handed over before.", _JOB, JobBody) | errors


def list_responses() -> Responses:
    """Answers of the list of jobs."""
    return _ok(200, "Your jobs, newest first.", _LIST, JobList) | error_responses(400, 401) | _errors(404, 503)


def job_responses(description: str, *, writes: bool = False) -> Responses:
    """Answers of a route that gives a job; `writes`: it changes it, too."""
    errors = _errors(404, 503, *((507,) if writes else ()))
    return _ok(200, description, _JOB, JobBody) | error_responses(401) | errors


def deletion_responses() -> Responses:
    """Answers of a job's deletion."""
    gone = {"id": _JOB["id"], "object": "job", "deleted": True}
    return _ok(200, "It is gone.", gone, DeletedJobBody) | error_responses(401) | _errors(404, 503, 507)


def result_responses(*, partial: bool = False) -> Responses:
    """Answers of a job's transcript, an example for each format; a failed job has its failure's status."""
    responses = recognition_responses(stream=False) | _errors(404, 409, 503, 507)
    said = "What is recognised so far" if partial else "What was said"
    responses[200]["description"] = f"{said}, in the format asked for."
    responses[413] = {"description": "The job failed: its recording is too large or too long.", "model": ErrorBody}
    told = "Too many of your requests wait for results of long recordings; try again after Retry-After seconds."
    responses[429] = {"description": told, "model": ErrorBody}
    return {status: what for status, what in responses.items() if status != 408}


def events_responses() -> Responses:
    """Answers of the route that follows a job."""
    stream = {"text/event-stream": {"example": _EVENT}}  # readers disagree whether a schema is of an event or of all
    ok: Responses = {200: {"description": "Events, until the job has ended.", "content": stream}}
    return ok | error_responses(401, 429) | _errors(404, 503)


def _without_file(form: Schema) -> Schema:
    """The form as it can be sent where the recording is elsewhere."""
    properties = cast("Schema", form["schema"]["properties"])
    others = {name: schema for name, schema in properties.items() if name != "file"}
    return form | {"schema": {"type": "object", "properties": others}}


def _own_fields() -> Schema:
    # Neither switches nor choices nor numbers have a default: the documentation's form would send it.
    text: Schema = {"type": "string", "default": ""}
    return {
        "task": {
            "type": "string",
            "enum": list(TASKS),
            "description": "translate: into English, with models that can. Left out: transcribe.",
        },
        UPLOAD: text
        | {
            "description": "The id or Location of a finished resumable upload (/v1/jobs/uploads). One of file, "
            f"{UPLOAD} and {ADDRESS} is needed."
        },
        "name": text
        | {
            "maxLength": MAX_NAME_CHARACTERS,
            "description": "What to call the recording. Left out: as its file is called.",
        },
        "metadata": text
        | {
            "description": f"Your own notes, which come back with the job: a JSON object of {MAX_METADATA} strings of "
            f"{MAX_VALUE_CHARACTERS} characters at most."
        },
        "priority": {
            "type": "integer",
            "minimum": -MOST_PRIORITY,
            "maximum": MOST_PRIORITY,
            "description": "Of your jobs that wait, those of a higher one are begun first. Left out: 0.",
        },
        "webhook_url": text
        | {"description": "An http or https address that is sent an event whenever the job comes to another state."},
        "webhook_secret": text
        | {"description": "What these are signed with: whsec_ and base64, or any text of 16 characters or more."},
        "webhook_result": {
            "type": "boolean",
            "description": "Have the last event carry the result, in the format asked for. Left out: no.",
        },
        "idempotency_key": text
        | {
            "maxLength": MAX_IDEMPOTENCY_CHARACTERS,
            "description": "The same as the header Idempotency-Key, for forms that cannot set one.",
        },
    }


def _ok(status: int, description: str, example: Schema, model: type[JobBody | JobList | DeletedJobBody]) -> Responses:
    content = {"application/json": {"example": example}}
    return {status: {"description": description, "content": content, "model": model}}


def _errors(*statuses: int) -> Responses:
    return {status: {"description": _MEANINGS[status], "model": ErrorBody} for status in statuses}
