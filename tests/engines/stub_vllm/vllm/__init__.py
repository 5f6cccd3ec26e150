"""A vLLM that does what a real one cannot be made to do on demand: die, run out of memory, fail, take its time.

What it does stands in the engine arguments and in the prompts; see `v1/engine/async_llm.py`.
"""

from __future__ import annotations

from types import SimpleNamespace

from vllm.sampling_params import SamplingParams

__all__ = ["PoolingParams", "SamplingParams"]
PoolingParams = SimpleNamespace
