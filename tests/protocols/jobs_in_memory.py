"""Jobs that nobody works on, and real uploads, for routes that hand over and ask: tests say how jobs go on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

from openai_server import FakeService

from app.domain.errors import JobNotDone, SpeechError, UnknownJob
from app.domain.transcript import Transcript
from app.service.admission import Caller
from app.service.jobs.job import Failure, Idempotency, Job, JobRequest, Progress, State
from app.service.jobs.store import Submitted
from app.service.resumable.store import UploadStore
from app.settings import Settings


@dataclass
class FakeJobs:
    """Jobs in memory, which nobody works on: tests say how they go on. What is asked is what Jobs promises."""

    jobs: dict[str, Job] = field(default_factory=dict)
    transcripts: dict[str, Transcript] = field(default_factory=dict)
    recordings: dict[str, bytes] = field(default_factory=dict)
    refusal: SpeechError | None = None
    read: set[str] = field(default_factory=set)

    async def submit(
        self, caller: Caller, request: JobRequest, recording: Path | None, idempotency: Idempotency | None = None
    ) -> Submitted:
        if self.refusal is not None:
            raise self.refusal
        job = Job(f"job_{len(self.jobs) + 1:024x}", caller.key, request, "queued", time.time())
        self.jobs[job.id] = job
        if recording is not None:
            self.recordings[job.id] = await asyncio.to_thread(recording.read_bytes)
            await asyncio.to_thread(recording.unlink)
        return Submitted(job)

    async def get(self, owner: str | None, job_id: str) -> Job:
        job = self.jobs.get(job_id)
        if job is None or owner not in {None, job.owner}:
            raise UnknownJob("There is no such job.")
        return job

    async def cancel(self, owner: str, job_id: str) -> Job:
        job = await self.get(owner, job_id)
        return self.turn(job.id, "cancelled") if job.ended is None else job

    async def delete(self, owner: str, job_id: str) -> None:
        del self.jobs[(await self.get(owner, job_id)).id]

    @contextlib.asynccontextmanager
    async def reading(self, job: Job) -> AsyncGenerator[None]:
        self.read.add(job.id)
        yield
        self.read.discard(job.id)

    async def transcript(self, owner: str, job_id: str) -> Transcript:
        job = await self.get(owner, job_id)
        assert job_id in self.read, "without a turn"
        if job.state != "succeeded":
            raise JobNotDone(f"The job is {job.state}.")
        return self.transcripts[job.id]

    async def list(self, owner: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.owner == owner]

    # --- for tests ---

    @property
    def latest(self) -> Job:
        return list(self.jobs.values())[-1]

    def turn(self, job_id: str, state: State, *, failure: Failure | None = None, duration: float | None = None) -> Job:
        """Let a job be in another state."""
        ended = time.time() if state in {"succeeded", "failed", "cancelled"} else None
        progress = Progress(duration=duration)
        self.jobs[job_id] = replace(self.jobs[job_id], state=state, ended=ended, failure=failure, progress=progress)
        return self.jobs[job_id]

    def done(self, job_id: str, transcript: Transcript) -> Job:
        """Let it succeed."""
        self.transcripts[job_id] = transcript
        return self.turn(job_id, "succeeded", duration=transcript.duration)


class JobService(FakeService):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.jobs = FakeJobs()  # type: ignore[assignment]
        folder = settings.jobs_folder / "uploads"
        self.uploads = UploadStore(folder, max_bytes=settings.max_job_audio_size, retention_seconds=60)
        self.admit_job = self.admit  # type: ignore[method-assign]
