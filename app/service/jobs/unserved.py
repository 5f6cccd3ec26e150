"""Which jobs wait for a model that does not answer here: nobody may ever take them up, and nothing else says so."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from app.service.jobs.job import Job

_logger = logging.getLogger(__name__)


def shown(job: Job, served: Collection[str]) -> Job:
    """A job; where it waits for its turn and its model is not among those `served`, it says so."""
    if job.state != "queued" or job.waits_for or job.request.model in served:
        return job
    return replace(job, waits_for=f"{job.request.model} does not answer here now.")


class Unserved:
    """Tells the log."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def look(self, queued: Mapping[str, int], served: Collection[str]) -> None:
        """So many jobs are queued for each model. What is missing is told when it still is at the second look, since
        models take a while to load, and again when more jobs or fewer wait for it."""
        before, self._told = self._told, {}
        for model, jobs in queued.items():
            if model not in served:
                if model in before and before[model] != jobs:
                    _logger.warning("jobs wait for %s, which does not answer here: %d", model, jobs)
                self._told[model] = jobs if model in before else 0
