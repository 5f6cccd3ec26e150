"""What a bundle's lists say, and that whatever differs is seen: by the manifest's own check and by load.sh's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.modelstore.catalog import FSMN_VAD

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docker" / "bundle_manifest.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small one, as bundle.sh lays it out, without models."""
    folder = tmp_path / "bundle"
    (folder / "images").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "images" / "speech-server.tar").write_bytes(bytes(range(256)) * 9000)
    (folder / "docs" / "a page.md").write_text("# 说明\n", "utf-8")
    for script in ("load.sh", "engine.sh"):
        shutil.copy(ROOT / "docker" / script, folder)
    written = run("write", folder, "--version", "1.2.3", "--image", "speech-server:cpu", "--image-id", "sha256:abc")
    assert written.returncode == 0, written.stderr
    return folder


def test_it_says_what_is_in_the_bundle(bundle: Path) -> None:
    said = json.loads((bundle / "MANIFEST.json").read_text("utf-8"))
    assert said["version"] == "1.2.3"
    assert said["image"] == {"name": "speech-server:cpu", "id": "sha256:abc"}
    assert set(said["files"]) == {"images/speech-server.tar", "docs/a page.md", "load.sh", "engine.sh"}
    assert said["files"]["images/speech-server.tar"]["size"] == 256 * 9000
    assert run("verify", bundle).returncode == 0
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, check=False)
    assert checked.returncode == 0


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHANGES = {
    "a flipped bit in the image": lambda folder: flip(folder / "images" / "speech-server.tar"),
    "a file cut short": lambda folder: os.truncate(folder / "images" / "speech-server.tar", 100),
    "a file more": lambda folder: (folder / "docs" / "more.md").write_text("more"),
    "a file fewer": lambda folder: (folder / "docs" / "a page.md").unlink(),
    "a link in the place of a file": lambda folder: (
        (folder / "docs" / "a page.md").unlink(),
        (folder / "docs" / "a page.md").symlink_to("/etc/hostname"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_refused_by_both(bundle: Path, change: str, tmp_path: Path) -> None:
    CHANGES[change](bundle)
    assert run("verify", bundle).returncode in {1, 2}
    loaded = load(bundle, tmp_path)
    assert loaded.returncode == 1
    assert "error:" in loaded.stderr
    assert not (tmp_path / "asked").exists(), "an engine was asked to load something"


def load(
    bundle: Path, tmp_path: Path, models: str | Path | None = None, engine: str = "docker"
) -> subprocess.CompletedProcess[str]:
    """load.sh, with an engine that only writes down what it was asked."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
        '[ "$1" != load ] || echo "Loaded image: localhost/speech-server:cpu"\n'
    )
    program.chmod(0o755)
    return subprocess.run(
        [bundle / "load.sh", models or tmp_path / "models"],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "ENGINE": engine},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_changed_manifest_is_refused_by_load(bundle: Path, tmp_path: Path) -> None:
    path = bundle / "MANIFEST.json"
    path.write_text(path.read_text("utf-8").replace("speech-server:cpu", "speech-server:evil"), "utf-8")
    loaded = load(bundle, tmp_path)
    assert loaded.returncode == 1
    assert not (tmp_path / "asked").exists()


def test_load_hands_the_image_and_the_models_to_the_engine(bundle: Path, tmp_path: Path) -> None:
    loaded = load(bundle, tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "load -i images/speech-server.tar"
    assert asked[1] == "tag localhost/speech-server:cpu speech-server:cpu", "podman's name means nothing to docker"
    assert asked[2].startswith("run --rm --network none ")
    assert asked[2].endswith(" speech-server:cpu models unpack /srv/models.tar")
    assert "loaded: speech-server:cpu" in loaded.stdout


def test_a_folder_for_models_is_where_the_caller_says(bundle: Path, tmp_path: Path) -> None:
    loaded = load(bundle, tmp_path, models="mine")
    assert loaded.returncode == 0, loaded.stderr
    assert (tmp_path / "mine").is_dir()
    assert not (bundle / "mine").exists()
    assert f"-v {tmp_path}/mine:/app/models" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("engine", ["nerdctl", "/usr/bin/docker"])
def test_an_engine_that_it_cannot_use_is_refused(bundle: Path, tmp_path: Path, engine: str) -> None:
    loaded = load(bundle, tmp_path, engine=engine)
    assert loaded.returncode == 2
    assert f"error: ENGINE is {engine}: it has to be docker, podman or buildah" in loaded.stderr
    assert not (tmp_path / "models").exists()


def test_models_are_named_with_their_licences(models_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    packed = subprocess.run(
        [sys.executable, ROOT / "start.py", "models", "pack", folder / "models.tar", FSMN_VAD.id],
        env={**os.environ, "MODELS_DIR": str(models_dir)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert packed.returncode == 0, packed.stderr
    assert run("write", folder, "--models", folder / "models.tar").returncode == 0
    (model,) = json.loads((folder / "MANIFEST.json").read_text("utf-8"))["models"]
    assert (model["id"], model["licence"], model["licence_url"]) == (
        FSMN_VAD.id,
        FSMN_VAD.licence,
        FSMN_VAD.licence_url,
    )


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    result = run("verify", tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error:")
    assert "Traceback" not in result.stderr
