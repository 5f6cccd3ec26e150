"""How far a job is: seconds of its recording whose pieces are kept, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def measured(
    step: Step,
    duration: float | None,
    plans: Mapping[int, Plan],
    heard: Collection[tuple[int, int]],
    channels: int = 1,
) -> Progress:
    """How far a job is with these plans, and these pieces (by channel and number) kept.

    `duration` is the recording's in seconds, None where it is not decoded; `channels` are how many are recognised each
    by itself, of which some may not be planned yet. A piece stands for all sound from the end of the piece before it,
    the last also for what follows it: silence is done with its neighbour.
    """
    total = sum(plan.duration * plan.time_scale for plan in plans.values())
    if duration is None or total <= 0.0:
        return Progress(step, duration)
    done = sum(_done(plan, {number for of, number in heard if of == channel}) for channel, plan in plans.items())
    planned = min(len(plans) / max(channels, 1), 1.0)
    share = min(done / total, 1.0) * planned
    return Progress(
        step,
        duration,
        done=share * duration,
        pieces=sum(len(plan.cuts) for plan in plans.values()),
        pieces_done=sum(number < len(plans[channel].cuts) for channel, number in heard if channel in plans),
        share=share * MOST_BEFORE_THE_END,
    )


def _done(plan: Plan, numbers: Collection[int]) -> float:
    """Seconds of a channel that its kept pieces stand for, on the container's clock."""
    ends = [*(cut.end for cut in plan.cuts[:-1]), plan.duration]  # the last piece's stretch goes on to the end
    if not plan.cuts:
        return plan.duration * plan.time_scale
    begins = [0.0, *ends[:-1]]
    stretches = zip(begins, ends, strict=True)
    return sum(end - begin for number, (begin, end) in enumerate(stretches) if number in numbers) * plan.time_scale


def seconds_left(progress: Progress, pace: Pace, now: float) -> float | None:
    """How long it will take from `now` (epoch seconds) at the pace so far; None where that cannot be told yet."""
    if progress.step != "recognise" or progress.duration is None or pace.since is None or pace.reported is None:
        return None
    elapsed, done = pace.reported - pace.since, progress.done - pace.done
    if elapsed < _SURE_SECONDS or done <= 0.0:
        return None
    left = (progress.duration - progress.done) * elapsed / done
    return max(left - max(now - pace.reported, 0.0), 0.0)
