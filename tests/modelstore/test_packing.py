"""Models carried to a machine without network."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ModelStoreError, UnknownModel, VerificationFailed
from app.modelstore.packing import pack, unpack
from app.modelstore.store import ModelStore

from .conftest import CONTENT, SAID, Publish, hub_catalog, write_files

MakeStore = Callable[..., ModelStore]
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def packed(make_store: MakeStore, tmp_path: Path) -> Path:
    store = make_store(models_dir=tmp_path / "there")
    write_files(store.target("toy"))
    assert pack(store, [], tmp_path / "models.tar") == ["toy"]
    return tmp_path / "models.tar"


@pytest.fixture
def here(make_store: MakeStore, tmp_path: Path) -> ModelStore:
    return make_store(models_dir=tmp_path / "here", hf_hub_offline=True)


def read(path: Path) -> Members:
    with tarfile.open(path) as archive:
        return [(member, archive.extractfile(member).read()) for member in archive]  # pyright: ignore


def write(path: Path, members: Members) -> None:
    with tarfile.open(path, "w") as archive:
        for member, body in members:
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))


def test_round_trip(packed: Path, here: ModelStore) -> None:
    assert unpack(here, packed) == ["toy"]
    folder = here.ensure("toy")
    assert folder == here.target("toy")
    assert {path: (folder / path).read_bytes() for path in CONTENT} == CONTENT
    assert unpack(here, packed) == ["toy"]  # again: nothing breaks
    assert not [path for path in here.settings.models_dir.iterdir() if path.name.startswith(".unpack")]


def test_the_same_models_make_the_same_tar(
    packed: Path, make_store: MakeStore, tmp_path: Path, here: ModelStore
) -> None:
    unpack(here, packed)
    pack(here, ["toy"], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()


def change_bytes(members: Members) -> None:
    header, body = members[-1]
    members[-1] = (header, body[:-1] + b"?")


def change_hash(members: Members) -> None:
    change_bytes(members)
    manifest = json.loads(members[0][1])
    manifest["entries"][0]["files"][-1]["sha256"] = "0" * 64
    members[0] = (members[0][0], json.dumps(manifest).encode())


def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Members], None]:
    def change(members: Members) -> None:
        header = tarfile.TarInfo(name)
        header.type, header.linkname = kind, link
        members.insert(1, (header, b"" if link else b"evil"))

    return change


def link_in_place(members: Members) -> None:
    members[1][0].type, members[1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[1] = (members[1][0], b"")


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (change_bytes, "holds other bytes"),
        (change_hash, "made for other files"),
        (add("../evil"), r"'../evil'.*leave the folder"),
        (add("/evil"), "does not describe"),
        (add("toy/../../evil"), "leave the folder"),
        (add("toy/link", tarfile.SYMTYPE, "../../.."), "leave the folder"),
        (add("toy/extra.py"), "does not describe"),
        (link_in_place, "leave the folder|does not describe"),
        (lambda members: members.pop(), "lacks toy/sub/model.bin"),
        (lambda members: members.pop(0), "does not begin with a manifest"),
        (lambda members: members.__setitem__(0, (members[0][0], b"{]")), "cannot be read"),
        (lambda members: members.__setitem__(0, (members[0][0], b"[]")), "cannot be read"),
        (lambda members: members.__setitem__(0, (members[0][0], b'{"format":"x","entries":[]}')), "another format"),
        (lambda members: members.append(members[-1]), "does not describe"),
    ],
)
def test_a_tampered_tar_is_refused_whole(packed: Path, here: ModelStore, tamper: Any, message: str) -> None:
    members = read(packed)
    tamper(members)
    write(packed, members)
    before = set(packed.parent.iterdir())
    with pytest.raises(VerificationFailed, match=message):
        unpack(here, packed)
    assert here.locate("toy") is None
    assert not here.target("toy").exists()
    assert set(packed.parent.iterdir()) - before <= {here.settings.models_dir}


def pack_said(make_store: MakeStore, publish: Publish, tmp_path: Path) -> Path:
    """A tar of an entry whose files a hub stated."""
    publish(scope=SAID)
    there = make_store(hub_catalog(), models_dir=tmp_path / "there")
    there.ensure("said")
    assert pack(there, [], tmp_path / "said.tar") == ["said"]
    return tmp_path / "said.tar"


def test_files_that_a_hub_stated_come_with_what_it_said(
    make_store: MakeStore, publish: Publish, tmp_path: Path
) -> None:
    packed = pack_said(make_store, publish, tmp_path)
    here = make_store(hub_catalog(), models_dir=tmp_path / "here", hf_hub_offline=True)
    assert unpack(here, packed) == ["said"]
    folder = here.ensure("said")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == SAID
    assert not here.verify("said").as_found
    pack(here, ["said"], tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()
    (folder / "config.yaml").write_bytes(b"rotten bytes")
    with pytest.raises(VerificationFailed, match=r"config.yaml .*the tar it came in says"):
        here.verify("said")


def other_names(members: Members) -> None:
    members[0] = (members[0][0], members[0][1].replace(b"model_quant.onnx", b"../../evil.onnx "))


def fewer(members: Members) -> None:
    manifest = json.loads(members[0][1])
    members.pop(1 + [file["path"] for file in manifest["entries"][0]["files"]].index("config.yaml"))
    manifest["entries"][0]["files"] = [one for one in manifest["entries"][0]["files"] if one["path"] != "config.yaml"]
    members[0] = (members[0][0], json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (change_bytes, "holds other bytes"),
        (change_hash, "holds other bytes"),
        (other_names, "made for other files"),
        (fewer, "made for other files"),
        (add("said/extra.py"), "does not describe"),
    ],
)
def test_a_tampered_tar_of_such_files_is_refused_whole(
    make_store: MakeStore, publish: Publish, tmp_path: Path, tamper: Any, message: str
) -> None:
    packed = pack_said(make_store, publish, tmp_path)
    members = read(packed)
    tamper(members)
    write(packed, members)
    here = make_store(hub_catalog(), models_dir=tmp_path / "here", hf_hub_offline=True)
    with pytest.raises(VerificationFailed, match=message):
        unpack(here, packed)
    assert here.locate("said") is None
    assert not here.manifests.path("said").exists()


def test_an_own_folder_of_such_files_is_packed_unless_a_hub_said_otherwise(
    make_store: MakeStore, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**SAID, "model_quant.onnx": b"of one's own"}
    monkeypatch.setenv("ASR_MODEL_DIR_SAID", str(write_files(tmp_path / "own", own)))
    store = make_store(hub_catalog())
    assert pack(store, ["said"], tmp_path / "own.tar") == ["said"]
    (tmp_path / "own" / "config.yaml").unlink()
    with pytest.raises(VerificationFailed, match="other files than the catalog"):
        pack(store, ["said"], tmp_path / "half.tar")
    monkeypatch.delenv("ASR_MODEL_DIR_SAID")
    assert unpack(store, tmp_path / "own.tar") == ["said"]
    assert (store.ensure("said") / "model_quant.onnx").read_bytes() == b"of one's own"
    monkeypatch.setenv("ASR_MODEL_DIR_SAID", str(write_files(tmp_path / "other", SAID)))
    with pytest.raises(VerificationFailed, match="other files than the catalog"):
        pack(make_store(hub_catalog()), ["said"], tmp_path / "other.tar")


def test_half_a_tar_and_no_tar(packed: Path, here: ModelStore, tmp_path: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-20000])
    with pytest.raises(VerificationFailed):
        unpack(here, packed)
    packed.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(VerificationFailed, match="not a tar of models"):
        unpack(here, packed)
    with pytest.raises(ModelStoreError, match="No such file"):
        unpack(here, tmp_path / "absent.tar")


def test_an_unknown_model_in_a_tar(packed: Path, here: ModelStore) -> None:
    members = read(packed)
    members[0] = (members[0][0], members[0][1].replace(b'"id": "toy"', b'"id": "future"'))
    write(packed, members)
    with pytest.raises(UnknownModel, match="future"):
        unpack(here, packed)


def test_packing_what_is_wrong_or_absent(
    make_store: MakeStore, here: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelStoreError, match="no model on this machine"):
        pack(here, [], tmp_path / "out.tar")
    folder = write_files(here.target("toy"))
    (folder / "config.json").write_bytes(b"edited")
    with pytest.raises(VerificationFailed, match=r"config.json"):
        pack(here, ["toy"], tmp_path / "out.tar")
    monkeypatch.setenv("ASR_MODEL_DIR_TOY", str(folder))
    with pytest.raises(VerificationFailed, match="other files than the catalog"):
        pack(make_store(), ["toy"], tmp_path / "out.tar")
    assert not list(tmp_path.glob("*out.tar*"))
    monkeypatch.delenv("ASR_MODEL_DIR_TOY")
    write_files(folder)
    with pytest.raises(ModelStoreError, match="cannot be written"):
        pack(here, ["toy"], tmp_path / "absent" / "out.tar")
