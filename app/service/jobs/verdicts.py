"""What becomes of a job whose work has failed: it is over, or waits and is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.domain.errors import (
    AddressNotFetched,
    EndedByOperator,
    EngineFailure,
    JobsUnavailable,
    JobUnreadable,
    ModelUnavailable,
    Overloaded,
    RequestError,
    ServerEnding,
    SpeechError,
    StorageFull,
    UnknownModel,
    UnsupportedFeature,
)
from app.service.jobs.job import Failure

MOST_FAILURES: Final = 4
"""Attempts in a row that failed with nothing gained, before a job has. A decoder may die of something else than its
recording; the fourth time, hardly."""
MOST_LEASES: Final = 5
"""Attempts in a row of which nothing was ever heard, before a job has failed: servers end for other reasons, too."""
_SOON_SECONDS = 5.0
"""Another server has the model, or this one has it soon."""
_MOST_FETCHES: Final = 3
"""The same of recordings at addresses: a minute later, most servers are back."""
_DISK_SECONDS = 30.0
"""Disks come back, or have room again."""
_LONG_SECONDS = 60.0
"""Another server is set up otherwise, or can read what this one cannot; or there will be one."""
_UNFORESEEN: Final = "The recording could not be recognised; the server's log says why."
_PAUSES = (5.0, 60.0, 600.0)
"""Seconds before the second attempt, and the next ones: whatever is wrong with the machine, it has time to pass."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """It waits for so many seconds. `fruitless`: this attempt speaks against the job, unless it kept something."""

    seconds: float
    waits_for: str
    fruitless: bool = False


def verdict(error: Exception, fruitless: int) -> PutBack | Failure:
    """What is to become of a job. `fruitless` attempts in a row have gained nothing, the one that ended with `error`
    included: 0 where that one did."""
    if (back := _innocent(error)) is not None:
        return back
    passing = isinstance(error, AddressNotFetched) and error.passing
    if isinstance(error, EndedByOperator | RequestError | AbandonedError) and not passing:
        return failure_of(error)
    told = error if isinstance(error, SpeechError) else EngineFailure(_UNFORESEEN)
    if fruitless >= (_MOST_FETCHES if passing else MOST_FAILURES):
        return failure_of(told)
    return PutBack(_PAUSES[max(fruitless - 1, 0)], told.message, fruitless=True)


def _innocent(error: Exception) -> PutBack | None:
    """How long a job is to wait that is not to blame."""
    match error:
        case ServerEnding():
            return PutBack(0.0, "")
        case ModelUnavailable() | Overloaded():
            return PutBack(error.retry_after, error.message)
        case UnknownModel():
            return PutBack(_SOON_SECONDS, error.message)
        case UnsupportedFeature() | JobUnreadable():
            return PutBack(_LONG_SECONDS, error.message)
        case StorageFull() | JobsUnavailable():
            return PutBack(_DISK_SECONDS, error.message)
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
