"""Folders that are, or are not, what vLLM should be given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from models.small_qwen import make

from app.domain.errors import EngineFailure
from app.engines.qwen3.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        (kind, layout): make(root / f"{kind}-{layout}", kind=kind, layout=layout, classify_num=300)
        for kind in ("random", "aligner")
        for layout in ("original", "hf")
    }


@pytest.fixture
def folder(made: dict[tuple[str, str], Path], tmp_path: Path) -> Path:
    """One to break."""
    for file in made["random", "original"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("layout", ["original", "hf"])
def test_both_layouts_are_read(made: dict[tuple[str, str], Path], layout: str) -> None:
    recognizer = read_checkpoint(made["random", layout], aligns=False)
    weights = (made["random", layout] / "model.safetensors").stat().st_size
    assert (recognizer.weight_bytes, recognizer.kv_bytes) == (weights, 2 * 2 * 1 * 128 * 2)


def test_an_aligner_is_read(made: dict[tuple[str, str], Path]) -> None:
    aligner = read_checkpoint(made["aligner", "original"], aligns=True)
    assert (aligner.timestamp_token, aligner.bin_seconds) == (151_705, 0.08)


def test_the_aligners_other_layout_is_refused(made: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(EngineFailure, match=r"Qwen/Qwen3-ForcedAligner-0\.6B is the one to have"):
        read_checkpoint(made["aligner", "hf"], aligns=True)


def test_a_recogniser_is_no_aligner(made: dict[tuple[str, str], Path]) -> None:
    with pytest.raises(EngineFailure, match=r"config\.json is of a recogniser, and an aligner is needed"):
        read_checkpoint(made["random", "original"], aligns=True)
    with pytest.raises(EngineFailure, match=r"config\.json is of a forced aligner, and a recogniser is needed"):
        read_checkpoint(made["aligner", "hf"], aligns=False)


def test_weights_under_other_names_are_refused(folder: Path) -> None:
    """A loader would pass over them and run on chance."""
    rename(folder / "model.safetensors", lambda name: name.removeprefix("thinker."))
    with pytest.raises(EngineFailure, match=r"model\.safetensors lacks \d+ of the model's weights"):
        read_checkpoint(folder, aligns=False)


def test_one_missing_layer_is_refused(folder: Path) -> None:
    gone = "thinker.audio_tower.layers.1.fc2.weight"
    rename(folder / "model.safetensors", lambda name: "something.else" if name == gone else name)
    with pytest.raises(EngineFailure, match=r"lacks 1 of the model's weights, thinker\.audio_tower\.layers\.1\.fc2"):
        read_checkpoint(folder, aligns=False)


def test_a_missing_part_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(EngineFailure, match=r"model-00002-of-00002\.safetensors is missing"):
        read_checkpoint(folder, aligns=False)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"config\.json is missing"),
        ("config.json", b"{", r"config\.json is not JSON"),
        ("config.json", b"[1]", r"config\.json is not a JSON object"),
        ("config.json", b'{"model_type": "whisper"}', r"config\.json is of another kind of model \('whisper'\)"),
        ("config.json", b'{"model_type": "qwen3_asr", "thinker_config": {}}', "says nothing of text_config"),
        ("model.safetensors", None, r"model\.safetensors is missing"),
        ("model.safetensors", b"", r"model\.safetensors is not a whole safetensors file"),
        ("model.safetensors", b"\xff" * 64, r"model\.safetensors is not a whole safetensors file"),
        ("model.safetensors", b"\x02" + bytes(7) + b"[]", r"model\.safetensors is not a whole safetensors file"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, file: str, content: bytes | None, message: str) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(EngineFailure, match=message):
        read_checkpoint(folder, aligns=False)


def test_half_a_file_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(EngineFailure, match="its size is not what its header says"):
        read_checkpoint(folder, aligns=False)


def rename(file: Path, renamed: Callable[[str], str]) -> None:
    """Give tensors other names."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = {renamed(name): tensor for name, tensor in json.loads(content[8 : 8 + length]).items()}
    written = json.dumps(header).encode()
    file.write_bytes(len(written).to_bytes(8, "little") + written + content[8 + length :])
