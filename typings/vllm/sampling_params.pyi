from enum import Enum

class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2

class RepetitionDetectionParams:
    def __init__(self, *, max_pattern_size: int, min_count: int) -> None: ...

class SamplingParams:
    def __init__(
        self,
        *,
        temperature: float,
        seed: int | None,
        max_tokens: int,
        logprobs: int,
        detokenize: bool,
        output_kind: RequestOutputKind,
        repetition_detection: RepetitionDetectionParams | None,
    ) -> None: ...
