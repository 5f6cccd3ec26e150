"""Where a model is to run, and how much memory there is for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, by the UUID that CUDA_VISIBLE_DEVICES takes, or the machine itself (`gpu` None).

    `memory` are its bytes in all, `free` those nobody uses. `bfloat16`: it computes in that, not only with it.
    """

    gpu: str | None
    memory: int
    free: int
    bfloat16: bool = True
