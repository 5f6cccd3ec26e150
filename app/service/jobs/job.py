"""What a job is: a recording that is recognised in its own time, kept until it is, and seen by its owner only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from app.audio.declared import DeclaredSound
from app.domain.engines import Hypothesis, SpeechSpan
from app.domain.options import RecognitionOptions
from app.pipeline.segmentation import Cut

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""It waits for a runner, one works on it, or it has come to one of its three ends."""
Step: TypeAlias = Literal["fetch", "decode", "detect", "recognise", "speakers"]
"""What a runner is at: the recording is fetched from its address, decoded, its speech is found, its pieces are
recognised, or all of them are and speakers are still told apart."""
Face: TypeAlias = Literal["jobs", "aliyun", "oddasr"]
"""The protocol that it was asked in, in whose shape its result and its notices are drawn."""
Drawing: TypeAlias = Mapping[str, str | int | float | bool | None]
"""What that protocol wants to remember for it: the response format, say."""

ENDED: Final[frozenset[State]] = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where its owner wants to hear of it. `secret` signs what is sent there; "" where it is not signed."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is asked for.

    `model` is a ServedModel's id. `name` is what the caller calls the recording ("": nothing). The recording is a file
    that is handed over with it, or lies at `address`. `declared` is what the file's bytes are if they have no
    container. `metadata` is the caller's own, and comes back with everything that is said of the job. Of one owner's
    jobs that wait, those of higher `priority` are begun first.
    """

    model: str
    options: RecognitionOptions
    name: str = ""
    address: str | None = None
    declared: DeclaredSound | None = None
    face: Face = "jobs"
    drawing: Drawing = field(default_factory=lambda: {})
    webhook: Webhook | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: {})
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's name for one submission, and a digest of all that was submitted: the same again is the same job."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. Seconds of sound but for `left`, which is of the clock.

    `duration` is None until it is decoded. `done` are those whose pieces are recognised and kept, silence that nobody
    has to recognise included. `left` is how long it will take from now, None where that cannot be told.
    """

    step: Step | None = None
    duration: float | None = None
    done: float = 0.0
    pieces: int = 0
    pieces_done: int = 0
    share: float = 0.0
    left: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it failed, as a SpeechError says it: its class's name, what it tells the caller, the field at fault."""

    kind: str
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its owner sees it. Times are in epoch seconds.

    `attempts` counts how often a runner took it up. `waits_for` says, of one that is queued or running, what it waits
    for and does not have ("the disk is full"); "" where all is well. `expires` is when it will be deleted, None while
    it has not ended.
    """

    id: str
    owner: str
    request: JobRequest
    state: State
    created: float
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    attempts: int = 0
    progress: Progress = field(default_factory=Progress)
    failure: Failure | None = None
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A runner's right to work on a job until `until` (epoch seconds; it is renewed). `token` is new each time it is
    leased: what is written under an older one is refused, so that no two runners' work is mixed. `fruitless` leases of
    the job in a row, this one included, kept nothing, but for those that were put back without blame."""

    job: Job
    token: str
    until: float
    fruitless: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be recognised of one channel (of all of them where they are mixed: channel 0), fixed once for the
    job: where there is speech, and the pieces to be recognised. `duration` is the channel's, in seconds; times are to
    be multiplied by `time_scale` to be on the container's clock."""

    spans: Sequence[SpeechSpan]
    cuts: Sequence[Cut]
    duration: float
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a job's work: plans by channel, and what was heard by channel and piece."""

    plans: Mapping[int, Plan] = field(default_factory=lambda: {})
    heard: Mapping[tuple[int, int], Hypothesis] = field(default_factory=lambda: {})


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a job's owner is to be told at its webhook: that it has come to this state.

    `id` stays the same however often it is sent. `tries` is how often it was, without success; `created` is when
    the job came to that state, in epoch seconds.
    """

    id: str
    job: Job
    state: State
    created: float
    tries: int = 0
