"""How jobs stand at the moment Prometheus asks, as their database and the folder of uploads say it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from app.domain.errors import JobsUnavailable, StorageFull

if TYPE_CHECKING:
    from app.service.service import SpeechService

_PATIENCE_SECONDS = 2.0
"""For the database: what else there is to tell must not wait for one that hangs."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits, of all servers that share the database. `oldest` is in seconds."""

    jobs: int
    oldest: float
    notices: int


@dataclass(frozen=True, slots=True)
class JobsStanding:
    """`queue` is None where the database could not be asked. `uploads` that are not finished or not used yet have
    `bytes_stored` between them."""

    running: int
    queue: Queue | None
    uploads: int
    bytes_stored: int


async def jobs_standing(service: SpeechService) -> JobsStanding:
    """How a service's jobs stand. To be called on its event loop; takes two seconds at most."""
    queue, (uploads, bytes_stored) = await asyncio.gather(_queue(service), service.uploads.stored())
    return JobsStanding(service.jobs.running, queue, uploads, bytes_stored)


async def _queue(service: SpeechService) -> Queue | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            jobs, oldest = await service.jobs.waiting()
            return Queue(jobs, oldest, await service.jobs.notices_waiting())
    except (JobsUnavailable, StorageFull, TimeoutError):
        return None


def job_gauges(now: JobsStanding) -> Iterator[Metric]:
    """What there is to tell of them."""
    yield GaugeMetricFamily(
        "asr_jobs_available", "1 if the database of jobs can be used, else 0.", float(now.queue is not None)
    )
    yield GaugeMetricFamily("asr_jobs_running", "Jobs that this server works on.", now.running)
    queued = GaugeMetricFamily("asr_jobs_queued", "Jobs that wait, of all servers that share the database.")
    oldest = GaugeMetricFamily(
        "asr_job_oldest_queued_seconds", "Seconds since the oldest job that waits was submitted; 0 where none waits."
    )
    notices = GaugeMetricFamily(
        "asr_notices_waiting", "Notices to webhooks that are not sent yet, of all servers that share the database."
    )
    if now.queue is not None:
        queued.add_metric([], now.queue.jobs)
        oldest.add_metric([], now.queue.oldest)
        notices.add_metric([], now.queue.notices)
    yield queued
    yield oldest
    yield notices
    yield GaugeMetricFamily("asr_uploads_open", "Resumable uploads that no job has taken yet.", now.uploads)
    yield GaugeMetricFamily("asr_uploads_stored_bytes", "Bytes of these that have arrived.", now.bytes_stored)
