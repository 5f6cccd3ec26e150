"""What cannot be read or written is one clear line and status 2, whatever it is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from real.server import ROOT

from app.cli.streams import enduring
from app.domain.errors import ConfigUnusable, PortUnavailable
from app.ports import ServedApp, serve_all
from app.service import logs
from app.settings import Settings

PATIENCE = 60.0


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line of a shell's, in which start is start.py."""
    start = f'start() {{ "{sys.executable}" "{ROOT / "start.py"}" "$@"; }}; '
    return subprocess.run(
        ["sh", "-c", start + line],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "HF_HUB_OFFLINE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "status", "out"),
    [
        ("start models list >&-", 0, ""),
        ("start transcribe nothing.wav 2>&-", 2, ""),
        ("start models nonsense 2>&-", 2, ""),
        ("start transcribe nothing.wav --quiet 2>/dev/full", 2, ""),
        ("start transcribe nothing.wav --quiet 0<&- >&- 2>&-", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(tmp_path: Path, line: str, status: int, out: str) -> None:
    result = shell(line, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (status, out, "")


def test_standard_output_without_room(tmp_path: Path) -> None:
    result = shell("start models list >/dev/full", tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: standard output cannot be written: No space left on device\n"


def test_what_nobody_reads_of_a_list_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "start.py"), "models", "list"]
    try:
        result = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_stream_that_breaks_takes_the_rest_in() -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as left:  # noqa: PTH123 - a descriptor
        stream = enduring(left)
        print("read", file=stream, flush=True)
        assert os.read(reader, 100) == b"read\n"
        os.close(reader)
        for _ in range(3):
            print("nobody reads it", file=stream, flush=True)
        assert (stream.fileno(), stream.isatty()) == (writer, False)
        with contextlib.suppress(BrokenPipeError):
            left.close()


def test_an_env_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("PORT=8000\nHOST=é".encode("latin-1"))
    result = shell("start models list", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "error: .env: byte 15 is not UTF-8\n")


@pytest.mark.parametrize("host", ["a\udcff", "a" * 70 + ".example", "a\0b"])
def test_a_host_that_is_no_address(host: str) -> None:
    with pytest.raises(PortUnavailable, match="is no address: "):
        serve_all(ServedApp(_nothing, host, 1, "PORT"))


def test_the_doctor_names_a_host_that_is_no_address(tmp_path: Path) -> None:
    command = ["sh", "-c", f'HOST=$(printf "a\\377") exec "{sys.executable}" "{ROOT / "start.py"}" doctor']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert b"Traceback" not in result.stderr
    assert b": it is no address\n" in result.stdout


@pytest.mark.parametrize(
    ("place", "why"),
    [("file/below/a.log", "Not a directory"), ("", "Is a directory"), ("a\0b", "embedded null byte")],
)
def test_a_log_file_that_cannot_be_written(tmp_path: Path, place: str, why: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigUnusable, match=rf"^LOG_FILE=.* cannot be written: {why}"):
        logs.configure(Settings(log_file=tmp_path / place))


async def _nothing(*_: object) -> None:
    raise AssertionError("nobody is served")
