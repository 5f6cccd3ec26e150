from __future__ import annotations

from enum import Enum
from types import SimpleNamespace

SamplingParams = SimpleNamespace
RepetitionDetectionParams = SimpleNamespace


class RequestOutputKind(Enum):
    DELTA = 1
    FINAL_ONLY = 2
