"""CAM++ on ONNX Runtime: what a voice sounds like, as 192 numbers.

Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking", 2023. The
graph is the project's (campplus.onnx), the weights are the published checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.domain.errors import EngineFailure
from app.engines.banks import filter_banks
from app.engines.sessions import open_session, run
from app.engines.speakers.checkpoints import read_checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples

CHECKPOINT = "campplus_cn_en_common.pt"
_GRAPH = Path(__file__).with_name("campplus.onnx")
_LEAST_FRAMES = 10
"""Fewer than 0.1 s are not a voice: standard deviations over time need a few frames."""


class CampPlus:
    """The encoder; see SpeakerEncoder. Thread-safe: it keeps nothing between calls.

    Raises:
        EngineFailure: the folder does not hold the model.
    """

    id = "campplus-zh-en"
    size = 192

    def __init__(self, folder: Path) -> None:
        parameters = read_checkpoint(folder / CHECKPOINT)
        # Counters of training steps are no weights.
        weights = {name: value for name, value in parameters.items() if not name.endswith(".num_batches_tracked")}
        self._session = open_session(_GRAPH, weights=weights)

    def embed(self, sounds: Sequence[Samples]) -> NDArray[np.float32]:
        """One unit-length embedding for each sound: float32 of shape (len(sounds), 192). Blocking.

        Sounds of equal length share a call, which changes nothing but the speed.

        Raises:
            EngineFailure: a sound is shorter than 0.12 s, or the model failed.
        """
        features = [_features(sound) for sound in sounds]
        made = np.zeros((len(sounds), self.size), np.float32)
        for length in {len(feature) for feature in features}:
            places = [index for index, feature in enumerate(features) if len(feature) == length]
            made[places] = self._run(np.stack([features[index] for index in places]))
        return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), np.float32(1e-9))

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        [embeddings] = run(self._session, None, {"features": batch}, told="The speaker encoder failed.")
        return np.asarray(embeddings, dtype=np.float32)


def _features(sound: Samples) -> NDArray[np.float32]:
    """80 log mel energies a frame, the mean over time taken off: what the model was trained on."""
    banks = filter_banks(sound, window="povey", scale=1.0)
    if len(banks) < _LEAST_FRAMES:
        raise EngineFailure("A sound is too short to tell a voice by.")
    return banks - banks.mean(axis=0, keepdims=True)
