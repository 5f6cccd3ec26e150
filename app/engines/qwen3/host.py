"""The vLLM process: one AsyncLLM behind an event loop of its own, which the server talks to over a socket.

Started by `process.py` as `python -m app.engines.qwen3.host SOCKET`, in a session of its own: signals meant for the
server do not reach it, and with it all of vLLM's processes can be ended. It ends by itself when the server is gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from app.domain.engines import SAMPLE_RATE
from app.engines.qwen3 import channel
from app.engines.qwen3.channel import Message

_WATCH_SECONDS = 0.5
_NICENESS = 5
_logger = logging.getLogger("qwen3.host")


class Host:
    """Requests in, tokens (or time bins) out. Belongs to the loop it is made on."""

    def __init__(self, engine: Any, plan: Message, writer: asyncio.StreamWriter) -> None:
        self._engine = engine
        self._aligns = plan["runner"] == "pooling"
        self._timestamp = plan.get("timestamp", 0)
        self._writer = writer
        self._jobs: dict[int, asyncio.Task[None]] = {}

    async def warm_up(self, message: Message) -> None:
        """Do once what is slow the first time: vLLM loads tokenizer and feature extractor with the first request."""
        work = self._aligned if self._aligns else self._heard
        async for _ in work(0, message, np.zeros(SAMPLE_RATE, dtype=np.float32)):
            pass

    def take(self, message: Message, body: bytes) -> None:
        """Begin what is asked for, or end it."""
        number: int = message["id"]
        if message["do"] == "drop":
            if job := self._jobs.get(number):
                job.cancel()
            return
        job = asyncio.create_task(self._run(number, message, body))
        self._jobs[number] = job
        job.add_done_callback(lambda _: self._jobs.pop(number, None))

    async def _run(self, number: int, message: Message, body: bytes) -> None:
        from vllm.exceptions import VLLMClientError  # noqa: PLC0415 - seconds to import, and only here

        work = self._aligned if self._aligns else self._heard
        try:
            async for answer in work(number, message, np.frombuffer(body, dtype=np.float32)):
                self._writer.write(channel.packed({"id": number, **answer}))
            await self._writer.drain()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # this request ends here; a dead engine ends the process (`watch`)
            if self._engine.errored:
                return
            _logger.exception("a request failed")
            self._writer.write(
                channel.packed({"id": number, "failed": True, "refused": isinstance(error, VLLMClientError)})
            )

    async def _heard(self, number: int, message: Message, samples: Any) -> AsyncIterator[Message]:
        """Tokens as they come, or all at the end if nobody waits for the first ones."""
        from vllm import SamplingParams  # noqa: PLC0415 - as above
        from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind  # noqa: PLC0415

        loop_size, loop_count = message["loop"]
        sampling = SamplingParams(
            temperature=message["temperature"],
            seed=0,  # the same sound always gives the same words
            max_tokens=message["max_tokens"],
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA if message["streamed"] else RequestOutputKind.FINAL_ONLY,
            repetition_detection=RepetitionDetectionParams(max_pattern_size=loop_size, min_count=loop_count),
        )
        async for output in self._engine.generate(_prompt(message, samples), sampling, str(number)):
            said = output.outputs[0]
            tokens = [
                (token, round(chances[token].logprob, 5))
                for token, chances in zip(said.token_ids, said.logprobs or (), strict=True)
            ]
            if any(math.isnan(chance) for _, chance in tokens):
                raise ArithmeticError("the model's scores are not numbers")
            answer: Message = {"tokens": tokens}
            if output.finished:
                answer |= {"done": said.finish_reason, "prompt_tokens": len(output.prompt_token_ids)}
            yield answer

    async def _aligned(self, number: int, message: Message, samples: Any) -> AsyncIterator[Message]:
        """The likeliest time bin at each place that asks for one."""
        from vllm import PoolingParams  # noqa: PLC0415 - as above

        pooling = PoolingParams(task="token_classify", use_activation=False)
        async for output in self._engine.encode(_prompt(message, samples), pooling, str(number)):
            asked = [place for place, token in enumerate(output.prompt_token_ids) if token == self._timestamp]
            yield {"bins": output.outputs.data[asked].argmax(dim=-1).tolist(), "done": "stop"}


def _prompt(message: Message, samples: Any) -> dict[str, object]:
    return {"prompt": message["prompt"], "multi_modal_data": {"audio": (samples, SAMPLE_RATE)}}


def start_engine(arguments: Message) -> Any:
    """An AsyncLLM. Blocks until its processes are ready."""
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - as above
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


async def serve(sock: socket.socket) -> None:
    """Start what the first frame describes, say so, and answer until the server hangs up or the engine dies."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    first = await channel.receive(reader)
    if first is None:
        return
    plan, _ = first
    try:
        engine = start_engine(plan["engine"])
        host = Host(engine, plan, writer)
        await host.warm_up(plan["warm_up"])
    except BaseException as error:
        _logger.exception("the engine could not be started")
        writer.write(channel.packed({"failed": _first_line(error)}))
        await writer.drain()
        raise
    writer.write(channel.packed({"ready": True}))
    watching = asyncio.create_task(_watch(engine))
    try:
        while frame := await channel.receive(reader):
            host.take(*frame)
    finally:
        watching.cancel()


async def _watch(engine: Any) -> None:
    """End all when the engine has died: the closed socket says so at once."""
    while not engine.errored:  # noqa: ASYNC110 - vLLM has no event for it
        await asyncio.sleep(_WATCH_SECONDS)
    _logger.error("the engine has died")
    os.killpg(0, signal.SIGKILL)  # what is left of it may hang, with the socket open


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:300] or type(error).__name__


def _end_with(parent: int) -> None:
    """Kill this process and all of vLLM's when the server is gone, also while the engine is being started."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the socket whose number is the first argument; the second is the server's process id."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), name="watch", daemon=True).start()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    os.register_at_fork(after_in_child=sock.close)  # or the server would not see the end of this process
    os.nice(max(0, _NICENESS - os.nice(0)))  # after a restart, too: behind the server's event loop
    try:
        asyncio.run(serve(sock))
    finally:
        os.killpg(0, signal.SIGKILL)  # vLLM's processes with it


if __name__ == "__main__":
    main()
