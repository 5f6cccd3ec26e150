"""Entries with weights in any number of parts: Qwen3-ASR's repositories, in both layouts, whole and half."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.errors import DownloadFailed
from app.modelstore.catalog import CATALOG, QWEN3_ASR_LARGE, Catalog, HubFile, HuggingFaceMirror, ModelScopeMirror
from app.modelstore.packing import pack, unpack
from app.modelstore.store import ModelStore

from .conftest import Publish, hub_catalog, write_files
from .mirror import Hub

MakeStore = Callable[..., ModelStore]
TEXT = {name: name.encode() for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json")}
WHOLE = {**TEXT, "vocab.json": b"{}", "merges.txt": b"#", "model.safetensors": b"w" * 999}
PARTS = {f"model-0000{number}-of-00003.safetensors": bytes([number]) * 500 for number in (1, 2, 3)}
SHARDED = {**TEXT, "vocab.json": b"{}", "merges.txt": b"#", "model.safetensors.index.json": b"{ }", **PARTS}
HF = {
    **{name: body for name, body in TEXT.items() if not name.startswith("preprocessor")},
    **{"processor_config.json": b"p", "tokenizer.json": b"t", "chat_template.jinja": b"c", "model.safetensors": b"w"},
}
MIDDLE = "model-00002-of-00003.safetensors"
LAYOUTS = pytest.mark.parametrize("content", [WHOLE, SHARDED, HF], ids=["whole", "sharded", "hf"])


@pytest.fixture
def make_qwen(make_store: MakeStore) -> MakeStore:
    """A store with the catalog's Qwen3-ASR, at the address where the test's hubs have their model."""
    said = hub_catalog().models[0]
    catalog = Catalog(models=(replace(QWEN3_ASR_LARGE, id="said", mirrors=said.mirrors),))
    return lambda **changes: make_store(catalog, **changes)


def in_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@LAYOUTS
@pytest.mark.parametrize("hub", ["scope", "face"])
def test_every_layout_comes_whole(
    make_qwen: MakeStore, publish: Publish, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes], hub: str
) -> None:
    more = {"README.md": b"not asked for", "sub/extra.safetensors": b"nor that", ".gitattributes": b"-"}
    publish(**{hub: {**content, **more}})
    store = make_qwen()
    assert in_folder(store.ensure("said")) == content
    offline = make_qwen(hf_hub_offline=True)
    found = offline.find("said")
    assert found is not None
    assert not found.as_found
    assert offline.entry("said").size == sum(map(len, content.values()))


@pytest.mark.parametrize("lost", [MIDDLE, "model-00003-of-00003.safetensors"])
def test_a_hub_with_half_the_parts_has_none(make_qwen: MakeStore, publish: Publish, lost: str) -> None:
    publish(scope={name: body for name, body in SHARDED.items() if name != lost})
    with pytest.raises(DownloadFailed, match=r"its repository has no \*\.safetensors"):
        make_qwen(model_mirrors=["modelscope"]).ensure("said")


def test_a_part_that_was_lost_is_fetched_again(make_qwen: MakeStore, publish: Publish, scope: Hub) -> None:
    publish(scope=SHARDED)
    store = make_qwen()
    folder = store.ensure("said")
    (folder / MIDDLE).unlink()
    assert store.find("said") is None
    scope.requests.clear()
    assert in_folder(store.ensure("said")) == SHARDED
    assert [path.rpartition("/")[2] for path, _ in scope.requests if path.endswith(".safetensors")] == [MIDDLE]


@LAYOUTS
@pytest.mark.parametrize("cache", ["modelscope", "huggingface"])
def test_a_cache_is_used_in_place(make_qwen: MakeStore, content: dict[str, bytes], cache: str) -> None:
    store = make_qwen(hf_hub_offline=True)
    if cache == "modelscope":
        folder = store.settings.modelscope_path / "models" / "org" / "said" / "onnx"
    else:
        folder = store.settings.hf_home / "hub" / "models--org--said" / "snapshots" / "abc"
    write_files(folder, content)
    assert store.locate("said") == folder
    assert {file.path for file in store.entry("said").files} == set(content)


@pytest.mark.parametrize("lost", ["config.json", "vocab.json", "preprocessor_config.json", MIDDLE, *PARTS])
def test_half_a_cache_is_not_taken(make_qwen: MakeStore, lost: str) -> None:
    store = make_qwen(hf_hub_offline=True)
    content = {name: body for name, body in SHARDED.items() if name != lost}
    write_files(store.settings.modelscope_path / "models" / "org" / "said" / "onnx", content)
    assert store.locate("said") is None


def test_packed_here_and_unpacked_there(
    make_qwen: MakeStore, make_store: MakeStore, publish: Publish, tmp_path: Path
) -> None:
    publish(scope=SHARDED)
    store = make_qwen()
    store.ensure("said")
    assert pack(store, ["said"], tmp_path / "models.tar") == ["said"]
    there = make_qwen(models_dir=tmp_path / "there", hf_hub_offline=True)
    assert unpack(there, tmp_path / "models.tar") == ["said"]
    assert in_folder(there.target("said")) == SHARDED
    assert there.verify("said").path == there.target("said")


def test_a_record_that_lost_a_part_is_made_anew(make_qwen: MakeStore, publish: Publish) -> None:
    publish(scope=SHARDED)
    store = make_qwen()
    store.ensure("said")
    record = store.manifests.path("said")
    said = json.loads(record.read_text())
    said["files"] = [one for one in said["files"] if one["path"] != MIDDLE]
    record.write_text(json.dumps(said))
    assert make_qwen().entry("said").files == ()


@pytest.mark.parametrize(
    ("wanted", "listed", "found"),
    [
        (HubFile("a.bin"), ["b.bin", "a.bin"], ("a.bin",)),
        (HubFile("a.bin", instead="b.bin"), ["b.bin"], ("b.bin",)),
        (HubFile("a.bin", instead="b.bin"), ["b.bin", "a.bin"], ("a.bin",)),
        (HubFile("*.bin"), ["b.bin", "a.bin", "a.bin", "a.txt"], ("a.bin", "b.bin")),
        (HubFile("*.bin"), ["../a.bin", "sub/a.bin", "a b.bin", "a\n.bin", "ä.bin"], ()),
        (HubFile("sub/*.bin"), ["sub/a.bin", "a.bin", "sub/sub/a.bin"], ("sub/a.bin",)),
        (HubFile("*.bin"), ["x-1-of-2.bin", "y-2-of-2.bin"], ()),
        (HubFile("*.bin", instead="c.txt"), ["x-1-of-2.bin", "c.txt"], ("c.txt",)),
        (HubFile("a.b[in]"), ["a.bi", "a.b[in]"], ("a.b[in]",)),
    ],
)
def test_which_names_are_meant(wanted: HubFile, listed: list[str], found: tuple[str, ...]) -> None:
    assert wanted.among(listed) == found


@pytest.mark.parametrize(
    ("model_id", "repo", "role"),
    [
        ("qwen3-asr-1.7b", "Qwen/Qwen3-ASR-1.7B", "asr"),
        ("qwen3-asr-0.6b", "Qwen/Qwen3-ASR-0.6B", "asr"),
        ("qwen3-forced-aligner", "Qwen/Qwen3-ForcedAligner-0.6B", "aligner"),
    ],
)
def test_the_catalog_names_the_official_repositories(model_id: str, repo: str, role: str) -> None:
    entry = CATALOG.model(model_id)
    assert entry is not None
    assert (entry.role, entry.engine, entry.licence) == (role, "qwen3", "Apache-2.0")
    assert entry.mirrors == (ModelScopeMirror(repo), HuggingFaceMirror(repo))


@pytest.mark.parametrize("model_id", ["qwen3-asr-1.7b", "qwen3-asr-0.6b", "qwen3-forced-aligner"])
def test_a_folder_of_ones_own_needs_no_hub(
    make_store: MakeStore, scope: Hub, face: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_id: str
) -> None:
    folder = write_files(tmp_path / "own", {"config.json": b"{}", "weights.safetensors": b"w"})
    monkeypatch.setenv("ASR_MODEL_DIR_" + model_id.upper().replace("-", "_").replace(".", "_"), str(folder))
    store = make_store(CATALOG)
    assert store.ensure(model_id) == folder
    assert scope.requests == face.requests == []
