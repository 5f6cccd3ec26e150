"""The little of vLLM that app/engines/qwen3/host.py uses; vLLM is not installed where types are checked."""

from vllm.sampling_params import SamplingParams as SamplingParams

class PoolingParams:
    def __init__(self, *, task: str, use_activation: bool | None = None) -> None: ...
