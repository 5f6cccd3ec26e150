"""What is fetched before serving, and what is served where the best cannot be had: the real catalog's choices and the
names of its files, small files in their place, hubs on localhost."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.cli.models import download, list_models, prepare
from app.cli.models import verify as verify_models
from app.domain.errors import DownloadFailed
from app.modelstore.catalog import CATALOG, Catalog, HubMirror, HuggingFaceMirror, ModelEntry, ModelFile
from app.modelstore.mirrors import Endpoints, Timeouts
from app.modelstore.store import ModelStore
from app.settings import Settings
from tests.modelstore.mirror import Hub

MakeSettings = Callable[..., Settings]
Captured = pytest.CaptureFixture[str]
LIVE = ("paraformer-large-online", "ct-punc-live")
"""What live speech is heard and marked with beside Paraformer."""


def pinned(entry: ModelEntry) -> ModelEntry:
    """The entry with two small files on Hugging Face, where it has files whose hashes are in the catalog."""
    if entry.hub_files:
        return entry
    files = tuple(ModelFile(name, 5, hashlib.sha256(body(name)).hexdigest()) for name in ("a.bin", "b.bin"))
    return replace(entry, files=files, mirrors=(HuggingFaceMirror(f"org/{entry.id}"),))


def body(name: str) -> bytes:
    return f"{name:5}".encode()[:5]


SMALL = Catalog(models=tuple(pinned(entry) for entry in CATALOG.models))


def entry_of(model_id: str) -> tuple[ModelEntry, HubMirror]:
    entry = SMALL.model(model_id)
    assert entry is not None
    mirror = entry.mirrors[0]
    assert not hasattr(mirror, "requirements")
    return entry, mirror  # pyright: ignore[reportReturnType]


def publish(hub: Hub, *model_ids: str) -> None:
    """Have `hub` serve models, and list those whose hashes it has to state."""
    for model_id in model_ids:
        entry, mirror = entry_of(model_id)
        names = [file.path for file in entry.files or entry.hub_files]
        hub.files.update({mirror.url("", name): body(name) for name in names})
        rows = [{"Path": name, "Size": 5, "Sha256": hashlib.sha256(body(name)).hexdigest()} for name in names]
        hub.files[listing(model_id)] = json.dumps({"Data": {"Files": rows}}).encode()


def listing(model_id: str) -> str:
    return f"/api/v1/models/{entry_of(model_id)[1].repo}/repo/files?Revision=master&Recursive=true"


def place(settings: Settings, *model_ids: str) -> None:
    """Put models where an earlier start would have."""
    for model_id in model_ids:
        entry, _ = entry_of(model_id)
        for file in entry.files or entry.hub_files:
            path = settings.models_dir / model_id / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body(file.path))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A ModelScope with nothing in it."""
    with Hub() as hub:
        yield hub


@pytest.fixture(autouse=True)
def face(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hugging Face with everything whose hashes are in the catalog; and it and `hub` are those that are known."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Hub() as face:
        publish(face, *(entry.id for entry in SMALL.models if entry.files))
        endpoints, timeouts = Endpoints(modelscope=hub.url, huggingface=face.url), Timeouts(connect=0.5, read=0.5)
        monkeypatch.setattr(
            "app.cli.models.ModelStore", partial(ModelStore, catalog=SMALL, endpoints=endpoints, timeouts=timeouts)
        )
        yield face


@pytest.fixture
def make(tmp_path: Path) -> MakeSettings:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "models_dir": tmp_path / "models",
            "modelscope_path": tmp_path / "modelscope",
            "hf_home": tmp_path / "huggingface",
            "model_mirrors": ["modelscope", "huggingface", "wheel"],
            "hf_hub_offline": False,
            "asr_model": "auto",
            "device": "cpu",
            "speaker_diarization": "default",
            "asr_enable_punctuation": True,
        }
        return Settings(_env_file=None, **{**values, **changes})  # pyright: ignore[reportCallIssue]

    return make


def here(settings: Settings) -> set[str]:
    return {path.name for path in settings.models_dir.iterdir() if not path.name.startswith(".")}


def test_the_best_and_what_it_is_served_better_with(hub: Hub, face: Hub, make: MakeSettings, capsys: Captured) -> None:
    publish(hub, "paraformer-large", "ct-punc", *LIVE)
    choice = prepare(make())
    assert (choice.model_id, choice.passed_over) == ("paraformer-large", ())
    assert here(make()) == {"paraformer-large", "fsmn-vad", "ct-punc", "speakers", *LIVE}
    assert "warning" not in capsys.readouterr().err
    hub.requests.clear()
    face.requests.clear()
    assert prepare(make()).model_id == "paraformer-large"
    assert hub.requests == face.requests == [], "a second start asks nobody"
    assert prepare(make(hf_hub_offline=True)).model_id == "paraformer-large"


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"asr_enable_punctuation": False}, {"ct-punc", "ct-punc-live"}),
        ({"asr_enable_realtime_punc": False}, {"ct-punc-live"}),
        ({"speaker_diarization": "off"}, {"speakers"}),
    ],
)
def test_what_is_off_is_not_fetched(hub: Hub, make: MakeSettings, settings: dict[str, Any], missing: set[str]) -> None:
    publish(hub, "paraformer-large", "ct-punc", *LIVE)
    prepare(make(**settings))
    assert here(make()) == {"paraformer-large", "fsmn-vad", "ct-punc", "speakers", *LIVE} - missing


@pytest.mark.parametrize("obstacle", ["no repository", "hangs", "other bytes", "a file less"])
def test_the_next_in_the_ranking_serves_and_it_is_said(
    hub: Hub, make: MakeSettings, capsys: Captured, obstacle: str
) -> None:
    reason = "it answers 404"
    if obstacle != "no repository":
        publish(hub, "paraformer-large")
    if obstacle == "hangs":
        hub.says(listing("paraformer-large"), "hang")
        reason = "no data within 0.5 s"
    if obstacle == "other bytes":
        hub.files[entry_of("paraformer-large")[1].url("", "model_quant.onnx")] = b"MODEL"
        reason = "model_quant.onnx: it sends other bytes than modelscope's list of files says"
    if obstacle == "a file less":
        hub.files[listing("paraformer-large")] = hub.files[listing("paraformer-large")].replace(b"am.mvn", b"am.mvm")
        reason = "its repository has no am.mvn"
    choice = prepare(make())
    assert choice.model_id == "whisper-base"
    assert [model_id for model_id, _ in choice.passed_over] == ["paraformer-large"]
    assert reason in choice.passed_over[0][1]
    assert "\n" not in choice.passed_over[0][1]
    said = capsys.readouterr().err
    assert f"warning: paraformer-large is not served, whisper-base is: {choice.passed_over[0][1]}\n" in said
    assert "model: whisper-base" in said
    assert here(make()) == {"whisper-base", "fsmn-vad", "speakers"}


def test_a_model_by_name_is_never_replaced(hub: Hub, make: MakeSettings) -> None:
    place(make(), "whisper-base", "fsmn-vad")
    with pytest.raises(DownloadFailed, match="paraformer-large could not be fetched"):
        prepare(make(asr_model="paraformer-large"))
    with pytest.raises(DownloadFailed, match="paraformer-large is not on this machine and HF_HUB_OFFLINE is set"):
        prepare(make(asr_model="paraformer-large", hf_hub_offline=True))
    publish(hub, "paraformer-large-seaco", "ct-punc")
    choice = prepare(make(asr_model="paraformer-large-seaco"))
    assert (choice.model_id, choice.by_name) == ("paraformer-large-seaco", True)
    assert here(make()) >= {"paraformer-large-seaco", "ct-punc"}


@pytest.mark.parametrize("offline", [False, True])
def test_what_is_here_is_served_at_once(
    hub: Hub, face: Hub, make: MakeSettings, capsys: Captured, offline: bool
) -> None:
    publish(hub, "paraformer-large", "ct-punc")
    place(make(), "whisper-base", "fsmn-vad")
    began = time.monotonic()
    choice = prepare(make(hf_hub_offline=offline))
    assert time.monotonic() - began < 1
    assert choice.model_id == "whisper-base"
    assert hub.requests == face.requests == [], "better ones are fetched while serving"
    said = capsys.readouterr().err
    why = "HF_HUB_OFFLINE is set" if offline else "it will be fetched while serving"
    assert f"warning: paraformer-large is not served, whisper-base is: it is not on this machine ({why})\n" in said
    assert f"warning: serving without speakers: it is not on this machine ({why})\n" in said
    place(make(), "paraformer-large")
    assert prepare(make()).model_id == "paraformer-large"
    assert hub.requests == face.requests == []


def test_with_nothing_here_and_offline_the_last_resort_is_named(
    hub: Hub, face: Hub, make: MakeSettings, capsys: Captured
) -> None:
    with pytest.raises(DownloadFailed, match="whisper-base is not on this machine and HF_HUB_OFFLINE is set"):
        prepare(make(hf_hub_offline=True))
    assert "warning: paraformer-large is not served, whisper-base is: " in capsys.readouterr().err
    assert hub.requests == face.requests == []


def test_the_smaller_punctuation_is_enough_where_it_is_here(hub: Hub, make: MakeSettings) -> None:
    publish(hub, "paraformer-large", "ct-punc")
    place(make(), "ct-punc-zh")
    prepare(make())
    assert "ct-punc" not in here(make())


def test_what_it_is_served_better_with_may_fail(hub: Hub, make: MakeSettings, capsys: Captured) -> None:
    publish(hub, "paraformer-large")
    choice = prepare(make())
    assert choice.model_id == "paraformer-large"
    assert "warning: serving without ct-punc: ct-punc could not be fetched. modelscope: it answers 404" in (
        capsys.readouterr().err
    )


def test_download_falls_back_as_serving_does(hub: Hub, make: MakeSettings, capsys: Captured) -> None:
    nothing_named = argparse.Namespace(ids=[], all=False)
    assert download(make(), nothing_named) == 0
    assert here(make()) == {"whisper-base", "fsmn-vad", "speakers"}
    publish(hub, "paraformer-large", "ct-punc", *LIVE)
    assert download(make(), nothing_named) == 0
    assert here(make()) >= {"paraformer-large", "ct-punc"}, "asked for, it is fetched although another is here"
    with pytest.raises(DownloadFailed, match="ct-punc-zh could not be fetched"):
        download(make(), argparse.Namespace(ids=["ct-punc-zh"], all=False))


def test_the_list_and_verify_say_what_nobody_stated(hub: Hub, make: MakeSettings, capsys: Captured) -> None:
    publish(hub, "ct-punc")
    place(make(), "ct-punc-zh")
    download(make(), argparse.Namespace(ids=["ct-punc"], all=False))
    capsys.readouterr()
    list_models(make(), argparse.Namespace())
    rows = {line.split("  ")[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert " punctuation 20 B " in rows["ct-punc"]
    assert " models folder CT-" in rows["ct-punc"]
    assert " models folder, as found CT-" in rows["ct-punc-zh"]
    assert " asr ? Apache-2.0 no " in rows["paraformer-large"]
    verify_models(make(), argparse.Namespace(ids=[]))
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["ct-punc"].startswith("OK  ")
    assert lines["ct-punc-zh"].startswith("OK (unchanged since it was found; no hub was asked)  ")
