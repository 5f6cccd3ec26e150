"""Fetching from hubs that serve, break off, hang, lie or are not there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from app.domain.errors import DownloadFailed, UnknownModel
from app.modelstore import disk
from app.modelstore.mirrors import Endpoints, MirrorError, Timeouts, await_name
from app.modelstore.store import ModelStore
from app.settings import Settings

from .conftest import CONTENT, FACE, SCOPE, Notes, toy_catalog, write_files
from .mirror import Hub

BIN = "sub/model.bin"
MakeStore = Callable[..., ModelStore]


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_first_mirror_is_enough(make_store: MakeStore, face: Hub) -> None:
    progress = Notes()
    store = make_store()
    assert store.locate("toy") is None
    folder = store.ensure("toy", progress)
    assert content_of(folder) == CONTENT
    assert store.locate("toy") == folder == store.settings.models_dir / "toy"
    assert face.requests == []
    assert progress.bytes == sum(map(len, CONTENT.values()))
    assert [label for label, _, _ in progress.started] == ["toy/config.json", "toy/sub/model.bin"]
    assert progress.finished == len(progress.started)


def test_the_operator_orders_the_mirrors(make_store: MakeStore, scope: Hub) -> None:
    make_store(model_mirrors=["huggingface", "modelscope"]).ensure("toy")
    assert scope.requests == []


def test_a_cut_line_is_resumed_where_it_broke(make_store: MakeStore, scope: Hub, face: Hub) -> None:
    scope.says(SCOPE + BIN, "drop", "drop")
    assert content_of(make_store().ensure("toy")) == CONTENT
    first, second, third = scope.asked("model.bin")
    offsets = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in (second, third)]
    assert first == ""
    assert 0 < offsets[0] < offsets[1] < len(CONTENT[BIN])
    assert face.requests == []


def test_a_killed_download_is_resumed_by_the_next_start(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    part = store.settings.models_dir / ".staging" / "toy" / (BIN + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[BIN][:1000])
    assert content_of(store.ensure("toy")) == CONTENT
    assert scope.asked("model.bin") == ["bytes=1000-"]


def test_a_rotten_beginning_is_fetched_again(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    part = store.settings.models_dir / ".staging" / "toy" / (BIN + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert content_of(store.ensure("toy")) == CONTENT
    assert scope.asked("model.bin") == ["bytes=1000-", ""]


def test_leftovers_of_another_version_are_fetched_again(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    staging = store.settings.models_dir / ".staging" / "toy"
    write_files(staging, {**CONTENT, "config.json": CONTENT["config.json"].swapcase()})
    assert content_of(store.ensure("toy")) == CONTENT
    assert [path for path, _ in scope.requests] == [SCOPE + "config.json"]


def test_a_server_without_ranges_sends_it_all(make_store: MakeStore, scope: Hub) -> None:
    scope.says(SCOPE + BIN, "drop", "norange")
    assert content_of(make_store().ensure("toy")) == CONTENT


@pytest.mark.parametrize("answer", ["wrong", "404", "500"])
def test_only_what_a_mirror_lacks_is_asked_of_the_next(
    make_store: MakeStore, scope: Hub, face: Hub, answer: str
) -> None:
    scope.says(SCOPE + "config.json", answer)
    progress = Notes()
    assert content_of(make_store().ensure("toy", progress)) == CONTENT
    assert len(face.asked("config.json")) == 1
    assert face.asked("model.bin") == []
    assert any("config.json" in note for note in progress.notes)


def test_a_file_of_another_length_is_not_even_read(make_store: MakeStore, scope: Hub) -> None:
    scope.files[SCOPE + BIN] = b"<html>please log in</html>"
    progress = Notes()
    assert content_of(make_store().ensure("toy", progress)) == CONTENT
    assert any("it offers 26 bytes, the catalog says" in note for note in progress.notes)


def test_a_hanging_mirror_is_asked_once(make_store: MakeStore, scope: Hub, face: Hub) -> None:
    for path in CONTENT:
        scope.says(SCOPE + path, *["hang"] * 5)
    began = time.monotonic()
    assert content_of(make_store().ensure("toy")) == CONTENT
    assert time.monotonic() - began < 3
    assert len(scope.requests) == 1


def test_an_absent_mirror_is_asked_once(make_store: MakeStore) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = make_store()
        store._endpoints = Endpoints(f"http://127.0.0.1:{unused.getsockname()[1]}", store._endpoints.huggingface)
        progress = Notes()
        assert content_of(store.ensure("toy", progress)) == CONTENT
    assert [note for note in progress.notes if "modelscope" in note] == [
        note for note in progress.notes if "no connection" in note
    ]
    assert len(progress.started) == 3  # one file of the dead mirror, both of the living one


def test_when_all_fail_each_is_named_with_its_reason(make_store: MakeStore, scope: Hub, face: Hub) -> None:
    scope.says(SCOPE + BIN, "503")
    face.says(FACE + BIN, "wrong")
    store = make_store(model_mirrors=["modelscope", "huggingface", "wheel", "nonsense"])
    with pytest.raises(DownloadFailed) as failure:
        store.ensure("toy")
    text = failure.value.message
    assert "missing: sub/model.bin" in text
    assert "modelscope: sub/model.bin: it answers 503" in text
    assert "huggingface: sub/model.bin: it sends other bytes" in text
    assert "wheel: has no copy" in text
    assert "nonsense: no such mirror" in text
    hints = " ".join(failure.value.__notes__)
    assert "ASR_MODEL_DIR_TOY" in hints
    assert "models unpack" in hints
    assert store.locate("toy") is None
    scope.requests.clear()
    assert content_of(store.ensure("toy")) == CONTENT  # both behave again: only what was missing is fetched
    assert scope.asked("config.json") == []


def test_offline_opens_no_connection(
    make_store: MakeStore, scope: Hub, face: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    store = make_store(hf_hub_offline=True, model_mirrors=["modelscope", "huggingface", "wheel"])
    with pytest.raises(DownloadFailed, match="HF_HUB_OFFLINE"):
        store.ensure("toy")
    write_files(store.target("toy"))
    assert store.ensure("toy") == store.target("toy")
    assert scope.requests == face.requests == []


def test_unknown_ids_are_told_what_there_is(make_store: MakeStore) -> None:
    with pytest.raises(UnknownModel, match="Known: toy"):
        make_store().ensure("nope")


def test_a_broken_folder_gets_only_what_is_wrong(make_store: MakeStore, scope: Hub) -> None:
    store = make_store()
    folder = write_files(store.target("toy"))
    (folder / "config.json").write_bytes(CONTENT["config.json"].swapcase())
    (folder / "mine.txt").write_text("kept")
    assert store.locate("toy") is None
    store.ensure("toy")
    assert content_of(folder) == {**CONTENT, "mine.txt": b"kept"}
    assert scope.asked("model.bin") == []


def test_a_folder_that_cannot_be_written_is_said(make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadFailed, match="cannot be written") as failure:
        make_store(models_dir=tmp_path / "file" / "models").ensure("toy")
    assert "MODELS_DIR" in failure.value.__notes__[0]


def test_a_full_disk_is_said_before_fetching(
    make_store: MakeStore, scope: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.modelstore.store.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(DownloadFailed, match="10 B are free"):
        make_store().ensure("toy")
    assert scope.requests == []


def test_a_proxy_that_cannot_be_used_is_a_reason_not_a_crash(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(DownloadFailed, match="proxy settings"):
        make_store().ensure("toy")


def test_a_resolver_that_never_answers_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: time.sleep(2))
    began = time.monotonic()
    with pytest.raises(MirrorError, match="within") as failure:
        await_name("https://hub.example", 0.1)
    assert failure.value.down
    assert time.monotonic() - began < 1


def test_hf_endpoint_names_another_hugging_face() -> None:
    assert Endpoints.from_environment({"HF_ENDPOINT": "https://hf.example/"}).huggingface == "https://hf.example"
    assert Endpoints.from_environment({}) == Endpoints()


def test_a_verified_file_is_not_hashed_again(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store()
    store.ensure("toy")
    monkeypatch.setattr("app.modelstore.caches.sha256_of", lambda path: pytest.fail(f"{path} was hashed again"))
    assert make_store().ensure("toy") == store.target("toy")


@pytest.mark.parametrize("existing", [False, True], ids=["new", "repair"])
def test_two_processes_fetch_once(
    make_settings: Callable[..., Settings], scope: Hub, tmp_path: Path, existing: bool
) -> None:
    settings = make_settings()
    if existing:
        write_files(settings.models_dir / "toy", {"config.json": b"old"})
    scope.says(SCOPE + BIN, "slow", "slow")
    values = {
        "models_dir": str(settings.models_dir),
        "modelscope_path": str(settings.modelscope_path),
        "hf_home": str(settings.hf_home),
        "endpoint": scope.url,
    }
    command = [sys.executable, "-m", "tests.modelstore.ensure_once", json.dumps(values)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) for _ in "ab"]
    answers = [process.communicate(timeout=30)[0].strip() for process in both]
    assert answers == [str(settings.models_dir / "toy")] * 2
    assert content_of(settings.models_dir / "toy") == CONTENT
    assert len(scope.asked("model.bin")) == 1


def test_placing_keeps_unfinished_files_out(tmp_path: Path) -> None:
    staging = write_files(tmp_path / "staging")
    (staging / "sub" / "other.part").write_bytes(b"half")
    (staging / "left" / "over").mkdir(parents=True)
    disk.place(staging, tmp_path / "target", toy_catalog().models[0].files)
    assert content_of(tmp_path / "target") == CONTENT
    assert not (tmp_path / "target" / "left").exists()


def test_default_timeouts_are_short() -> None:
    assert Timeouts().connect <= 3
    assert Timeouts().read <= 10
