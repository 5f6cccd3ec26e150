"""The image's entry point: what it says of folders, and that it becomes the server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docker" / "entrypoint.sh"


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """What the image's environment names, in a folder that everybody may enter."""
    names = {"TEMP_DIR": "temp", "DATA_DIR": "data", "MODELS_DIR": "models"}
    for folder in names.values():
        (tmp_path / folder).mkdir()
    return {name: str(tmp_path / folder) for name, folder in names.items()}


def run(
    tmp_path: Path, folders: dict[str, str], *arguments: str, uid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The script with another Python than the image's: one that says what it was asked."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$$: $*"\n')
    python.chmod(0o755)
    script = tmp_path / "entrypoint.sh"
    text = SCRIPT.read_text("utf-8").replace("/opt/venv/bin/python", str(python))
    script.write_text(text.replace("beside=/app/.env", f"beside={tmp_path}/.env"), "utf-8")
    with subprocess.Popen(
        ["sh", script, *arguments],
        env={**os.environ, **folders},
        user=uid,
        extra_groups=None if uid is None else [],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, err = process.communicate()
    assert not out or out.startswith(f"{process.pid}: "), "the server is another process than the first"
    return subprocess.CompletedProcess(process.args, process.returncode, out.partition(": ")[2], err)


def test_it_becomes_the_server(tmp_path: Path, folders: dict[str, str]) -> None:
    result = run(tmp_path, folders)
    assert (result.returncode, result.stdout, result.stderr) == (0, "/app/start.py\n", "")


def test_other_commands_are_passed_on_whatever_folders_there_are(tmp_path: Path, folders: dict[str, str]) -> None:
    result = run(tmp_path, {**folders, "TEMP_DIR": "/nowhere"}, "models", "unpack", "a file.tar")
    assert (result.returncode, result.stdout) == (0, "/app/start.py models unpack a file.tar\n")


@pytest.mark.parametrize("name", ["TEMP_DIR", "DATA_DIR"])
def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(
    tmp_path: Path, folders: dict[str, str], name: str
) -> None:
    result = run(tmp_path, {**folders, name: "/nowhere"})
    assert result.returncode == 2
    assert f"/nowhere cannot be written by uid {os.getuid()}" in result.stderr
    assert f"chown -R {os.getuid()}" in result.stderr


def test_models_that_cannot_be_written_are_served(tmp_path: Path, folders: dict[str, str]) -> None:
    result = run(tmp_path, {**folders, "MODELS_DIR": "/nowhere"})
    assert (result.returncode, result.stdout) == (0, "/app/start.py\n")
    assert "nothing is fetched" in result.stderr


@pytest.mark.parametrize("words", [("-c", "config.json"), ("--config=config.json",), ("-c", "config.json", "serve")])
def test_options_before_the_command_do_not_pass_the_folders_by(
    tmp_path: Path, folders: dict[str, str], words: tuple[str, ...]
) -> None:
    assert run(tmp_path, folders, *words).stdout == f"/app/start.py {' '.join(words)}\n"
    assert run(tmp_path, {**folders, "DATA_DIR": "/nowhere"}, *words).returncode == 2


@pytest.mark.parametrize("words", [("--version",), ("-h",), ("-c", "config.json", "doctor"), ("-c=c.json", "doctor")])
def test_what_serves_nothing_needs_no_folders(tmp_path: Path, folders: dict[str, str], words: tuple[str, ...]) -> None:
    assert run(tmp_path, {**folders, "DATA_DIR": "/nowhere"}, *words).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_another_user_left_in_volumes_is_told(folders: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own cannot be entered by others
        place = Path(folder)
        place.chmod(0o755)
        mounted = {name: str(place / name) for name in folders}
        for path in mounted.values():
            Path(path).mkdir()
            Path(path).chmod(0o777)
        assert run(place, mounted, uid=12345).stderr == ""
        (Path(mounted["MODELS_DIR"]) / ".locks").mkdir(mode=0o755)
        result = run(place, mounted, uid=12345)
        assert result.returncode == 0
        assert f"{mounted['MODELS_DIR']}/.locks cannot be written by uid 12345" in result.stderr
        database = Path(mounted["DATA_DIR"]) / "voices.db"
        database.touch(mode=0o644)
        result = run(place, mounted, uid=12345)
        assert result.returncode == 2
        assert f"error: {database} cannot be written by uid 12345" in result.stderr


def test_what_a_mounted_env_cannot_say_is_told(tmp_path: Path, folders: dict[str, str]) -> None:
    (tmp_path / ".env").write_text("API_KEYS=a\nPORT=9000\n#HOST=::1\n")
    result = run(tmp_path, folders)
    assert (result.returncode, result.stdout) == (0, "/app/start.py\n")
    assert result.stderr.count("note:") == 1
    assert "note: PORT in " in result.stderr
    assert "-e PORT=" in result.stderr
