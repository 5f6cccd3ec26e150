from collections.abc import AsyncGenerator
from typing import Any

from vllm import PoolingParams, SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs

class AsyncLLM:
    @classmethod
    def from_engine_args(cls, engine_args: AsyncEngineArgs) -> AsyncLLM: ...
    @property
    def errored(self) -> bool: ...
    def generate(
        self, prompt: object, sampling_params: SamplingParams, request_id: str
    ) -> AsyncGenerator[Any]: ...
    def encode(self, prompt: object, pooling_params: PoolingParams, request_id: str) -> AsyncGenerator[Any]: ...
