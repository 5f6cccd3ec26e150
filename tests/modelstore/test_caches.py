"""Folders that are already here: an operator's own, and other programs' caches."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.errors import ModelStoreError, VerificationFailed
from app.modelstore.store import ModelStore

from .conftest import CONTENT, write_files
from .mirror import Hub

MakeStore = Callable[..., ModelStore]


def huggingface_cache(root: Path, content: dict[str, bytes], revision: str = "abc", head: bool = True) -> Path:
    """As the hub's client lays it out: content-named blobs, and snapshots of links to them."""
    repository = root / "hub" / "models--org--toy"
    for number, (path, body) in enumerate(content.items()):
        blob = repository / "blobs" / f"{revision}{number}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(body)
        link = repository / "snapshots" / revision / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if head:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(revision)
    return repository / "snapshots" / revision


def test_a_hugging_face_cache_is_used_in_place(make_store: MakeStore, scope: Hub, face: Hub) -> None:
    store = make_store()
    huggingface_cache(store.settings.hf_home, {"config.json": b"an older one"}, "old", head=False)
    snapshot = huggingface_cache(store.settings.hf_home, CONTENT, "new")
    assert store.ensure("toy") == snapshot
    found = store.find("toy")
    assert found is not None
    assert found.origin == "Hugging Face cache"
    assert scope.requests == face.requests == []
    assert not store.target("toy").exists()


@pytest.mark.parametrize(
    "place",
    ["org/toy.v1", "org/toy___v1", "hub/models/org/toy___v1", "models/org/toy.v1", "hub/org/toy___v1"],
)
def test_a_modelscope_cache_is_used_in_place(make_store: MakeStore, scope: Hub, place: str) -> None:
    store = make_store()
    folder = write_files(store.settings.modelscope_path / place / "onnx")
    assert store.ensure("toy") == folder
    assert scope.requests == []


def test_the_older_layout_beside_models_is_found(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(modelscope_path=tmp_path / "hub" / "models")
    folder = write_files(tmp_path / "hub" / "org" / "toy___v1" / "onnx")
    assert store.locate("toy") == folder


def test_a_cache_is_hashed_once(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    snapshot = huggingface_cache(store.settings.hf_home, CONTENT)
    assert store.locate("toy") == snapshot
    hashed: list[Path] = []
    monkeypatch.setattr("app.modelstore.caches.sha256_of", lambda path: hashed.append(path) or "")
    assert make_store().locate("toy") == snapshot
    assert hashed == []
    os.utime(snapshot / "config.json", ns=(1, 1))
    assert make_store().locate("toy") is None  # changed since: looked at again, and found wrong (by the stand-in)
    assert hashed == [snapshot / "config.json"]


def test_a_cache_with_one_other_file_saves_the_rest(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    edited = CONTENT["config.json"].swapcase()
    snapshot = huggingface_cache(store.settings.hf_home, {**CONTENT, "config.json": edited})
    assert store.locate("toy") is None
    folder = store.ensure("toy")
    assert folder == store.target("toy")
    assert (folder / "config.json").read_bytes() == CONTENT["config.json"]
    assert (snapshot / "config.json").read_bytes() == edited  # other people's caches are never written
    assert scope.asked("model.bin") == []


def test_an_own_folder_comes_first_and_is_not_checked(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write_files(tmp_path / "own", {"anything.onnx": b"mine"})
    monkeypatch.setenv("ASR_MODEL_DIR_TOY", str(own))
    store = make_store(hf_hub_offline=True)
    write_files(store.target("toy"))
    assert store.ensure("toy") == own
    assert store.verify("toy").path == own


def test_an_own_folder_that_is_not_there_is_an_error(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR_MODEL_DIR_TOY", "/nowhere/at/all")
    with pytest.raises(ModelStoreError, match="folder set for toy is not there") as failure:
        make_store().locate("toy")
    assert "/nowhere/at/all" in failure.value.__notes__[0]
    assert "/nowhere" not in failure.value.message


def test_verify_names_the_file_that_rotted(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    folder = store.ensure("toy")
    assert store.verify("toy").path == folder
    rotten = folder / "sub" / "model.bin"
    before = rotten.stat()
    rotten.write_bytes(CONTENT["sub/model.bin"][:-1] + b"?")
    os.utime(rotten, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk would: no trace in the times
    assert store.locate("toy") == folder
    with pytest.raises(VerificationFailed, match=r"toy: sub/model.bin holds other bytes"):
        store.verify("toy")
    assert store.locate("toy") is None  # what verify found is remembered
    store.ensure("toy")
    assert store.verify("toy").path == folder
    (folder / "config.json").unlink()
    with pytest.raises(VerificationFailed, match=r"config.json is missing"):
        store.verify("toy")


def test_verify_of_what_is_not_here(make_store: MakeStore) -> None:
    with pytest.raises(ModelStoreError, match="not on this machine"):
        make_store().verify("toy")


def test_a_read_only_memory_only_costs_time(make_store: MakeStore) -> None:
    store = make_store()
    write_files(store.target("toy"))
    (store.settings.models_dir / ".verified").write_text("a file where the folder should be")
    assert store.locate("toy") == store.target("toy")
