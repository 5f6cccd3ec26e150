"""The speaker models here against PyTorch: FunASR's own CAM++, and the segmentation written with torch's own layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.domain.engines import SpeakerModels
from app.engines import speakers
from app.settings import Settings
from benchmarks import audio

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="session")
def folder(models_dir: Path) -> Path:
    return models_dir / "speakers"


@pytest.fixture(scope="session")
def models(folder: Path) -> SpeakerModels:
    return speakers.load("speakers", folder, Settings())


@pytest.fixture(scope="session")
def sounds(phone_call: Path) -> dict[str, np.ndarray]:
    """Real speech and what is no speech at all, of several lengths: float32 in [-1, 1]."""
    call = audio.read(phone_call / "sample.wav").astype(np.float32) / 32768
    rng = np.random.default_rng(3)
    cuts = {
        f"call at {start} for {length} s": (start, length) for start in (6.7, 14.5, 22.0) for length in (0.3, 1.6, 3.0)
    }
    found = {name: call[int(start * 16000) : int((start + length) * 16000)] for name, (start, length) in cuts.items()}
    found["the whole call"] = call
    found["noise"] = rng.normal(0, 0.1, 32_000).astype(np.float32)
    found["silence"] = np.zeros(16_000, np.float32)
    return found


def test_embeddings_are_funasrs(models: SpeakerModels, folder: Path, sounds: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    from funasr.models.campplus.model import CAMPPlus  # noqa: PLC0415 - in the heavy environment only
    from funasr.models.campplus.utils import extract_feature  # noqa: PLC0415

    theirs = CAMPPlus(feat_dim=80, embedding_size=192).eval()
    theirs.load_state_dict(torch.load(folder / "campplus_cn_en_common.pt", weights_only=True))
    for name, sound in sounds.items():
        with torch.inference_mode():
            features, *_ = extract_feature([torch.from_numpy(sound)])
            expected = theirs(features.float())[0].numpy()
        ours = models.encoder.embed([sound])[0]
        cosine = float(ours @ expected / np.linalg.norm(expected))
        assert cosine >= 0.9999, f"{name}: {cosine}"


def test_the_segmentation_is_torchs(models: SpeakerModels, folder: Path, sounds: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    parameters = speakers.segmentation.read_checkpoint(folder / "segmentation-3.0/pytorch_model.bin")
    theirs = _reference(torch, parameters)
    for name, sound in sounds.items():
        padded = np.zeros(160_000, np.float32)
        padded[: len(sound)] = sound[:160_000]
        with torch.inference_mode():
            expected = theirs(torch.from_numpy(padded)[None, None])[0].argmax(-1).numpy()
        heard = models.segmenter.activity(padded)
        sets = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.bool_)
        same = (sets[expected] == heard).all(axis=1).mean()
        assert same >= 0.998, f"{name}: {same}"  # a frame on the edge may fall either way


def _reference(torch: Any, parameters: dict[str, np.ndarray]) -> Any:
    """PyanNet as its authors configure it, from torch's own layers: what the graph should compute."""
    weights = {name: torch.from_numpy(value.copy()) for name, value in parameters.items()}
    lstm = torch.nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
    lstm.load_state_dict(
        {name.removeprefix("lstm."): value for name, value in weights.items() if name.startswith("lstm.")}
    )
    functional = torch.nn.functional

    def norm(x: Any, name: str) -> Any:
        return functional.instance_norm(x, weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"])

    def sinc() -> Any:
        edges = "sincnet.conv1d.0.filterbank"
        low = 50 + weights[f"{edges}.low_hz_"].abs()
        high = (low + 50 + weights[f"{edges}.band_hz_"].abs()).clamp(50, 8000)
        times, window = weights[f"{edges}.n_"], weights[f"{edges}.window_"]
        rows = []
        for wave, sign in ((torch.sin, 1), (torch.cos, -1)):
            half = sign * (wave(high * times) - wave(low * times)) / (times / 2) * window
            middle = 2 * (high - low) if sign > 0 else torch.zeros_like(low)
            rows.append(torch.cat([half, middle, sign * half.flip(1)], 1) / (2 * (high - low)))
        return torch.cat(rows)[:, None]

    def forward(x: Any) -> Any:
        x = functional.conv1d(norm(x, "sincnet.wav_norm1d"), sinc(), stride=10).abs()
        for layer in range(3):
            if layer:
                name = f"sincnet.conv1d.{layer}"
                x = functional.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
            x = functional.leaky_relu(norm(functional.max_pool1d(x, 3), f"sincnet.norm1d.{layer}"))
        x, _ = lstm(x.transpose(1, 2))
        for name in ("linear.0", "linear.1"):
            x = functional.leaky_relu(functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
        return functional.linear(x, weights["classifier.weight"], weights["classifier.bias"])

    return forward


def test_the_graphs_are_what_the_recipe_makes(tmp_path: Path) -> None:
    from tests.models import speaker_graphs  # noqa: PLC0415 - needs onnx, which only the heavy environment has

    for made in speaker_graphs.write(tmp_path):
        assert made.read_bytes() == (speaker_graphs.GRAPHS / made.name).read_bytes(), made.name


def test_the_engines_import_no_torch(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.engines import speakers; from app.settings import Settings; "
        "speakers.load('speakers', Path(sys.argv[1]), Settings()); print('torch' in sys.modules, 'onnx' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == ["False", "False"]
