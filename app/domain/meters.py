"""What is worth counting and timing, as those who do the work tell it: who listens is not their affair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

Stage: TypeAlias = Literal["fetch", "decode", "detect", "recognise", "write", "speakers", "render"]
"""Of a recording's way: fetched from an address, decoded, speech found, pieces recognised (waiting included), marks and
digits set, speakers told apart, drawn for its protocol."""

Outcome: TypeAlias = str
"""How work ended: "ok", "cancelled" (the client left), or the `code` of a SpeechError."""


class Meter:
    """Listens to what happens. This one lets everything pass; those that count override what they are interested in.

    Everything is told on the event loop, and must return at once. Times are in seconds, of the wall clock; `model` is a
    ServedModel's id, `path` a Caller's.
    """

    def stage(self, stage: Stage, seconds: float) -> None:
        """A stage of a recording took so long, in the task (and its context) that calls this."""

    def call(self, model: str, pieces: int, fill: float, waited: Sequence[float]) -> None:
        """A recogniser is called with so many pieces, which have waited so long. `fill` is their cost as a share of the
        most that a call may have, 0 to 1."""

    def recording(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """A recording of so many seconds of sound (0: not known yet) has ended, so long after its upload arrived."""

    def stream(self, model: str, path: str, audio: float, took: float, outcome: Outcome) -> None:
        """A live stream has ended, of which so many seconds were heard."""

    def first_partial(self, seconds: float) -> None:
        """An utterance's first text came so long after its first sound had arrived."""

    def final(self, seconds: float) -> None:
        """An utterance's final text was there so long after it was known to have ended (the endpoint)."""

    def refused(self, path: str, code: str) -> None:
        """A request or stream was not let in; `code` is the error's."""

    def restarted(self, what: Literal["decoder", "recogniser"]) -> None:
        """A process that had died was started again."""


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
