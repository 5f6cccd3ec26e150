"""What is worth counting and timing, as those who do the work tell it: who listens is not their affair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from app.domain.errors import DeadlineExceeded, EngineFailure, Overloaded

Stage: TypeAlias = Literal["fetch", "decode", "detect", "recognise", "write", "speakers", "render"]
"""Of a recording's way: fetched from an address, decoded, speech found, pieces recognised (waiting included), marks and
digits set, speakers told apart, drawn for its protocol."""

Outcome: TypeAlias = str
"""How work ended: "ok", "cancelled" (the client left), or the `code` of a SpeechError."""


JOB_PATH: Final = "/v1/jobs"
"""The `path` under which the work on a job is told, whatever protocol it was asked in. A run that is interrupted
ends as "cancelled", and its job does not."""
REFUSALS: Final = (Overloaded, DeadlineExceeded, EngineFailure)
"""What keeps work from being begun that its sender did nothing wrong with."""


class Meter:
    """Listens to what happens. This one lets everything pass; those that count override what they are interested in.

    Everything is told on the event loop, and must return at once. Times are in seconds, of the wall clock; `model` is a
    ServedModel's id, `path` a Caller's.
    """

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage of a recording took so long, in the task (and its context) that calls this."""

    def call(self, model: str, pieces: int, fill: float, waited: Sequence[float]) -> None:
        """A recogniser was called with so many pieces, which had waited so long until it began. `fill` is their cost as
        a share of the most that a call may have, 0 to 1; of a recogniser that batches by itself, the pieces it has then
        as a share of those it can have."""

    def heard(self, model: str, seconds: float) -> None:
        """So many more seconds of a live stream's sound were listened to."""

    def recording(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """A recording of so many seconds of sound (0: not known yet) has ended, so long after its upload arrived."""

    def stream(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """A live stream has ended, of which so many seconds were heard (and told by `heard` before)."""

    def first_partial(self, seconds: float) -> None:
        """An utterance's first text came so long after its first sound was taken up to be listened to, where texts are
        wanted while somebody speaks. The silence between two utterances belongs to neither. Sound that is sent faster
        than it is listened to waits before that."""

    def final(self, seconds: float) -> None:
        """An utterance's final text was there so long after it was known to have ended (the endpoint), which is a
        silence later than its last word."""

    def refused(self, path: str, code: str) -> None:
        """A request or stream was not let in, or failed with one of REFUSALS before its model was asked for (while its
        upload arrived or was fetched, say); `code` is the error's."""

    def restarted(self, what: Literal["decoder", "recogniser"]) -> None:
        """A process that had died, or did not end what it was at, is replaced. One that was ended because its client
        left is none of them."""

    def job(self, outcome: Outcome, audio: float, took: float) -> None:
        """A job has ended here, so long after it was submitted. `audio` is how many seconds of sound it was, 0 where
        that was never known or it did not succeed. One whose lease was lost, or that was put back, has not ended."""

    def resumed(self, pieces: int) -> None:
        """A job was taken up again that somebody had worked on before: so many of its pieces are kept and need not be
        recognised again."""

    def notice(self, outcome: Literal["sent", "failed", "given_up"]) -> None:
        """A job's owner was told at its webhook, could not be told this time, or will not be told any more. What is
        given up was told as failed before."""


NO_METER: Final = Meter()
"""Nobody counts."""


class Meters(Meter):
    """Several that listen to the same."""

    def __init__(self, meters: Sequence[Meter]) -> None:
        self._meters = tuple(meters)

    def stage(self, stage: Stage, seconds: float) -> None:  # noqa: D102 - as Meter says
        for meter in self._meters:
            meter.stage(stage, seconds)

    def call(self, model: str, pieces: int, fill: float, waited: Sequence[float]) -> None:  # noqa: D102
        for meter in self._meters:
            meter.call(model, pieces, fill, waited)

    def heard(self, model: str, seconds: float) -> None:  # noqa: D102
        for meter in self._meters:
            meter.heard(model, seconds)

    def recording(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:  # noqa: D102
        for meter in self._meters:
            meter.recording(model, path, audio, took, outcome)

    def stream(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:  # noqa: D102
        for meter in self._meters:
            meter.stream(model, path, audio, took, outcome)

    def first_partial(self, seconds: float) -> None:  # noqa: D102
        for meter in self._meters:
            meter.first_partial(seconds)

    def final(self, seconds: float) -> None:  # noqa: D102
        for meter in self._meters:
            meter.final(seconds)

    def refused(self, path: str, code: str) -> None:  # noqa: D102
        for meter in self._meters:
            meter.refused(path, code)

    def restarted(self, what: Literal["decoder", "recogniser"]) -> None:  # noqa: D102
        for meter in self._meters:
            meter.restarted(what)

    def job(self, outcome: Outcome, audio: float, took: float) -> None:  # noqa: D102
        for meter in self._meters:
            meter.job(outcome, audio, took)

    def resumed(self, pieces: int) -> None:  # noqa: D102
        for meter in self._meters:
            meter.resumed(pieces)

    def notice(self, outcome: Literal["sent", "failed", "given_up"]) -> None:  # noqa: D102
        for meter in self._meters:
            meter.notice(outcome)
