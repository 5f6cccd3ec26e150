"""bundle.sh, with an engine that only writes down what it was asked: what it takes along, and what it leaves here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.modelstore.catalog import FSMN_VAD

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv"
TAKEN = [
    *("app", "docker", "docs", "nginx", "start.py", "README.md", "README_zh.md", "LICENSE", "SECURITY.md"),
    *("CHANGELOG.md", ".env.example", "docker-compose.yml", "docker-compose.cpu.yml", "docker-compose.gpus.yml"),
    *("docker-compose.ports.yml", "docker-compose.monitoring.yml"),
]
OPERATORS = ["docker-compose.override.yml", ".env", "nginx/tls/tls.key", "docker/prometheus/key", "nginx/my.key"]

pytestmark = pytest.mark.skipif(not ENVIRONMENT.exists(), reason="no .venv: it packs models by that (make .venv/.run)")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy without git, beside whose files an operator's own lie."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in TAKEN:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tls", "pictures"))
        else:
            shutil.copy(source, folder / name)
    for name in OPERATORS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    (folder / ".env").write_text("")  # it is read by what packs models
    (folder / ".venv").symlink_to(ENVIRONMENT)
    return folder


def bundle(
    checkout: Path,
    tmp_path: Path,
    models_dir: Path,
    *arguments: str,
    engine: str = "docker",
    saves: str = 'echo tar >"$3"',
) -> subprocess.CompletedProcess[str]:
    """`saves`: what the engine does when it is to save an image."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n'
        f'case $1 in\n  save) {saves} ;;\n  image) [ "$3" != absent:1 ] && echo sha256:abc ;;\nesac\n'
    )
    program.chmod(0o755)
    return subprocess.run(
        [checkout / "docker" / "bundle.sh", "--image", "mine:1", "--models", FSMN_VAD.id, *arguments],
        env={
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "ENGINE": engine,
            "MODELS_DIR": str(models_dir),
            "GIT_CEILING_DIRECTORIES": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_takes_its_own_files_along_and_nobody_elses(checkout: Path, tmp_path: Path, models_dir: Path) -> None:
    made = bundle(checkout, tmp_path, models_dir, "--with", "absent:1")
    assert made.returncode == 0, made.stderr
    folder = checkout / "bundle"
    found = files(folder)
    assert found >= {"MANIFEST.json", "SHA256SUMS", "load.sh", "engine.sh", "models.tar", "docs/deployment.md"}
    assert found >= {"images/speech-server.tar", "images/absent_1.tar", "nginx/nginx.conf", "docker-compose.gpus.yml"}
    assert not found & set(OPERATORS)
    assert json.loads((folder / "MANIFEST.json").read_text("utf-8"))["image"] == {"name": "mine:1", "id": "sha256:abc"}
    assert "pull absent:1" in (tmp_path / "asked").read_text().splitlines()
    checked = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    assert checked.returncode == 0


def test_where_there_is_git_it_takes_what_git_knows(checkout: Path, tmp_path: Path, models_dir: Path) -> None:
    (checkout / "docs" / "draft.md").write_text("not yet")
    for words in (["init", "-q"], ["add", "docs/deployment.md", "docker-compose.yml", "docker-compose.override.yml"]):
        subprocess.run(["git", *words], cwd=checkout, check=True)
    made = bundle(checkout, tmp_path, models_dir)
    assert made.returncode == 0, made.stderr
    found = files(checkout / "bundle")
    assert found == {
        *("MANIFEST.json", "SHA256SUMS", "load.sh", "engine.sh", "models.tar", "images/speech-server.tar"),
        *("docs/deployment.md", "docker-compose.yml"),
    }


@pytest.mark.parametrize("saves", ["true", "exit 3"], ids=["nothing", "failed"])
@pytest.mark.parametrize("empty", [True, False], ids=["an empty folder", "no folder"])
def test_half_a_bundle_is_removed(checkout: Path, tmp_path: Path, models_dir: Path, saves: str, empty: bool) -> None:
    folder = tmp_path / "out"
    if empty:
        folder.mkdir()
    made = bundle(checkout, tmp_path, models_dir, "--out", str(folder), saves=saves)
    assert made.returncode != 0
    assert folder.exists() == empty
    assert not empty or not list(folder.iterdir())


@pytest.mark.parametrize("engine", ["nerdctl", "podman-remote"])
def test_an_engine_that_it_cannot_use_is_refused(checkout: Path, tmp_path: Path, models_dir: Path, engine: str) -> None:
    made = bundle(checkout, tmp_path, models_dir, engine=engine)
    assert made.returncode == 2
    assert f"error: ENGINE is {engine}: it has to be docker, podman or buildah" in made.stderr
    assert not (checkout / "bundle").exists()


def test_a_folder_with_something_in_it_stays_as_it_is(checkout: Path, tmp_path: Path, models_dir: Path) -> None:
    (checkout / "bundle").mkdir()
    (checkout / "bundle" / "mine").write_text("mine")
    made = bundle(checkout, tmp_path, models_dir)
    assert made.returncode == 2
    assert files(checkout / "bundle") == {"mine"}
