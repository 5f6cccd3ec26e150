"""An engine that follows its arguments and prompts.

Arguments: `max_num_seqs` above `fits` is out of memory, `broken` does not start, `once` is a file whose presence says
that this is not the first process (made by the first). STUB_START_SECONDS is how long it takes to start.
Prompts: "die" ends the process at every try, "die once" at the first process only, "fail" fails, "too long" is refused,
"slow" takes ten seconds unless it is cancelled, which `once`.cancelled then says. Everything else says three tokens:
the number of samples, their sum, and 7.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vllm.exceptions import VLLMClientError
from vllm.sampling_params import RequestOutputKind


class AsyncLLM:
    errored = False

    def __init__(self, arguments: Any) -> None:
        time.sleep(float(os.environ.get("STUB_START_SECONDS", "0")))
        self._once = Path(arguments.once)
        self._first = not self._once.exists()
        self._once.touch()
        if getattr(arguments, "broken", False):
            raise RuntimeError("the weights are not to its taste")
        if arguments.max_num_seqs > arguments.fits:
            print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", file=sys.stderr, flush=True)
            raise RuntimeError("Engine core initialization failed.")

    @classmethod
    def from_engine_args(cls, arguments: Any) -> AsyncLLM:
        return cls(arguments)

    async def generate(self, prompt: Any, sampling: Any, request_id: str) -> AsyncIterator[Any]:
        text, (samples, rate) = prompt["prompt"], prompt["multi_modal_data"]["audio"]
        assert rate == 16_000
        if text == "die" or (text == "die once" and self._first):
            await asyncio.sleep(0.2)
            os._exit(9)
        if text == "fail":
            raise ValueError("not this one")
        if text == "too long":
            raise VLLMClientError("longer than the model")
        if text == "slow":
            await self._slow()
        tokens = [len(samples), round(float(samples.sum())), 7]
        steps = [tokens] if sampling.output_kind is RequestOutputKind.FINAL_ONLY else [[token] for token in tokens]
        for number, step in enumerate(steps, start=1):
            await asyncio.sleep(0.01)
            chances = [{token: SimpleNamespace(logprob=-0.5)} for token in step]
            said = SimpleNamespace(token_ids=step, logprobs=chances, finish_reason="stop")
            yield SimpleNamespace(outputs=[said], finished=number == len(steps), prompt_token_ids=[0] * 5)

    async def _slow(self) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            self._once.with_suffix(".cancelled").touch()
            raise
