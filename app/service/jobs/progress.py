"""How far a job is: seconds of its recording whose pieces are kept, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.service.jobs.job import Plan, Progress, Step

MOST_BEFORE_THE_END = 0.99
"""What share is never exceeded before it has succeeded: the rest is telling speakers apart and writing it all."""
_SURE_SECONDS = 5.0
"""Nothing is foretold from less of the clock."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What was recognised since when: `since` and `reported` are in epoch seconds, the latter of the last report;
    `done` is how many seconds of the recording were done at `since`."""

    since: float | None
    done: float
    reported: float | None


class Tally:
    """What of a job's plans is kept: sums, because a day of several channels has thousands of pieces.

    A piece stands for all sound from the end of the piece before it, the last also for what follows it: silence is done
    with its neighbour, and a channel without pieces with its plan.
    """

    def __init__(self, plans: Mapping[int, Plan], heard: Iterable[tuple[int, int]]) -> None:
        """The plans by channel, and the pieces (by channel and number) that are kept so far."""
        self._lengths: dict[int, list[float]] = {}
        self._heard: set[tuple[int, int]] = set()
        self._pieces = 0
        self._total = self._done = 0.0
        for channel, plan in plans.items():
            self.plan(channel, plan)
        for channel, number in heard:
            self.keep(channel, number)

    def plan(self, channel: int, plan: Plan) -> None:
        """A channel's plan is kept. It has none yet."""
        whole = plan.duration * plan.time_scale
        self._lengths[channel] = [length * plan.time_scale for length in _lengths(plan)]
        self._pieces += len(plan.cuts)
        self._total += whole
        self._done += 0.0 if plan.cuts else whole

    def keep(self, channel: int, number: int) -> bool:
        """A piece is kept; False: it was before, or is in no plan."""
        if (channel, number) in self._heard or number >= len(self._lengths.get(channel, ())):
            return False
        self._done += self._lengths[channel][number]
        self._heard.add((channel, number))
        return True

    def drop(self, channel: int, number: int) -> None:
        """It is not, after all."""
        if (channel, number) in self._heard:
            self._done -= self._lengths[channel][number]
            self._heard.remove((channel, number))

    def progress(self, step: Step, duration: float | None, more: tuple[int, int] | None = None) -> Progress:
        """How far the job is, with one `more` piece as if it were kept. `duration` is the recording's in seconds, None
        where it is not decoded.

        Before the first piece, channels may still be without a plan: nothing is done then.
        """
        planning = step not in {"recognise", "speakers"} and not self._heard and more is None
        if duration is None or self._total <= 0.0 or planning:
            return Progress(step, duration)
        length = 0.0 if more is None else self._new(*more)
        share = min((self._done + length) / self._total, 1.0)
        return Progress(
            step,
            duration,
            done=share * duration,
            pieces=self._pieces,
            pieces_done=len(self._heard) + (length > 0.0),
            share=share * MOST_BEFORE_THE_END,
        )

    def _new(self, channel: int, number: int) -> float:
        """Seconds on the container's clock that are done with a piece, and are not yet."""
        lengths = self._lengths.get(channel, ())
        return lengths[number] if number < len(lengths) and (channel, number) not in self._heard else 0.0


def _lengths(plan: Plan) -> list[float]:
    """How many seconds each piece stands for."""
    if not plan.cuts:
        return []
    ends = [*(cut.end for cut in plan.cuts[:-1]), plan.duration]
    return [end - begin for begin, end in zip([0.0, *ends[:-1]], ends, strict=True)]


def seconds_left(progress: Progress, pace: Pace, now: float) -> float | None:
    """How long it will take from `now` (epoch seconds) at the pace so far; None where that cannot be told yet."""
    if progress.step != "recognise" or progress.duration is None or pace.since is None or pace.reported is None:
        return None
    elapsed, done = pace.reported - pace.since, progress.done - pace.done
    if elapsed < _SURE_SECONDS or done <= 0.0:
        return None
    left = (progress.duration - progress.done) * elapsed / done
    return max(left - max(now - pace.reported, 0.0), 0.0)
