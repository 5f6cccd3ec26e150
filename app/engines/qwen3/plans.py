"""What vLLM is told to start: from a checkpoint, its share of the memory, and where it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.domain.devices import Device
from app.domain.options import RecognitionOptions
from app.engines.qwen3.checkpoint import Checkpoint
from app.engines.qwen3.loops import LONGEST_UNIT, TOLERATED
from app.engines.qwen3.memory import Budget, Card, smaller
from app.engines.qwen3.prompts import alignment_prompt, recognition_prompt
from app.engines.qwen3.spawning import Plan
from app.settings import Settings

_LOOP = (LONGEST_UNIT, TOLERATED + 1)
"""A unit of up to so many tokens that comes so many times in a row is a loop: vLLM then ends the piece."""
_ALIGNER = "Qwen3ASRForcedAlignerForTokenClassification"
"""vLLM's class; the checkpoint names that of the recogniser."""


def plans(name: str, checkpoint: Checkpoint, budget: Budget, device: Device, settings: Settings) -> list[Plan]:
    """What to start, and what instead where that takes too much memory."""
    return [_plan(name, checkpoint, step, device, settings) for step in _ladder(budget)]


def number_type(device: Device, settings: Settings) -> str:
    """vLLM's dtype: bfloat16, as the models were published; float32 if that is asked for (ASR_COMPUTE_TYPE), and on a
    CPU that has no instructions for the other."""
    if settings.asr_compute_type == "float32" or not device.bfloat16:
        return "float32"
    return "bfloat16"


def _ladder(budget: Budget) -> Iterator[Budget]:
    step: Budget | None = budget
    while step is not None:
        yield step
        step = smaller(step)


def _plan(name: str, checkpoint: Checkpoint, budget: Budget, device: Device, settings: Settings) -> Plan:
    engine: dict[str, object] = {
        "model": str(checkpoint.folder),
        "dtype": number_type(device, settings),
        "max_model_len": budget.max_model_len,
        "max_num_seqs": budget.max_num_seqs,
        "max_num_batched_tokens": budget.max_num_batched_tokens,
        "kv_cache_memory_bytes": budget.kv_cache_bytes,
        "limit_mm_per_prompt": {"audio": 1},
        # No two pieces are alike: nothing to be found in a cache.
        "enable_prefix_caching": False,
        "mm_processor_cache_gb": 0,
        "disable_log_stats": True,
        "seed": 0,
    }
    if device.gpu is None:
        engine |= {"enforce_eager": True, "skip_mm_profiling": True}  # compiling takes minutes, and gains little here
    else:
        engine["gpu_memory_utilization"] = round(budget.share_of(Card(device.memory, device.free)), 4)
    warm_up: dict[str, object] = {"prompt": alignment_prompt(["a"])}
    if checkpoint.aligns:
        engine |= {"runner": "pooling", "hf_overrides": {"architectures": [_ALIGNER]}}
    else:
        warm_up = question(recognition_prompt(RecognitionOptions()).text, max_tokens=1) | {"streamed": False}
    return Plan(
        name=name,
        engine=engine,
        warm_up=warm_up,
        runner="pooling" if checkpoint.aligns else "generate",
        timestamp=checkpoint.timestamp_token,
        environment=_environment(device, settings),
    )


def question(prompt: str, *, max_tokens: int, temperature: float = 0.0) -> dict[str, object]:
    """What the process is asked for one piece."""
    return {"do": "hear", "prompt": prompt, "max_tokens": max_tokens, "temperature": temperature, "loop": _LOOP}


def _environment(device: Device, settings: Settings) -> Mapping[str, str]:
    if device.gpu is not None:
        # Nothing is sampled by rank, so that nothing has to be compiled for it.
        own = {"CUDA_VISIBLE_DEVICES": device.gpu, "VLLM_USE_FLASHINFER_SAMPLER": "0"}
        return own if os.access(Path.home(), os.W_OK) else {**_caches(settings.data_dir / "vllm"), **own}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    bound = ",".join(map(str, cores[: settings.threads]))
    return {"CUDA_VISIBLE_DEVICES": "", **({"VLLM_CPU_OMP_THREADS_BIND": bound} if bound else {})}


def _caches(folder: Path) -> Mapping[str, str]:
    """Where vLLM and its compilers keep what they made, for a user without a home."""
    named = {"VLLM_CACHE_ROOT": folder, "TRITON_CACHE_DIR": folder / "triton", "FLASHINFER_WORKSPACE_BASE": folder}
    return {name: os.environ.get(name, str(path.resolve())) for name, path in named.items()}
