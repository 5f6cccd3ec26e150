"""pyannote's segmentation-3.0 on ONNX Runtime: who of up to three people speaks when, in ten seconds of sound.

Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization", 2023. The graph is the
project's (segmentation.onnx), the weights are the published checkpoint's. Its first layer is made of band-pass
filters given by two edges each: Ravanelli and Bengio, "Speaker recognition from raw waveform with SincNet", 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.engines import SAMPLE_RATE
from app.domain.errors import EngineFailure
from app.engines.sessions import open_session, run
from app.engines.speakers.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

    Floats = NDArray[np.float32]

CHECKPOINT = "segmentation-3.0/pytorch_model.bin"
_GRAPH = Path(__file__).with_name("segmentation.onnx")
_LAYERS = 4
_LEAST_HERTZ = 50.0
"""The lowest edge and the narrowest band of a filter, as in training."""
_SETS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=np.bool_)
"""The model tells sets of speakers apart: nobody, one of three, two of three."""


class Segmentation:
    """The segmenter; see SpeakerSegmenter. Thread-safe: it keeps nothing between calls.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    id = "segmentation-3.0"
    chunk_seconds = 10.0
    frame_seconds = 270 / SAMPLE_RATE
    first_frame = 495.5 / SAMPLE_RATE
    """The middle of what the first frame hears: it sees 991 samples."""

    def __init__(self, folder: Path) -> None:
        parameters = read_checkpoint(folder / CHECKPOINT)
        try:
            weights = _weights(parameters)
        except KeyError as error:
            raise EngineFailure(f"The checkpoint of {self.id} lacks {error}.") from error
        self._session = open_session(_GRAPH, weights=weights)

    def activity(self, sound: Samples) -> NDArray[np.bool_]:
        """Which of three people speak in each frame of at most `chunk_seconds`: bool of shape (frames, 3). Blocking.

        Numbers mean nothing beyond this chunk.

        Raises:
            EngineFailure: the model failed.
        """
        whole = round(self.chunk_seconds * SAMPLE_RATE)
        padded = np.zeros(whole, np.float32)
        padded[: len(sound)] = sound[:whole]
        [scores] = run(self._session, None, {"sound": padded[None, None]}, told="The speaker segmentation failed.")
        frames = round((len(sound) / SAMPLE_RATE - self.first_frame) / self.frame_seconds) + 1
        return _SETS[scores[0].argmax(axis=-1)][: max(frames, 0)]


def _weights(parameters: dict[str, Floats]) -> dict[str, Floats]:
    """The graph's weights from the checkpoint's parameters.

    Raises:
        KeyError: one is missing.
    """
    convolutions = (name for name in parameters if name.startswith("sincnet.") and ".filterbank." not in name)
    made = {name: parameters[name] for name in convolutions}
    made["sincnet.conv1d.0.filters"] = _filters(parameters)
    for layer in range(_LAYERS):
        ways = [f"l{layer}{way}" for way in ("", "_reverse")]
        made[f"lstm.{layer}.W"] = np.stack([_gates(parameters[f"lstm.weight_ih_{way}"]) for way in ways])
        made[f"lstm.{layer}.R"] = np.stack([_gates(parameters[f"lstm.weight_hh_{way}"]) for way in ways])
        biases = [[_gates(parameters[f"lstm.bias_{part}_{way}"]) for part in ("ih", "hh")] for way in ways]
        made[f"lstm.{layer}.B"] = np.stack([np.concatenate(both) for both in biases])
    for name in ("linear.0", "linear.1", "classifier"):
        made[f"{name}.transposed"] = np.ascontiguousarray(parameters[f"{name}.weight"].T)
        made[f"{name}.bias"] = parameters[f"{name}.bias"]
    return made


def _gates(stacked: Floats) -> Floats:
    """PyTorch stacks an LSTM's gates as input, forget, cell, output; ONNX as input, output, forget, cell."""
    enter, forget, cell, leave = np.split(stacked, 4)
    return np.concatenate([enter, leave, forget, cell])


def _filters(parameters: dict[str, Floats]) -> Floats:
    """Forty band-pass filters, each as a cosine and as a sine: float32 of shape (80, 1, 251)."""
    low_edge, width, window, times = (
        parameters[f"sincnet.conv1d.0.filterbank.{name}_"] for name in ("low_hz", "band_hz", "window", "n")
    )
    low = _LEAST_HERTZ + np.abs(low_edge)
    high = np.clip(low + _LEAST_HERTZ + np.abs(width), _LEAST_HERTZ, SAMPLE_RATE / 2)
    band = 2 * (high - low)
    lower, upper = low @ times, high @ times  # (40, 125): the phase at each sample left of the middle
    even = (np.sin(upper) - np.sin(lower)) / (times / 2) * window
    odd = (np.cos(lower) - np.cos(upper)) / (times / 2) * window
    cosines = np.concatenate([even, band, even[:, ::-1]], axis=1) / band
    sines = np.concatenate([odd, np.zeros_like(band), -odd[:, ::-1]], axis=1) / band
    return np.concatenate([cosines, sines])[:, None].astype(np.float32)
