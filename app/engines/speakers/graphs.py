"""Weightless ONNX graphs, filled with a checkpoint's weights when they are loaded.

Where a model is published as a checkpoint only, the project keeps its graph, made by a recipe of its own
(tests/models/speaker_graphs.py), and takes the weights from the verified file: neither PyTorch nor onnx is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as ort

from app.domain.errors import EngineFailure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def filled_session(graph: Path, weights: dict[str, NDArray[np.float32]], name: str) -> ort.InferenceSession:
    """A session of `graph` with its external initializers taken from `weights`; one thread a call.

    Raises:
        EngineFailure: a weight is missing or has another shape; `name` says of which model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the compute budget is spent across requests, not inside one
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers(
        list(weights), [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    )
    try:
        return ort.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
        raise EngineFailure(f"The weights of {name} do not fit its graph.") from error
