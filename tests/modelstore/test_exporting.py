"""Exporting where torch and FunASR are not installed, and checkpoints that are refused before either is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from app.domain.errors import ModelStoreError
from app.modelstore.exporting import export


@pytest.fixture(autouse=True)
def no_frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "funasr"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": "Paraformer"}), "utf-8")
    (folder / "tokens.json").write_text(json.dumps(["<blank>", "<s>", "</s>", "<unk>"]), "utf-8")
    (folder / "am.mvn").write_text("", "utf-8")
    (folder / "model.pt").write_bytes(b"")
    return folder


def refused(checkpoint: Path) -> str:
    lines: list[str] = []
    target = checkpoint.parent / "target"
    with pytest.raises(ModelStoreError) as caught:
        export(checkpoint, target, progress=lines.append)
    assert not lines
    assert [path.name for path in checkpoint.parent.iterdir()] == ["checkpoint"]
    return caught.value.message


def test_without_torch_it_says_what_to_install(checkpoint: Path) -> None:
    message = refused(checkpoint)
    assert "torch is not installed" in message
    assert "python -m pip install -r requirements-models.txt" in message


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", None, "config.yaml of the checkpoint cannot be read: No such file"),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml of the checkpoint cannot be read: it is not text"),
        ("config.yaml", b"model: [", "config.yaml of the checkpoint is not YAML"),
        (
            "config.yaml",
            b"- Paraformer",
            "config.yaml of the checkpoint describes None; what can be exported: Paraformer",
        ),
        ("config.yaml", b"model: !!python/name:os.system", "config.yaml of the checkpoint is not YAML"),
        ("config.yaml", b"model: Whisper", "config.yaml of the checkpoint describes 'Whisper'"),
        ("tokens.json", None, "tokens.json of the checkpoint cannot be read: No such file"),
        ("tokens.json", b"[", "tokens.json of the checkpoint is not a list of tokens"),
        ("tokens.json", b"{}", "tokens.json of the checkpoint is not a list of tokens"),
        ("am.mvn", None, "am.mvn of the checkpoint cannot be read: No such file"),
    ],
)
def test_a_file_that_is_missing_or_something_else_is_named(
    checkpoint: Path, file: str, content: bytes | None, message: str
) -> None:
    (checkpoint / file).unlink()
    if content is not None:
        (checkpoint / file).write_bytes(content)
    assert message in refused(checkpoint)
