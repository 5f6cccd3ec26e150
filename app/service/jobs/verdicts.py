"""What becomes of a job whose work has failed: it is over, or waits and is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.domain.errors import (
    EndedByOperator,
    EngineFailure,
    JobsUnavailable,
    ModelUnavailable,
    Overloaded,
    RequestError,
    ServerEnding,
    SpeechError,
    StorageFull,
    UnknownModel,
)
from app.service.jobs.job import Failure

MOST_FAILURES: Final = 3
"""Attempts in a row that failed with nothing gained, before a job has. A decoder may die of something else than its
recording; the third time, hardly."""
MOST_LEASES: Final = 5
"""Attempts in a row of which nothing was ever heard, before a job has failed: servers end for other reasons, too."""
_FULL_SECONDS = 30.0
_SOON_SECONDS = 5.0
"""Another server has the model, or this one has it soon; disks and databases come back."""
_UNFORESEEN: Final = "The recording could not be recognised; the server's log says why."
_PAUSE_SECONDS = 5.0
"""Before the second attempt; three times as long before the third."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """It waits for so many seconds. `fruitless`: this attempt speaks against the job, unless it kept something."""

    seconds: float
    waits_for: str
    fruitless: bool = False


def verdict(error: Exception, fruitless: int) -> PutBack | Failure:
    """What is to become of a job. `fruitless` attempts in a row have gained nothing, the one that ended with `error`
    included: 0 where that one did."""
    if isinstance(error, EndedByOperator | RequestError | AbandonedError) and not isinstance(error, UnknownModel):
        return failure_of(error)
    if (back := _innocent(error)) is not None:
        return back
    told = error if isinstance(error, SpeechError) else EngineFailure(_UNFORESEEN)
    if fruitless >= MOST_FAILURES:
        return failure_of(told)
    return PutBack(_PAUSE_SECONDS * 3 ** max(fruitless - 1, 0), told.message, fruitless=True)


def _innocent(error: Exception) -> PutBack | None:
    """How long a job is to wait that is not to blame."""
    match error:
        case ServerEnding():
            return PutBack(0.0, "")
        case StorageFull():
            return PutBack(_FULL_SECONDS, error.message)
        case ModelUnavailable() | Overloaded():
            return PutBack(error.retry_after, error.message)
        case UnknownModel() | JobsUnavailable():
            return PutBack(_SOON_SECONDS, error.message)
        case _:
            return None


def failure_of(error: SpeechError) -> Failure:
    """An error as a job keeps it."""
    param = error.param if isinstance(error, RequestError) else None
    return Failure(type(error).__name__, error.code, error.message, param)


class AbandonedError(EngineFailure):
    """Its servers ended too often while they worked on it."""


def abandoned() -> AbandonedError:
    """Why a job fails that is not tried again."""
    return AbandonedError(
        f"The server ended {MOST_LEASES} times in a row while it worked on this recording and had gained nothing yet: "
        "it will not be tried again."
    )
