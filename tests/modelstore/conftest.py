from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from app.modelstore.catalog import (
    Catalog,
    HubFile,
    HuggingFaceMirror,
    Mirror,
    ModelEntry,
    ModelFile,
    ModelScopeMirror,
    WheelMirror,
)
from app.modelstore.mirrors import Endpoints, Timeouts
from app.modelstore.store import ModelStore
from app.settings import Settings

from .mirror import Hub

CONTENT = {"config.json": b'{"small": true}', "sub/model.bin": bytes(range(256)) * 4000}
SCOPE = "/models/org/toy.v1/resolve/master/onnx/"
FACE = "/org/toy/resolve/main/"

SAID = {
    "config.yaml": b"model: Said",
    "model_quant.onnx": bytes(range(256)) * 200,
    "model_eb.onnx": bytes(range(255, -1, -1)) * 20,
}
"""What the hubs have of the entry whose files the catalog only names."""
SCOPE_LIST = "/api/v1/models/org/said/repo/files?Revision=master&Recursive=true"
FACE_LIST = "/api/models/org/said/tree/main?recursive=true"


@dataclass
class Notes:
    """A Progress that keeps what it is told."""

    started: list[tuple[str, int | None, int]] = field(default_factory=list)
    bytes: int = 0
    finished: int = 0
    notes: list[str] = field(default_factory=list)

    def start(self, label: str, total: int | None, done: int = 0) -> None:
        self.started.append((label, total, done))

    def advance(self, count: int) -> None:
        self.bytes += count

    def finish(self) -> None:
        self.finished += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


def toy_catalog(*more: Mirror, content: dict[str, bytes] | None = None) -> Catalog:
    files = tuple(
        ModelFile(path, len(body), hashlib.sha256(body).hexdigest()) for path, body in (content or CONTENT).items()
    )
    return Catalog(
        models=(
            ModelEntry(
                id="toy",
                role="asr",
                engine="whisper",
                title="Toy",
                licence="MIT",
                licence_url="",
                homepage="https://example.org/toy",
                languages="none",
                files=files,
                mirrors=(ModelScopeMirror("org/toy.v1", prefix="onnx"), HuggingFaceMirror("org/toy"), *more),
            ),
        )
    )


def hub_catalog(*more: ModelEntry, entry_id: str = "said") -> Catalog:
    said = ModelEntry(
        id=entry_id,
        role="asr",
        engine="paraformer",
        title="Said",
        licence="MIT",
        licence_url="",
        homepage="https://example.org/said",
        languages="none",
        hub_files=(
            HubFile("config.yaml"),
            HubFile("seg_dict", optional=True),
            HubFile("model_quant.onnx"),
            HubFile("model_eb.onnx", instead="model_eb_quant.onnx"),
        ),
        mirrors=(ModelScopeMirror("org/said", prefix="onnx"), HuggingFaceMirror("org/said")),
    )
    return Catalog(models=(said, *more))


def scope_list(content: dict[str, bytes], prefix: str = "onnx/") -> bytes:
    """A repository as ModelScope lists it: folders too, and files that nobody asked for."""
    rows = [
        {"Path": prefix + path, "Size": len(body), "Sha256": hashlib.sha256(body).hexdigest(), "Type": "blob"}
        for path, body in content.items()
    ]
    rows += [{"Path": "onnx", "Size": 0, "Sha256": "", "Type": "tree"}]
    rows += [{"Path": "config.yaml", "Size": 3, "Sha256": "0" * 64, "Type": "blob"}] if prefix else []
    return json.dumps({"Code": 200, "Data": {"Files": rows}, "Success": True}).encode()


def face_list(content: dict[str, bytes]) -> bytes:
    """A repository as Hugging Face lists it: sha256 of large files (*.onnx here), git's hash of small ones."""
    rows: list[dict[str, Any]] = [{"type": "directory", "path": "more", "size": 0, "oid": "0" * 40}]
    for path, body in content.items():
        blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        large = {"lfs": {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}}
        row = {"type": "file", "path": path, "size": len(body), "oid": blob}
        rows.append({**row, "oid": "0" * 40, **large} if path.endswith(".onnx") else row)
    return json.dumps(rows).encode()


def write_files(folder: Path, content: dict[str, bytes] | None = None) -> Path:
    for path, body in (content or CONTENT).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    return folder


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member, body in members.items():
            archive.writestr(member, body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def wheel_mirror(folder: Path, *requirements: str, **members: tuple[str, ...]) -> WheelMirror:
    return WheelMirror(requirements, members, ("--no-index", "--find-links", str(folder)))


@pytest.fixture(autouse=True)
def no_proxy_for_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def scope() -> Iterator[Hub]:
    """A ModelScope with the toy model."""
    with Hub({SCOPE + path: body for path, body in CONTENT.items()}) as hub:
        yield hub


@pytest.fixture
def face() -> Iterator[Hub]:
    """A Hugging Face with the toy model."""
    with Hub({FACE + path: body for path, body in CONTENT.items()}) as hub:
        yield hub


class Publish(Protocol):
    def __call__(self, scope: dict[str, bytes] | None = None, face: dict[str, bytes] | None = None) -> None: ...


@pytest.fixture
def publish(scope: Hub, face: Hub) -> Publish:
    """Put files, and the lists of them, into the hubs in place of what was there."""
    scope_hub, face_hub = scope, face

    def put(scope: dict[str, bytes] | None = None, face: dict[str, bytes] | None = None) -> None:
        if scope is not None:
            scope_hub.files = {f"/models/org/said/resolve/master/onnx/{path}": body for path, body in scope.items()} | {
                SCOPE_LIST: scope_list(scope)
            }
        if face is not None:
            face_hub.files = {f"/org/said/resolve/main/{path}": body for path, body in face.items()} | {
                FACE_LIST: face_list(face)
            }

    return put


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "models_dir": tmp_path / "models",
            "modelscope_path": tmp_path / "modelscope",
            "hf_home": tmp_path / "huggingface",
            "model_mirrors": ["modelscope", "huggingface"],
            "hf_hub_offline": False,
            "asr_model": "auto",
            "device": "auto",
        }
        return Settings(_env_file=None, **{**values, **changes})  # pyright: ignore[reportCallIssue]

    return make


@pytest.fixture
def make_store(make_settings: Callable[..., Settings], scope: Hub, face: Hub) -> Callable[..., ModelStore]:
    def make(catalog: Catalog | None = None, timeouts: Timeouts | None = None, **changes: Any) -> ModelStore:
        return ModelStore(
            make_settings(**changes),
            catalog=catalog or toy_catalog(),
            endpoints=Endpoints(modelscope=scope.url, huggingface=face.url),
            timeouts=timeouts or Timeouts(connect=0.5, read=0.5, stall=20),
        )

    return make
