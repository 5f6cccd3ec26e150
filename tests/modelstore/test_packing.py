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

from .conftest import CONTENT, write_files

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
