"""A self-hosted speech recognition server."""

import contextlib
import ctypes
import os

__version__ = "0.1.0"

# Before anything imports numpy. OpenBLAS ends its helper threads when the process forks, as it does to start a decoder,
# and a matrix product that runs on another thread at that moment waits for them for ever. What is multiplied here is
# small, and on as many threads as there are cores already.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Before anything imports ONNX Runtime, which from 1.31 on counts what it runs for its makers, in files under the home
# folder, unless it is told not to. Nothing of what people run here is anybody else's.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Before anything starts a thread. glibc gives threads a heap each, up to eight per core, and what a heap once took at
# its fullest it rarely gives back: a server whose work wanders over its threads has all of them grow one after another.
# Two are enough for what is allocated here at once (docs/soak.md has what this saves). Whoever sets MALLOC_ARENA_MAX
# knows better; a system without glibc has no such function, or none that takes this.
if "MALLOC_ARENA_MAX" not in os.environ:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX, by malloc.h
