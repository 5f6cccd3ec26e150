"""How long a live stream's texts take, told to a meter: after the first sound of an utterance, and after its end."""

from __future__ import annotations

import time
from collections import deque

from app.domain.meters import NO_METER, Meter
from app.streaming.speech import Clock

_REMEMBERED = 64
"""Blocks of a tenth of a second or more. An onset is known a quarter of a second later."""


class Timing:
    """One stream's. `model` is the id of the model that hears it."""

    def __init__(self, meter: Meter = NO_METER, model: str = "") -> None:
        self._meter = meter
        self._model = model
        self._taken: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # until where of the sound, and when

    def heard(self, seconds: float, end: float) -> None:
        """So much more sound was taken up, which ends so many seconds into the stream."""
        if seconds:
            self._taken.append((end, time.monotonic()))
            self._meter.heard(self._model, seconds)

    def begin(self, clock: Clock, start: float) -> None:
        """An utterance begins whose first sound is at `start`."""
        now = time.monotonic()
        clock.began = next((at for end, at in self._taken if end > start), now)

    def end(self, clock: Clock) -> None:
        """It is over."""
        clock.over = time.monotonic()

    def partial(self, clock: Clock) -> None:
        """A text of it is told while it goes on."""
        if not clock.told:
            clock.told = True
            self._meter.first_partial(time.monotonic() - clock.began)

    def final(self, clock: Clock, *, text: bool) -> None:
        """All of it is told. `text`: there is some, and it was wanted before."""
        self._meter.final(time.monotonic() - clock.over)
        if text:
            self.partial(clock)
