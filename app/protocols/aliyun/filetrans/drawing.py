"""A job as the file transcription tells of it: to those that ask, and to a callback."""

from __future__ import annotations

import json

from app.domain.transcript import Transcript
from app.protocols.aliyun.filetrans.statuses import FileStatus, told_of
from app.protocols.aliyun.filetrans.wire import (
    VERSIONS,
    Shown,
    legacy,
    result_of,
    shown_of,
    status_body,
    warnings_of,
)
from app.protocols.aliyun.wire import Json, milliseconds
from app.service.jobs.job import ENDED, Job


def answer(job: Job, transcript: Transcript | None, request_id: str) -> bytes:
    """What GetTaskResult answers. There is a transcript where the job has succeeded."""
    return _json(_told(job, transcript, request_id, shown_of(job.request.drawing)))


def callback(job: Job, transcript: Transcript | None) -> bytes:
    """What is sent to callback_url when the job has ended."""
    shown = shown_of(job.request.drawing)
    body = _told(job, transcript, "", shown)
    del body["RequestId"]  # nobody asked
    body["RequestTime"] = milliseconds(job.created)
    return _json(legacy(body) if shown.version == VERSIONS[0] else body)


def _told(job: Job, transcript: Transcript | None, request_id: str, shown: Shown) -> Json:
    status, why = told_of(job)
    result = None if transcript is None else result_of(transcript, shown)
    if result is not None and not result["Sentences"]:  # what is left out may have text
        status = FileStatus.SUCCESS_WITH_NO_VALID_FRAGMENT
    body = status_body(job.id, request_id, status, why)
    if job.state == "queued":
        return body
    duration = transcript.duration if transcript is not None else job.progress.duration
    body["BizDuration"] = milliseconds(duration or 0.0)
    if job.state in ENDED:
        body["SolveTime"] = milliseconds(job.ended or job.created)
    if transcript is not None:
        body["Result"] = result
        if warnings := warnings_of(transcript):
            body["Warnings"] = warnings
    return body


def _json(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
