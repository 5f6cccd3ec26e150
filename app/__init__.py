"""A self-hosted speech recognition server."""

import os

__version__ = "0.1.0"

# Before anything imports numpy. OpenBLAS ends its helper threads when the process forks, as it does to start a decoder,
# and a matrix product that runs on another thread at that moment waits for them for ever. What is multiplied here is
# small, and on as many threads as there are cores already.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Before anything imports ONNX Runtime, which from 1.31 on counts what it runs for its makers, in files under the home
# folder, unless it is told not to. Nothing of what people run here is anybody else's.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
