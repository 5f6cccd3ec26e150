"""What happens, counted for Prometheus. Labels have few values: routes as they are written, never paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import Metric

from app.domain.errors import SpeechError
from app.domain.meters import JOB_PATH, REFUSALS, Meter, Outcome, Stage

_OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Anybody can make up others."""
_WORK: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""Seconds of a request or a stage of it: from a health check to REQUEST_TIMEOUT_SECONDS."""
_WAITING: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds in line: a live piece goes first and waits for one call; a file may wait MAX_WAIT_SECONDS, or longer if it is
long itself."""
_LIVE: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
"""Seconds that somebody who speaks waits: close together where people notice the difference."""
_FACTOR: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5)
"""Seconds of work for a second of sound: a GPU's are at the left, those of a CPU in the middle; above 1 it cannot keep
up."""
_PIECES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
"""Of a call; ASR_BATCH_SIZE is at most the last."""
_JOBS: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400, 172_800, 604_800)
"""Seconds of a job, waiting included: from a clip that nobody is before to a week's queue."""
_FILL: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_NOTICES: Final = ("sent", "failed", "given_up")


class PrometheusMeter(Meter):
    """Counts, in a registry of its own. Told on the event loop; may be read on any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._outcomes = frozenset({"ok", "cancelled", *_codes(SpeechError)})
        self._http(registry)
        self._recordings(registry)
        self._recognisers(registry)
        self._live(registry)
        self._jobs(registry)
        # Those whose labels are known are there from the start: what springs from nothing to 1 is no increase.
        for stage in get_args(Stage):
            self._stages.labels(stage)
        for what in ("decoder", "recogniser"):
            self._restarts.labels(what)
        for refusal in REFUSALS:
            for code in _codes(refusal):
                self._refusals.labels(code)
        for outcome in ("ok", "cancelled"):
            self._job_ends.labels(outcome)
        for outcome in _NOTICES:
            self._notices.labels(outcome)

    def _http(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "asr_http_requests",
            "HTTP requests that have ended, by route, method and status (499: the client left before its answer).",
            ["route", "method", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "asr_http_request_duration_seconds",
            "Seconds from an HTTP request's headers to the end of its answer.",
            ["route", "method"],
            buckets=_WORK,
            registry=registry,
        )
        self._handshakes = Counter(
            "asr_websocket_handshakes",
            "WebSockets that were asked for, by route and status (101: accepted).",
            ["route", "status"],
            registry=registry,
        )
        self._refusals = Counter(
            "asr_refused",
            "Requests and streams that were not let in, or failed while their upload arrived through no fault of it, "
            "by the code of the error.",
            ["code"],
            registry=registry,
        )

    def _recordings(self, registry: CollectorRegistry) -> None:
        self._ended = Counter(
            "asr_recordings",
            "Recordings that have ended, by model and outcome (ok, cancelled, or the code of an error).",
            ["model", "outcome"],
            registry=registry,
        )
        self._audio = Counter(
            "asr_audio_seconds",
            "Seconds of sound: of recordings that were recognised (file), and heard by live streams (live).",
            ["kind", "model"],
            registry=registry,
        )
        self._factor = Histogram(
            "asr_recording_real_time_factor_ratio",
            "Seconds from a recording's arrival to its transcript, waiting included, for each second of its sound.",
            ["model"],
            buckets=_FACTOR,
            registry=registry,
        )
        self._stages = Histogram(
            "asr_stage_duration_seconds",
            "Seconds of each stage of a recording; of recognise and write, those in which it waited for them.",
            ["stage"],
            buckets=_WORK,
            registry=registry,
        )

    def _recognisers(self, registry: CollectorRegistry) -> None:
        self._pieces = Histogram(
            "asr_call_pieces", "Pieces in one call of a recogniser.", ["model"], buckets=_PIECES, registry=registry
        )
        self._fill = Histogram(
            "asr_call_fill_ratio",
            "How full a recogniser's call is: its pieces' cost, as a share of the most a call may have.",
            ["model"],
            buckets=_FILL,
            registry=registry,
        )
        self._waits = Histogram(
            "asr_piece_wait_seconds",
            "Seconds that a piece waited until its call began.",
            ["model"],
            buckets=_WAITING,
            registry=registry,
        )
        self._restarts = Counter(
            "asr_restarts", "Processes that had died or hung and were replaced.", ["process"], registry=registry
        )

    def _live(self, registry: CollectorRegistry) -> None:
        self._streams = Counter(
            "asr_streams",
            "Live streams that have ended, by model and outcome (ok, cancelled, or the code of an error).",
            ["model", "outcome"],
            registry=registry,
        )
        self._first_partials = Histogram(
            "asr_live_first_partial_seconds",
            "Seconds from an utterance's first sound to its first text, where texts are wanted while it goes on.",
            buckets=_LIVE,
            registry=registry,
        )
        self._finals = Histogram(
            "asr_live_final_seconds",
            "Seconds from an utterance's endpoint, when it was known to be over, to its final text.",
            buckets=_LIVE,
            registry=registry,
        )

    def _jobs(self, registry: CollectorRegistry) -> None:
        self._job_ends = Counter(
            "asr_jobs",
            "Jobs that have ended on this server, by outcome (ok, cancelled, or the code of an error).",
            ["outcome"],
            registry=registry,
        )
        self._job_audio = Counter(
            "asr_job_audio_seconds", "Seconds of sound of jobs that have succeeded.", registry=registry
        )
        self._job_durations = Histogram(
            "asr_job_duration_seconds",
            "Seconds from a job's submission to its end, of those that have succeeded.",
            buckets=_JOBS,
            registry=registry,
        )
        self._resumed = Counter(
            "asr_job_pieces_resumed",
            "Pieces that were kept from before a job was interrupted, and need not be recognised again.",
            registry=registry,
        )
        self._notices = Counter(
            "asr_notices",
            "Notices to webhooks that were sent, that failed for now (they are tried again), and that were given up.",
            ["outcome"],
            registry=registry,
        )

    # --- what is told -------------------------------------------------------------------------------------------------

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request has ended. `route` is as its path is written in the application, see `route_of`."""
        method = method if method in _METHODS else _OTHER
        self._requests.labels(route, method, status).inc()
        self._durations.labels(route, method).observe(seconds)

    def handshake(self, route: str, status: int) -> None:
        """A WebSocket was accepted (101) or not."""
        self._handshakes.labels(route, status).inc()

    def stage(self, stage: Stage, seconds: float) -> None:
        """See Meter."""
        self._stages.labels(stage).observe(seconds)

    def call(self, model: str, pieces: int, fill: float, waited: Sequence[float]) -> None:
        """See Meter."""
        self._pieces.labels(model).observe(pieces)
        self._fill.labels(model).observe(fill)
        waits = self._waits.labels(model)
        for seconds in waited:
            waits.observe(seconds)

    def heard(self, model: str, seconds: float) -> None:
        """See Meter."""
        self._audio.labels("live", model).inc(seconds)

    def recording(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """See Meter. Of jobs, who wait for nobody and may take several runs, `job` tells."""
        if path == JOB_PATH:
            return
        self._ended.labels(model, self._known(outcome)).inc()
        if outcome == "ok" and audio > 0:
            self._audio.labels("file", model).inc(audio)
            self._factor.labels(model).observe(took / audio)

    def stream(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """See Meter. Its seconds were counted as they were heard."""
        self._streams.labels(model, self._known(outcome)).inc()

    def first_partial(self, seconds: float) -> None:
        """See Meter."""
        self._first_partials.observe(seconds)

    def final(self, seconds: float) -> None:
        """See Meter."""
        self._finals.observe(seconds)

    def refused(self, path: str, code: str) -> None:
        """See Meter."""
        self._refusals.labels(self._known(code)).inc()

    def restarted(self, what: Literal["decoder", "recogniser"]) -> None:
        """See Meter."""
        self._restarts.labels(what).inc()

    def job(self, outcome: Outcome, audio: float, took: float) -> None:
        """See Meter."""
        self._job_ends.labels(self._known(outcome)).inc()
        if outcome == "ok":
            self._job_audio.inc(audio)
            self._job_durations.observe(took)

    def resumed(self, pieces: int) -> None:
        """See Meter."""
        self._resumed.inc(pieces)

    def notice(self, outcome: Literal["sent", "failed", "given_up"]) -> None:
        """See Meter."""
        self._notices.labels(outcome).inc()

    def _known(self, outcome: Outcome) -> str:
        return outcome if outcome in self._outcomes else _OTHER

    # --- what is asked ------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """All that was counted, without the times at which counting began: Prometheus keeps the server's."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _codes(error: type[SpeechError]) -> Iterator[str]:
    """The codes of an error and all below it."""
    yield error.code
    for below in error.__subclasses__():
        yield from _codes(below)
