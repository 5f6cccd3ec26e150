"""How things stand at the moment Prometheus asks: gauges, made anew for each scrape."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric

from app import __version__
from app.modelstore.machine import Gpu
from app.service.metrics.cards import Cards
from app.service.metrics.jobs import JobsStanding, job_gauges
from app.service.metrics.processes import Processes, read_processes
from app.service.models import ModelState
from app.service.residents import State

if TYPE_CHECKING:
    from app.service.service import SpeechService

_STATES = (*get_args(State), "failed")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the event loop knows. Times are in seconds."""

    model: str
    ready: bool
    requests: int
    streams: int
    pieces: int
    oldest_piece: float
    backlog: float
    models: tuple[ModelState, ...]
    temp_dir: Path
    data_dir: Path
    jobs_dir: Path | None
    gpus: tuple[Gpu, ...]
    jobs: JobsStanding


def standing(service: SpeechService, cards: Cards, jobs: JobsStanding, *, draining: bool = False) -> Standing:
    """How a service stands. To be called on its event loop; takes no time. `draining`: it is about to end.

    `cards` are looked at where the service runs on one; `jobs` is what its jobs have just said.
    """
    models = tuple(service.states())
    settings = service.settings
    return Standing(
        model=service.choice.model_id,
        ready=service.ready and models[0].state != "restarting" and not draining,
        requests=service.active,
        streams=service.active_streams,
        pieces=service.waiting_pieces,
        oldest_piece=service.oldest_piece,
        backlog=service.backlog,
        models=models,
        temp_dir=settings.temp_dir or Path(tempfile.gettempdir()),
        data_dir=settings.data_dir,
        jobs_dir=settings.jobs_dir,
        gpus=cards.latest() if service.device != "cpu" else (),
        jobs=jobs,
    )


class States:
    """A Collector of one scrape. It reads the system: to be collected on a thread."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Everything, with its name and its unit in the text that explains it."""
        yield from self._service()
        yield from self._models()
        yield from job_gauges(self._standing.jobs)
        yield from _memory(read_processes())
        yield from self._disks()
        yield from _gpus(self._standing.gpus)
        yield from ProcessCollector(registry=CollectorRegistry()).collect()

    def _service(self) -> Iterator[Metric]:
        now = self._standing
        yield InfoMetricFamily(
            "asr_build",
            "The server's version, and the model this machine was found fit for.",
            {"version": __version__, "model": now.model},
        )
        yield _gauge("asr_ready", "1 if requests can be answered, as /health/ready says it, else 0.", now.ready)
        yield _gauge("asr_requests_in_progress", "Requests about recordings that were let in and go on.", now.requests)
        yield _gauge("asr_streams_in_progress", "Live streams that go on.", now.streams)
        yield _gauge("asr_pieces_waiting", "Pieces of recordings and streams that wait for a recogniser.", now.pieces)
        yield _gauge(
            "asr_oldest_piece_wait_seconds",
            "Seconds that the piece that has waited longest has waited; 0 where none waits.",
            now.oldest_piece,
        )
        yield _gauge(
            "asr_backlog_seconds",
            "Seconds of the whole machine that requests in progress still need, as foretold.",
            now.backlog,
        )

    def _models(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "asr_model_state", "1 for the state that a model is in, 0 for the others.", labels=["model", "state"]
        )
        for model in self._standing.models:
            for state in _STATES:
                family.add_metric([model.id, state], float(model.state == state))
        yield family

    def _disks(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "asr_disk_free_bytes",
            "Bytes that are free where the folder lies: TEMP_DIR (temp), DATA_DIR (data), and JOBS_DIR (jobs), if set.",
            labels=["folder"],
        )
        now = self._standing
        for name, folder in (("temp", now.temp_dir), ("data", now.data_dir), ("jobs", now.jobs_dir)):
            if folder is not None and (free := free_bytes(folder)) is not None:
                family.add_metric([name], free)
        yield family


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, float(value))


def _memory(processes: Processes) -> Iterator[Metric]:
    memory = GaugeMetricFamily(
        "asr_memory_resident_bytes",
        "Resident bytes of the server's process and of those it started, by role; what they share counts for each.",
        labels=["role"],
    )
    count = GaugeMetricFamily("asr_processes", "Processes by role, the server's own among them.", labels=["role"])
    for role, (resident, number) in processes.items():
        memory.add_metric([role], resident)
        count.add_metric([role], number)
    yield memory
    yield count


def _gpus(gpus: Sequence[Gpu]) -> Iterator[Metric]:
    """What cards hold, of all processes that use them; nvidia-smi tells it. Without a card there are no samples."""
    used = GaugeMetricFamily("asr_gpu_memory_used_bytes", "Bytes that are taken on a GPU, by anybody.", labels=["gpu"])
    total = GaugeMetricFamily("asr_gpu_memory_bytes", "Bytes that a GPU has.", labels=["gpu"])
    for gpu in gpus:
        used.add_metric([str(gpu.index)], gpu.memory - gpu.free)
        total.add_metric([str(gpu.index)], gpu.memory)
    yield used
    yield total


def free_bytes(folder: Path) -> int | None:
    """Bytes free where a folder lies, or will; None where that cannot be told."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
