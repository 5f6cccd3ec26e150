"""The package as `pip install .` makes it: everything is in it, and its commands start from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from app import __version__

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is made of: building leaves things behind."""
    folder = tmp_path_factory.mktemp("sources") / "checkout"
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path) -> Path:
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", sources.parent, sources]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = sources.parent.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed; what it needs is this environment's."""
    prefix = tmp_path_factory.mktemp("prefix")
    command = [*PIP, "install", "--no-deps", "--no-index", "--no-warn-script-location", "--ignore-installed"]
    result = subprocess.run([*command, "--prefix", prefix, wheel], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return prefix


def run(prefix: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    (packages,) = prefix.glob("lib/python3*/site-packages")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "ASR_"))}
    program, *arguments = command
    return subprocess.run(
        [prefix / "bin" / program, *arguments],
        cwd=cwd,
        env=clean | {"PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1", "MODELS_DIR": "models", "PORT": "9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_everything_is_in_it(sources: Path, wheel: Path) -> None:
    files = {path.relative_to(sources).as_posix() for path in (sources / "app").rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files
    assert {"app/web/static/index.html", "app/engines/speakers/campplus.onnx"} <= packed
    assert any(name.startswith("app/service/voices/migrations/versions/") for name in packed)


def test_it_asks_for_the_versions_that_the_tests_run_with(wheel: Path) -> None:
    lines = re.findall(r"^([A-Za-z0-9_.-]+==\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(name))
    asked = [requirement.split(";")[0] for requirement in metadata.get_all("Requires-Dist", [])]
    assert asked == [line.rstrip(";") for line in lines]
    assert metadata["Version"] == __version__


@pytest.mark.parametrize("program", ["speech-server", "oddasr"])
def test_its_commands_start_from_any_folder(installed: Path, tmp_path: Path, program: str) -> None:
    told = run(installed, tmp_path, program, "--help")
    assert told.stdout.startswith(f"usage: {program} "), told.stderr
    assert f"{program} doctor" in told.stdout
    assert "start.py" not in told.stdout
    assert run(installed, tmp_path, program, "--version").stdout == f"speech-server {__version__}\n"


def test_an_installed_doctor_knows_which_versions_are_wanted(installed: Path, tmp_path: Path) -> None:
    told = run(installed, tmp_path, "speech-server", "doctor")
    assert re.search(r"^OK +packages +\d\d as tested$", told.stdout, re.MULTILINE), told.stdout + told.stderr
