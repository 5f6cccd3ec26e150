"""What is told of jobs: counted as it happens, and how they stand when Prometheus asks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

import pytest
from service.test_metrics_meter import series, value

from app.domain.errors import JobsUnavailable, SpeechError
from app.domain.meters import JOB_PATH, Meters
from app.service.metrics import jobs as jobs_metrics
from app.service.metrics.jobs import JobsStanding, job_gauges, jobs_standing
from app.service.metrics.meter import PrometheusMeter
from app.service.recognising import JOBS
from app.service.service import SpeechService


@dataclass
class Jobs:
    """As metrics see them. `error` is what the database says, `silent` that it says nothing."""

    running: int = 2
    error: SpeechError | None = None
    silent: bool = False

    async def waiting(self) -> tuple[int, float]:
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return 7, 90.5

    async def notices_waiting(self) -> int:
        return 3


class Uploads:
    async def stored(self) -> tuple[int, int]:
        return 4, 5_000_000


@dataclass
class Service:
    jobs: Jobs = field(default_factory=Jobs)
    uploads: Uploads = field(default_factory=Uploads)


def stands(jobs: Jobs) -> JobsStanding:
    return asyncio.run(jobs_standing(cast("SpeechService", Service(jobs))))


def gauges(standing: JobsStanding) -> dict[str, float]:
    return {sample.name: sample.value for family in job_gauges(standing) for sample in family.samples}


def test_jobs_are_counted_by_how_they_end() -> None:
    meter = PrometheusMeter()
    assert value(meter, "asr_jobs_total", outcome="ok") == 0, "there before anything happens"
    told = Meters([meter])
    told.job("ok", 7200.0, 4000.0)
    told.job("ok", 60.0, 12.0)
    told.job("cancelled", 0.0, 5.0)
    told.job("invalid_audio", 0.0, 5.0)
    told.job("made up", 0.0, 5.0)
    assert value(meter, "asr_jobs_total", outcome="ok") == 2
    assert value(meter, "asr_jobs_total", outcome="cancelled") == 1
    assert value(meter, "asr_jobs_total", outcome="invalid_audio") == 1
    assert value(meter, "asr_jobs_total", outcome="other") == 1, "anybody could make up labels otherwise"
    assert value(meter, "asr_job_audio_seconds_total") == 7260
    assert value(meter, "asr_job_duration_seconds_count") == 2, "of those that have succeeded"
    assert value(meter, "asr_job_duration_seconds_sum") == 4012
    assert value(meter, "asr_job_duration_seconds_bucket", le="3600.0") == 1


def test_runs_of_jobs_are_no_recordings() -> None:
    meter = PrometheusMeter()
    meter.recording("m", JOB_PATH, 7200.0, 9000.0, "cancelled")
    meter.recording("m", JOB_PATH, 7200.0, 9000.0, "ok")
    meter.recording("m", "/asr", 10.0, 1.0, "ok")
    assert JOB_PATH == JOBS, "under which they are registered"
    assert value(meter, "asr_recordings_total", model="m", outcome="ok") == 1
    assert ("asr_recordings_total", frozenset({("model", "m"), ("outcome", "cancelled")})) not in series(meter)
    assert value(meter, "asr_audio_seconds_total", kind="file", model="m") == 10


def test_kept_pieces_and_notices_are_counted() -> None:
    meter = PrometheusMeter()
    for outcome in ("sent", "failed", "given_up"):
        assert value(meter, "asr_notices_total", outcome=outcome) == 0
    told = Meters([meter])
    told.resumed(12)
    told.resumed(30)
    told.notice("failed")
    told.notice("failed")
    told.notice("given_up")
    told.notice("sent")
    assert value(meter, "asr_job_pieces_resumed_total") == 42
    assert value(meter, "asr_notices_total", outcome="failed") == 2
    assert value(meter, "asr_notices_total", outcome="given_up") == 1
    assert value(meter, "asr_notices_total", outcome="sent") == 1


def test_how_jobs_stand() -> None:
    assert gauges(stands(Jobs())) == {
        "asr_jobs_available": 1,
        "asr_jobs_running": 2,
        "asr_jobs_queued": 7,
        "asr_job_oldest_queued_seconds": 90.5,
        "asr_notices_waiting": 3,
        "asr_uploads_open": 4,
        "asr_uploads_stored_bytes": 5_000_000,
    }


def test_a_database_that_cannot_be_used_leaves_out_what_it_would_say() -> None:
    told = gauges(stands(Jobs(error=JobsUnavailable("It is locked."))))
    assert told["asr_jobs_available"] == 0
    assert told["asr_jobs_running"] == 2
    assert told["asr_uploads_open"] == 4
    assert not told.keys() & {"asr_jobs_queued", "asr_job_oldest_queued_seconds", "asr_notices_waiting"}


def test_a_database_that_hangs_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_metrics, "_PATIENCE_SECONDS", 0.05)
    began = time.monotonic()
    assert stands(Jobs(silent=True)).queue is None
    assert time.monotonic() - began < 10
