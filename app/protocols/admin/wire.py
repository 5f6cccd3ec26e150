"""What /v1/admin answers. Nothing here tells a key, a file's name or what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.protocols.health import ModelMemory
from app.service import logs
from app.service.metrics.jobs import JobsStanding
from app.service.quotas import Amounts, Usage
from app.service.running import Running, Step

Phase = Literal["loading", "ready", "failed", "draining", "closed", "finishing", "ended"]


class RunningBody(BaseModel):
    """A recording or live stream that was let in and goes on."""

    id: str = Field(description="Its request's id, or its connection's: X-Request-ID of the answer; or a job's.")
    kind: Literal["recording", "stream"]
    path: str = Field(description="What was asked, as its route is written.")
    key: str = Field(description="The first 8 characters of its API key's digest, or `-` where none is needed.")
    model: str | None = Field(None, description="The model that hears it, once it is known.")
    began: datetime = Field(description="When it was let in (UTC).")
    stage: Step = Field(description="What it is at.")
    audio_seconds: float | None = Field(
        None, description="How long a recording is, once it is decoded; how much of a stream was heard."
    )
    share_done: float | None = Field(None, description="How much of a recording's work is done, 0 to 1, once known.")


class Queue(BaseModel):
    """What waits."""

    pieces_waiting: int = Field(description="Pieces of recordings and streams that wait for a recogniser.")
    oldest_piece_seconds: float = Field(description="How long the one has waited that has waited longest.")
    backlog_seconds: float = Field(description="What requests in progress still need of the whole machine.")


class JobsBody(BaseModel):
    """Jobs and resumable uploads. What waits is of all servers that share the database; null: it cannot be used."""

    running: int = Field(description="Jobs that this server works on. They are in `running` above, too.")
    queued: int | None
    oldest_queued_seconds: float | None = Field(description="Since the oldest that waits was submitted.")
    notices_waiting: int | None = Field(description="Notices to webhooks that are neither sent nor given up.")
    uploads: int = Field(description="Resumable uploads that no job has taken yet.")
    uploads_bytes: int


class KeyBody(BaseModel):
    """What runs in the name of one key."""

    key: str = Field(description="The first 8 characters of its digest, or `-` where none is needed.")
    requests: int
    streams: int


class AmountsBody(BaseModel):
    """In the three measures that callers are limited in. Of limits, 0 is any number."""

    requests: int = Field(description="A minute.")
    streams: int = Field(description="At once.")
    seconds: int = Field(description="Of sound, an hour.")


class UsageBody(BaseModel):
    """What one caller has used of its limits."""

    name: str = Field(
        description="As KEY_LIMITS_FILE has it, or the beginning of the key's digest, or an address, or 'jobs'."
    )
    used: AmountsBody
    limits: AmountsBody


class ProcessesBody(BaseModel):
    """Processes of one role."""

    role: str
    count: int
    resident_bytes: int


class Disk(BaseModel):
    """A folder that the server writes to."""

    folder: Literal["temp", "data", "jobs"]
    free_bytes: int | None = Field(None, description="Bytes free where it lies; null where that cannot be told.")


class AdminBody(BaseModel):
    """Everything an operator may want to see at once."""

    version: str
    uptime_seconds: float
    phase: Phase
    reason: str | None = Field(None, description="Why it is not ready, where it is not.")
    running: list[RunningBody] = Field(description="What runs now, oldest first.")
    queue: Queue
    jobs: JobsBody
    models: list[ModelMemory]
    keys: list[KeyBody] = Field(description="Keys in whose name something runs.")
    usage: list[UsageBody] = Field(description="What callers that have limits have used of them.")
    processes: list[ProcessesBody] = Field(description="Memory by role; empty where the system does not tell.")
    disks: list[Disk]


class EndedBody(BaseModel):
    """What was ended."""

    id: str
    ended: int = Field(description="How many: clients may choose ids, so several requests may have the same.")


def running_body(one: Running) -> RunningBody:
    """One that runs."""
    return RunningBody(
        id=one.caller.request_id,
        kind=one.kind,
        path=one.caller.path,
        key=logs.short(one.caller.key),
        model=one.model or None,
        began=one.began,
        stage=one.stage,
        audio_seconds=round(one.seconds, 3) or None,
        share_done=None if one.share is None else round(one.share, 3),
    )


def jobs_body(now: JobsStanding) -> JobsBody:
    """How jobs stand."""
    return JobsBody(
        running=now.running,
        queued=now.queue and now.queue.jobs,
        oldest_queued_seconds=now.queue and round(now.queue.oldest, 3),
        notices_waiting=now.queue and now.queue.notices,
        uploads=now.uploads,
        uploads_bytes=now.bytes_stored,
    )


def key_bodies(running: Iterable[Running]) -> list[KeyBody]:
    """What runs, counted by key, the busiest first."""
    requests: Counter[str] = Counter()
    streams: Counter[str] = Counter()
    for one in running:
        (streams if one.kind == "stream" else requests)[logs.short(one.caller.key)] += 1
    return [
        KeyBody(key=key, requests=requests[key], streams=streams[key]) for key, _ in (requests + streams).most_common()
    ]


def usage_body(usage: Usage) -> UsageBody:
    """One caller's."""
    return UsageBody(name=usage.name, used=_amounts(usage.used), limits=_amounts(usage.limits))


def _amounts(amounts: Amounts) -> AmountsBody:
    return AmountsBody(requests=amounts.requests, streams=amounts.streams, seconds=amounts.seconds)
