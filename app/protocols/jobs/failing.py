"""A job's failure, answered as the transcription route answers the same."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Scope

from app.domain import errors
from app.domain.errors import SpeechError
from app.protocols.faults import STATUS, Fault
from app.protocols.openai.errors import face
from app.service.jobs.job import Failure


def failure_response(failure: Failure, scope: Scope) -> Response:
    """The whole answer, with the status and code of the error that ended the job."""
    kind: object = getattr(errors, failure.kind, SpeechError)
    # Of a newer server there may be kinds that this one does not know.
    known = kind if isinstance(kind, type) and issubclass(kind, SpeechError) else SpeechError
    status = next(STATUS[one] for one in known.__mro__ if one in STATUS)
    response = face(Fault(failure.message, status, failure.code, failure.param), scope)
    response.headers["x-should-retry"] = "false"  # it has ended: asking again changes nothing
    return response
