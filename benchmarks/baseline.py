"""The baseline: faster-whisper called the usual way, in a process of its own, one clip after another."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.measures import Clip, Run
from benchmarks.progress import bar

Mode = Literal["sequential", "batched"]
BEAM = 5
BATCH = 8


@dataclass(frozen=True, slots=True)
class _Job:
    clips: tuple[Clip, ...]
    mode: Mode
    words: bool


class Baseline:
    """A process that holds the model. A context manager; idle between runs."""

    def __init__(self, weights: Path, *, compute_type: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        arguments = (theirs, str(weights), compute_type, threads)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # loaded

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    def run(self, clips: Sequence[Clip], *, mode: Mode = "sequential", words: bool = False, label: str = "") -> Run:
        """Recognise the clips in order.

        Raises:
            EOFError: the process died; its traceback is on stderr.
        """
        self._connection.send(_Job(tuple(clips), mode, words))
        with bar(label or f"faster-whisper {mode}", len(clips)) as progress:
            while not isinstance(message := self._connection.recv(), Run):
                progress.update()
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


def _work(connection: Connection, weights: str, compute_type: str, threads: int) -> None:
    """The process: load, then answer jobs until the other side goes away."""
    model = WhisperModel(weights, device="cpu", compute_type=compute_type, cpu_threads=threads)
    batched = BatchedInferencePipeline(model)
    connection.send("loaded")
    try:
        while True:
            job: _Job = connection.recv()
            connection.send(_run(model, batched, job, connection))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


def _run(model: WhisperModel, batched: BatchedInferencePipeline, job: _Job, connection: Connection) -> Run:
    latencies: list[float] = []
    texts: dict[str, str] = {}
    began = time.perf_counter()
    for clip in job.clips:
        started = time.perf_counter()
        if job.mode == "batched":
            segments, _ = batched.transcribe(
                str(clip.path), language=clip.language, beam_size=BEAM, batch_size=BATCH, word_timestamps=job.words
            )
        else:
            segments, _ = model.transcribe(
                str(clip.path),
                language=clip.language,
                beam_size=BEAM,
                word_timestamps=job.words,
                condition_on_previous_text=False,
            )
        heard = list(segments)  # lazy: the work is done here
        latencies.append(time.perf_counter() - started)
        texts[clip.name] = " ".join(segment.text.strip() for segment in heard)
        if job.words and heard and not any(segment.words for segment in heard):
            raise RuntimeError(f"no word times for {clip.name}")
        connection.send(clip.name)
    wall = time.perf_counter() - began
    return Run(wall, sum(clip.seconds for clip in job.clips), tuple(latencies), texts)
