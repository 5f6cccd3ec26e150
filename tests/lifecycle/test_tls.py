"""HTTPS and WSS with a certificate that `start.py certificate` makes."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import ssl
import stat
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from real.server import ROOT
from real.wires import Wires, start_wires
from websockets.asyncio.client import connect

from app.cli import certificate as command
from app.domain.errors import ConfigUnusable
from app.service.certificates import tls_of
from app.settings import Settings


def _made(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "start.py", "certificate", "--out", folder, *more],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "made"
    result = _made(folder, "--name", "asr.example.org", "--name", "10.9.8.7")
    assert result.returncode == 0, result.stderr
    for line in (f"TLS_CERT_FILE={folder / 'certificate.pem'}", f"TLS_KEY_FILE={folder / 'key.pem'}"):
        assert line in result.stdout
    assert "SHA-256 fingerprint: " in result.stdout
    assert "browsers will warn" in result.stdout
    return folder


@pytest.fixture(scope="module")
def wires(
    files: Path, models_dir: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wires]:
    wires = start_wires(
        models_dir,
        tmp_path_factory.mktemp("server"),
        ASR_MODEL_DIR_WHISPER_BASE=str(small_model),
        TLS_CERT_FILE=str(files / "certificate.pem"),
        TLS_KEY_FILE=str(files / "key.pem"),
        SHUTDOWN_SECONDS="60",
    )
    yield wires
    wires.server.process.kill()
    wires.server.process.wait()


@pytest.fixture(scope="module")
def port(wires: Wires, files: Path) -> int:
    port = int(wires.server.base.rpartition(":")[2])
    with httpx.Client(verify=_trusting(files), transport=None, timeout=60) as client:
        for _ in range(600):
            try:
                client.get(f"https://127.0.0.1:{port}/health/live")
            except httpx.TransportError:
                assert wires.server.process.poll() is None, wires.server.log.read_text()
                asyncio.run(asyncio.sleep(0.1))
            else:
                break
    return port


def _trusting(files: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=files / "certificate.pem")


def test_https_is_spoken_to_who_trusts_the_certificate_by_every_name(port: int, files: Path) -> None:
    for host in ("127.0.0.1", "localhost"):
        answer = httpx.get(f"https://{host}:{port}/health/live", verify=_trusting(files), timeout=60)
        assert answer.json() == {"status": "alive"}
    with pytest.raises(httpx.ConnectError, match="self-signed"):
        httpx.get(f"https://127.0.0.1:{port}/health/live", timeout=60)


def test_other_ports_speak_wss_and_wyoming_is_said_not_to_be_encrypted(port: int, wires: Wires, files: Path) -> None:
    async def greeted(url: str) -> None:
        async with connect(url, ssl=_trusting(files), proxy=None):
            pass

    asyncio.run(greeted(f"wss://127.0.0.1:{port}/ws/v1"))
    asyncio.run(greeted(f"wss://127.0.0.1:{wires.ports['oddasr']}/"))
    with socket.create_connection(("127.0.0.1", wires.ports["wyoming"]), 10) as plain:
        plain.sendall(b'{"type": "describe"}\n')
        assert plain.recv(100).startswith(b'{"type":')
    log = wires.server.log.read_text()
    assert f"listening on https://127.0.0.1:{port}" in log
    assert "what is said at WYOMING_PORT is not encrypted" in log


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_what_is_older_than_tls_1_2_and_what_is_not_encrypted_is_not_spoken(port: int, files: Path) -> None:
    for version, spoken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = _trusting(files)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            if spoken:
                with context.wrap_socket(raw, server_hostname="localhost") as talk:
                    assert talk.version() == "TLSv1.2"
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(raw, server_hostname="localhost")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=10)


def test_clients_that_keep_their_connections_do_not_hold_the_end(port: int, wires: Wires, files: Path) -> None:
    """They read nothing while nothing is asked, and so never say that they heard of the encryption's end."""
    with httpx.Client(verify=_trusting(files), timeout=60) as pooled, _asked_once(port, files) as silent:
        assert pooled.get(f"https://127.0.0.1:{port}/health/live").status_code == 200
        wires.server.process.send_signal(signal.SIGTERM)
        assert wires.server.process.wait(30) == -signal.SIGTERM  # half of what requests are given
        assert silent.recv(100) == b""
    log = wires.server.log.read_text()
    assert "given up" not in log
    assert "Traceback" not in log


def _asked_once(port: int, files: Path) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), 30)
    connection = _trusting(files).wrap_socket(raw, server_hostname="localhost")
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)
    return connection


def test_the_key_is_for_this_user_only_and_nothing_is_replaced_unless_asked(files: Path) -> None:
    key = files / "key.pem"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    refused = _made(files)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert key.read_bytes() == before


def _made_here(folder: Path, *names: str, force: bool = False) -> int:
    return command.run(Settings(_env_file=None), Namespace(out=folder, name=list(names), force=force))


@pytest.mark.parametrize("there", ["certificate.pem", "key.pem"])
def test_either_file_is_replaced_only_where_that_is_asked(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("dear")
    with pytest.raises(ConfigUnusable, match=f"{there} is there already; --force"):
        _made_here(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "dear")]

    assert _made_here(tmp_path, force=True) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"certificate.pem", "key.pem"}
    assert tls_of(_settings(tmp_path / "certificate.pem", tmp_path / "key.pem")) is not None


def test_what_is_there_stays_where_no_new_pair_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _made_here(tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(command, "_write", full)
        with pytest.raises(ConfigUnusable, match="cannot be written: No space left"):
            _made_here(tmp_path, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_none_and_a_name_that_is_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigUnusable, match="is no folder: --out takes one"):
            _made_here(folder)
    with pytest.raises(ConfigUnusable, match="no name of a machine"):
        _made_here(tmp_path / "made", "no name")


# --- files that cannot be used ----------------------------------------------------------------------------------------


def _settings(certificate: Path | None, key: Path | None) -> Settings:
    return Settings(_env_file=None, tls_cert_file=certificate, tls_key_file=key)


def test_without_files_there_is_no_tls() -> None:
    assert tls_of(_settings(None, None)) is None


@pytest.mark.parametrize(("missing", "told"), [("key", "TLS_KEY_FILE is not set"), ("cert", "TLS_CERT_FILE is not")])
def test_one_without_the_other_is_told(files: Path, missing: str, told: str) -> None:
    with pytest.raises(ConfigUnusable, match=told):
        tls_of(
            _settings(
                None if missing == "cert" else files / "certificate.pem",
                None if missing == "key" else files / "key.pem",
            )
        )


def test_files_that_cannot_be_used_are_told_by_their_setting(files: Path, tmp_path: Path) -> None:
    certificate, key, nothing = files / "certificate.pem", files / "key.pem", tmp_path / "nothing.pem"
    with pytest.raises(ConfigUnusable, match=r"TLS_CERT_FILE=.* cannot be read: No such file"):
        tls_of(_settings(nothing, key))
    with pytest.raises(ConfigUnusable, match=r"TLS_KEY_FILE=.* cannot be read: No such file"):
        tls_of(_settings(certificate, nothing))
    nothing.write_text("nothing")
    with pytest.raises(ConfigUnusable, match=r"TLS_CERT_FILE=.* holds no certificate"):
        tls_of(_settings(nothing, key))
    with pytest.raises(ConfigUnusable, match=r"TLS_KEY_FILE=.* is no private key"):
        tls_of(_settings(certificate, nothing))


def test_a_key_of_another_certificate_or_with_a_password_is_told(files: Path, tmp_path: Path) -> None:
    _, other = command.make(["localhost"])
    path = tmp_path / "key.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(ConfigUnusable, match="has a password"):
        tls_of(_settings(files / "certificate.pem", path))
    path.unlink()
    assert _made_here(tmp_path / "other") == 0
    with pytest.raises(ConfigUnusable, match="is not the key of"):
        tls_of(_settings(files / "certificate.pem", tmp_path / "other" / "key.pem"))


def test_a_certificate_that_is_not_valid_today_is_told(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Then(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) - timedelta(days=400)

    monkeypatch.setattr(command, "datetime", Then)
    certificate, _ = command.make(["localhost"])
    (tmp_path / "old.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    with pytest.raises(ConfigUnusable, match=r"is valid from .* only"):
        tls_of(_settings(tmp_path / "old.pem", files / "key.pem"))


def test_a_server_with_files_that_cannot_be_used_does_not_start(files: Path, tmp_path: Path, models_dir: Path) -> None:
    wires = start_wires(models_dir, tmp_path, TLS_CERT_FILE=str(files / "certificate.pem"))
    assert wires.server.process.wait(60) == 2
    assert "TLS_KEY_FILE is not set" in wires.server.log.read_text()
