"""ONNX Runtime as every engine here uses it: one thread a call, and failures that are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from app.domain.errors import EngineFailure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Session = ort.InferenceSession
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def has_cuda() -> bool:
    """Whether this ONNX Runtime can use a GPU."""
    return _CUDA in ort.get_available_providers()


def open_session(
    path: Path,
    *,
    content: bytes | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    cuda: bool = False,
) -> Session:
    """A session for the graph in `path` (or for `content`, which was read from it), its external initializers taken
    from `weights`.

    Raises:
        EngineFailure: there is no such file, it is not a whole graph, or the weights do not fit it.
    """
    if not path.is_file():
        raise EngineFailure(f"{path.name} is missing.")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # the compute budget is spent across requests, not inside one
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what fails is raised, and told where it matters
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    providers = [_CUDA, _CPU] if cuda else [_CPU]
    try:
        return Session(path if content is None else content, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no ancestor of their own
        fault = "does not fit the checkpoint's weights" if weights else "is not a whole ONNX model"
        raise EngineFailure(f"{path.name} {fault} ({_first_line(error)}).") from error


def run(session: Session, outputs: Sequence[str] | None, feed: Mapping[str, Any], *, told: str) -> list[Any]:
    """The outputs (all, where none are named). Blocking, thread-safe.

    Raises:
        EngineFailure: the graph failed; `told` says so, and ONNX Runtime's own error is its cause.
    """
    try:
        return list(session.run(outputs, dict(feed)))
    except Exception as error:  # as above
        raise EngineFailure(told) from error


def _first_line(error: Exception) -> str:
    """What ONNX Runtime says, without where on this machine it says it of."""
    lines = str(error).splitlines()
    said = lines[0] if lines else type(error).__name__
    return said.split(" : ")[-1].rsplit(" from ", 1)[0].split(" failed:")[-1].strip()[:160]
