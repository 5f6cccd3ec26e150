"""Entries whose files the catalog only names: what a hub states is verified, written down and held to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import DownloadFailed, ModelStoreError, VerificationFailed
from app.modelstore.catalog import CATALOG
from app.modelstore.store import ModelStore

from .conftest import FACE_LIST, SAID, SCOPE_LIST, Notes, Publish, hub_catalog, toy_catalog, write_files
from .mirror import Hub

MakeStore = Callable[..., ModelStore]
MODEL = "model_quant.onnx"


@pytest.fixture
def make_said(make_store: MakeStore) -> MakeStore:
    return lambda **changes: make_store(hub_catalog(), **changes)


def in_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def in_cache(store: ModelStore, content: dict[str, bytes] | None = None) -> Path:
    return write_files(store.settings.modelscope_path / "models" / "org" / "said" / "onnx", content or SAID)


def test_what_the_hub_states_is_fetched_verified_and_written_down(
    make_said: MakeStore, publish: Publish, scope: Hub, face: Hub
) -> None:
    publish(scope=SAID)
    store = make_said()
    assert store.locate("said") is None
    assert store.entry("said").size == 0
    folder = store.ensure("said")
    assert in_folder(folder) == SAID
    assert store.entry("said").size == sum(map(len, SAID.values()))
    assert store.verify("said").path == folder
    assert not store.verify("said").as_found
    assert face.requests == []
    scope.requests.clear()
    again = make_said()
    assert again.ensure("said") == folder
    assert make_said(hf_hub_offline=True).ensure("said") == folder
    assert scope.requests == []
    (folder / MODEL).write_bytes(SAID[MODEL][::-1])
    assert again.locate("said") is None
    with pytest.raises(VerificationFailed, match=rf"{MODEL} holds other bytes than modelscope's list of files says"):
        again.verify("said")
    assert in_folder(again.ensure("said")) == SAID
    assert [path for path, _ in scope.requests if path.endswith(".yaml")] == []


@pytest.mark.parametrize(
    ("published", "wanted"),
    [
        ({**SAID, "seg_dict": b"a b"}, {**SAID, "seg_dict": b"a b"}),
        ({**SAID, "model.onnx": b"not asked for"}, SAID),
        (
            {"config.yaml": b"c", MODEL: b"m", "model_eb_quant.onnx": b"e"},
            {"config.yaml": b"c", MODEL: b"m", "model_eb_quant.onnx": b"e"},
        ),
    ],
    ids=["optional", "more", "other name"],
)
def test_optional_files_and_other_names(
    make_said: MakeStore, publish: Publish, published: dict[str, bytes], wanted: dict[str, bytes]
) -> None:
    publish(scope=published)
    assert in_folder(make_said().ensure("said")) == wanted
    assert make_said(hf_hub_offline=True).locate("said") is not None


def test_what_was_written_down_can_be_read_by_whoever_serves(make_said: MakeStore, publish: Publish) -> None:
    publish(scope=SAID)
    with tempfile.TemporaryDirectory() as folder:  # pytest's own cannot be entered by others
        Path(folder).chmod(0o755)
        store = make_said(models_dir=Path(folder, "models"))
        store.ensure("said")
        records = sorted(Path(folder).rglob("*.json"))
        assert len(records) == 2, "what the hub stated, and what was hashed"
        for record in records:
            assert record.stat().st_mode & 0o777 == 0o644
            if os.getuid() == 0:
                subprocess.run(["cat", record], user=12345, group=12345, extra_groups=[], check=True)


def test_other_bytes_than_stated_are_refused(
    make_said: MakeStore, publish: Publish, scope: Hub, tmp_path: Path
) -> None:
    publish(scope=SAID)
    scope.files[f"/models/org/said/resolve/master/onnx/{MODEL}"] = SAID[MODEL][::-1]
    store = make_said(model_mirrors=["modelscope"])
    with pytest.raises(DownloadFailed) as failure:
        store.ensure("said")
    assert f"missing: {MODEL}" in failure.value.message
    assert "it sends other bytes than modelscope's list of files says (sha256 differs)" in failure.value.message
    assert store.locate("said") is None
    assert not store.target("said").exists()
    publish(scope=SAID)
    assert in_folder(store.ensure("said")) == SAID


def test_a_missing_file_is_named_and_the_next_mirror_asked(make_said: MakeStore, publish: Publish) -> None:
    publish(scope={"config.yaml": b"c", "seg_dict": b"d"})
    with pytest.raises(DownloadFailed) as failure:
        make_said().ensure("said")
    assert f"modelscope: its repository has no {MODEL}, model_eb.onnx or model_eb_quant.onnx" in failure.value.message
    assert "huggingface: it answers 404" in failure.value.message
    assert f"needed: config.yaml, seg_dict, {MODEL}, model_eb.onnx" in " ".join(failure.value.__notes__)
    publish(face=SAID)
    progress = Notes()
    assert in_folder(make_said().ensure("said", progress)) == SAID
    assert any("its repository has no" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>please log in</html>", "its list of files is not JSON"),
        (b"[" * 100_000, "its list of files is not JSON"),
        (b'{"Code": 10010, "Message": "no such model"}', "its list of files cannot be read"),
        (b'{"Data": {"Files": [1]}}', "its list of files cannot be read"),
        (b'{"Data": {"Files": [{"Path": "x", "Size": 1e999}]}}', "its list of files cannot be read"),
        (b'{"Data": {"Files": []}}', "its repository has no config.yaml"),
        (b'{"Data": {"Files": [{"Path": "onnx/config.yaml", "Size": 0}]}}', "its repository has no config.yaml"),
    ],
)
def test_a_list_that_is_none(make_said: MakeStore, scope: Hub, answer: bytes, reason: str) -> None:
    scope.files[SCOPE_LIST] = answer
    with pytest.raises(DownloadFailed, match=f"modelscope: {reason}"):
        make_said(model_mirrors=["modelscope"]).ensure("said")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("hang", "no data within"),
        ("endless", "it sends more than"),
        ("drip", r"it took more than 0\.3 s"),
        ("drop", ""),
    ],
)
def test_a_list_that_does_not_end_well(
    make_said: MakeStore, publish: Publish, scope: Hub, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr("app.modelstore.hubs.MAX_READ_SECONDS", 0.3 if script == "drip" else 30.0)
    publish(scope=SAID, face=SAID)
    scope.says(SCOPE_LIST, script)
    began = time.monotonic()
    progress = Notes()
    assert in_folder(make_said().ensure("said", progress)) == SAID, "the next hub is asked"
    assert any(re.match(f"said: modelscope: {reason}", note) for note in progress.notes)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("sha256", ["", "0" * 63, "../../x"], ids=["none", "short", "text"])
def test_a_list_without_hashes(make_said: MakeStore, publish: Publish, scope: Hub, sha256: str) -> None:
    publish(scope=SAID)
    answer: Any = json.loads(scope.files[SCOPE_LIST])
    answer["Data"]["Files"][1]["Sha256"] = sha256
    scope.files[SCOPE_LIST] = json.dumps(answer).encode()
    with pytest.raises(DownloadFailed, match="its list of files states no sha256 for "):
        make_said(model_mirrors=["modelscope"]).ensure("said")


def test_hugging_face_states_gits_hash_of_small_files(make_said: MakeStore, publish: Publish, face: Hub) -> None:
    publish(face=SAID)
    store = make_said(model_mirrors=["huggingface"])
    assert in_folder(store.ensure("said")) == SAID
    assert store.entry("said").files[0].sha256 == hashlib.sha256(SAID["config.yaml"]).hexdigest()
    assert face.asked(MODEL) == [""]


def test_other_bytes_than_gits_hash_are_refused(make_said: MakeStore, publish: Publish, face: Hub) -> None:
    publish(face=SAID)
    face.says("/org/said/resolve/main/config.yaml", "wrong")
    with pytest.raises(DownloadFailed, match=r"config.yaml: it sends other bytes .*git's hash differs"):
        make_said(model_mirrors=["huggingface"]).ensure("said")


def test_a_hub_that_is_down_is_asked_once_for_all(make_store: MakeStore, publish: Publish, scope: Hub) -> None:
    publish(face=SAID)
    scope.says(SCOPE_LIST, "hang")
    store = make_store(hub_catalog(*toy_catalog().models))
    with store.fetching() as ensure, pytest.raises(DownloadFailed, match="toy could not be fetched"):
        assert in_folder(ensure("said")) == SAID
        ensure("toy")
    assert [path for path, _ in scope.requests] == [SCOPE_LIST]
    assert store.ensure("toy"), "asked again in the next run"


def test_what_a_hub_publishes_anew_is_believed(make_said: MakeStore, publish: Publish) -> None:
    publish(scope=SAID)
    store = make_said()
    folder = store.ensure("said")
    newer = {**SAID, MODEL: b"newer weights"}
    publish(scope=newer)
    assert store.ensure("said") == folder
    assert in_folder(folder) == SAID, "what is here and whole is not fetched again"
    (folder / "config.yaml").unlink()
    assert in_folder(store.ensure("said")) == newer


def test_a_silent_list_leaves_what_was_stated_before(make_said: MakeStore, publish: Publish, scope: Hub) -> None:
    publish(scope=SAID)
    store = make_said()
    (store.ensure("said") / MODEL).unlink()
    scope.says(SCOPE_LIST, "503")
    assert in_folder(store.ensure("said")) == SAID


def test_a_cache_is_taken_as_found_and_held_to(
    make_said: MakeStore, scope: Hub, face: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_said(hf_hub_offline=True)
    cache = in_cache(store)
    found = store.find("said")
    assert found is not None
    assert (found.path, found.origin, found.as_found) == (cache, "ModelScope cache", True)
    assert store.ensure("said") == cache
    assert store.verify("said").as_found
    monkeypatch.setattr("app.modelstore.manifests.sha256_of", lambda path: pytest.fail(f"{path} was hashed again"))
    monkeypatch.setattr("app.modelstore.caches.sha256_of", lambda path: pytest.fail(f"{path} was hashed again"))
    again = make_said(hf_hub_offline=True)
    assert again.ensure("said") == cache
    assert scope.requests == face.requests == []


def test_what_was_found_and_changed_since_is_said(make_said: MakeStore, publish: Publish) -> None:
    store = make_said()
    cache = in_cache(store)
    assert store.locate("said") == cache
    (cache / MODEL).write_bytes(b"other")
    assert store.locate("said") is None
    with pytest.raises(
        VerificationFailed, match=f"{MODEL} has 5 bytes where the record of what was found says"
    ) as failure:
        store.verify("said")
    record = store.settings.models_dir / ".manifests" / "said.json"
    assert str(record.absolute()) in " ".join(failure.value.__notes__)
    publish(scope=SAID)
    assert store.ensure("said") == store.target("said")
    found = store.find("said")
    assert found is not None
    assert not found.as_found
    record.unlink()
    (cache / MODEL).unlink()
    found = store.find("said")
    assert found is not None
    assert (found.path, found.as_found) == (store.target("said"), True)


@pytest.mark.parametrize("name", ["config.yaml", MODEL, "model_eb.onnx"])
@pytest.mark.parametrize("body", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", None])
def test_half_a_folder_is_not_taken(make_said: MakeStore, name: str, body: bytes | None) -> None:
    store = make_said(hf_hub_offline=True)
    cache = in_cache(store, {**SAID, name: body or b""})
    if body is None:
        (cache / name).unlink()
    assert store.locate("said") is None
    with pytest.raises(ModelStoreError, match="not on this machine"):
        store.verify("said")


def test_a_models_folder_that_cannot_be_written_is_read(make_said: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = make_said(hf_hub_offline=True, models_dir=tmp_path / "file" / "models")
    cache = in_cache(store)
    assert store.ensure("said") == cache
    os.utime(cache / MODEL, ns=(1, 1))
    assert store.locate("said") == cache
    (cache / MODEL).write_bytes(b"other")
    assert store.locate("said") is None


@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '{"files": []}',
        '{"stated_by": "x", "files": [{"path": "config.yaml", "size": 1, "sha256": "zz"}]}',
        json.dumps({"stated_by": "x", "files": [{"path": "../x", "size": 1, "sha256": "0" * 64}]}),
    ],
)
def test_a_broken_record_is_made_anew(make_said: MakeStore, publish: Publish, record: str) -> None:
    publish(scope=SAID)
    store = make_said()
    store.manifests.path("said").parent.mkdir(parents=True)
    store.manifests.path("said").write_text(record)
    assert store.locate("said") is None
    assert in_folder(store.ensure("said")) == SAID
    assert store.locate("said") == store.target("said")


def test_every_file_of_the_catalog_is_either_known_or_stated_by_a_hub() -> None:
    for entry in CATALOG.models:
        assert bool(entry.files) != bool(entry.hub_files), entry.id
        hubs = {mirror.name for mirror in entry.mirrors} & {"modelscope", "huggingface"}
        assert entry.files or hubs, entry.id


def test_the_list_is_asked_where_the_hubs_have_it(make_said: MakeStore, scope: Hub, face: Hub) -> None:
    with pytest.raises(DownloadFailed):
        make_said().ensure("said")
    assert [path for path, _ in scope.requests] == [SCOPE_LIST]
    assert [path for path, _ in face.requests] == [FACE_LIST]
