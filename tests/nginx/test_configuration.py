"""Every variant of the shipped configuration is one that nginx takes, and what makes no sense ends the start."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.service.uploads import FORM_SLACK
from app.settings import MEBIBYTE, parse_size

from .certificates import make_certificate
from .proxy import check, configure

SEVERAL = {"ASR_SERVERS": "127.0.0.1:8000,127.0.0.1:8001 127.0.0.1:8002"}
PORTS = {"FUNASR_WS_PORT": "10095", "ODDASR_WS_PORT": "8101", "ODDASR_HTTP_PORT": "9002", "WYOMING_PORT": "10300"}
EIGHT = {"ASR_SERVERS": " ".join(f"127.0.0.1:{8000 + number}" for number in range(8))}
LONG = {"ASR_SERVERS": " ".join(f"{number}.0.0.1:8000".rjust(105, "0") for number in range(120, 128))}
"""Names of a hundred characters. nginx reads them as addresses and need not look them up."""
RATE = {"NGINX_RATE_LIMIT_RPS": "5", "NGINX_RATE_LIMIT_BURST": "10", "NGINX_CONNECTIONS_PER_CLIENT": "20"}
NETWORKS = {"NGINX_OPERATOR_NETWORKS": "10.0.0.0/8, 192.168.7.3", "NGINX_REAL_IP_FROM": "172.16.0.0/12"}
VARIANTS = {
    "one server": {"ASR_SERVERS": "127.0.0.1:8000"},
    "several servers": SEVERAL,
    "eight servers": EIGHT,
    "eight servers with long names": LONG | PORTS,
    "limits": SEVERAL | RATE,
    "a rate without a burst": SEVERAL | {"NGINX_RATE_LIMIT_RPS": "5"},
    "networks": SEVERAL | NETWORKS,
    "all ports": SEVERAL | PORTS,
    "everything": SEVERAL | PORTS | RATE | NETWORKS,
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_nginx_takes_it(tmp_path: Path, variant: str, secure: bool) -> None:
    if secure:
        make_certificate(tmp_path / "tls")
    environment = configure(tmp_path, **VARIANTS[variant])
    found = check(tmp_path)
    assert found.returncode == 0, found.stderr
    assert "warn" not in found.stderr
    assert ("ssl_certificate " in (tmp_path / "conf.d" / "default.conf").read_text()) is secure
    assert environment["NGINX_ENVSUBST_FILTER"] == "^SPEECH_"
    assert "${SPEECH" not in "".join(path.read_text() for path in (tmp_path / "conf.d").rglob("*.conf"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ASR_SERVERS": " "}, "ASR_SERVERS names no server"),
        ({"ASR_SERVERS": "app"}, "app has no port"),
        ({"ASR_SERVERS": "app:80;80"}, "is no host:port"),
        ({"ASR_SERVERS": " ".join(f"app{number}:80" for number in range(9))}, "more than 8 servers"),
        ({"MAX_AUDIO_SIZE": "plenty"}, "is no size"),
        ({"NGINX_PORT": "70000"}, "not within"),
        ({"NGINX_RATE_LIMIT_RPS": "-1"}, "no whole number"),
        ({"WYOMING_PORT": "ten"}, "WYOMING_PORT=ten is no whole number"),
        ({"UPLOAD_IDLE_SECONDS": "soon"}, "no number of seconds"),
        ({"NGINX_OPERATOR_NETWORKS": "all;"}, "is no address or network"),
    ],
)
def test_what_makes_no_sense_ends_the_start(tmp_path: Path, wrong: dict[str, str], told: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        configure(tmp_path, **{"ASR_SERVERS": "app:8000"} | wrong)
    assert told in caught.value.stderr


def test_a_certificate_without_its_key_ends_the_start(tmp_path: Path) -> None:
    make_certificate(tmp_path / "tls")
    (tmp_path / "tls" / "tls.key").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        configure(tmp_path)
    assert "needs both tls.crt and tls.key" in caught.value.stderr


@pytest.mark.parametrize("size", ["100", "2048MB", "2048 MB", "2GB", "1.5gb", "512KB", " 7 mb ", "1000B", "0.5"])
def test_sizes_are_read_as_the_server_reads_them(tmp_path: Path, size: str) -> None:
    environment = configure(tmp_path, MAX_AUDIO_SIZE=size)
    bytes_here = int(environment["SPEECH_BODY_BYTES"])
    assert bytes_here == int(str(parse_size(size))) + 2 * MEBIBYTE
    assert bytes_here > int(str(parse_size(size))) + FORM_SLACK, "the server's own answer comes first"


def test_the_server_gives_up_first(tmp_path: Path) -> None:
    environment = configure(tmp_path, UPLOAD_IDLE_SECONDS="30.5", REQUEST_TIMEOUT_SECONDS="120")
    assert environment["SPEECH_BODY_SECONDS"] == "36"
    assert environment["SPEECH_ANSWER_SECONDS"] == "180"


def test_servers_that_are_named_come_before_those_of_the_compose_file(tmp_path: Path) -> None:
    default = {"NGINX_DEFAULT_SERVERS": "app:8000 app1:8000"}
    assert configure(tmp_path, ASR_SERVERS="", **default)["SPEECH_SERVERS"].split() == ["app:8000", "app1:8000"]
    environment = configure(tmp_path, ASR_SERVERS="other:8000", **default)
    assert environment["SPEECH_SERVERS"] == environment["ASR_SERVERS"] == "other:8000"


@pytest.mark.parametrize(
    ("version", "newer"), [("1.22.1", False), ("1.25.0", False), ("1.25.1", True), ("1.28.0", True), ("2.0.0", True)]
)
def test_newer_nginx_is_asked_for_http2_by_its_own_directive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, newer: bool
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nginx").write_text(f"#!/bin/sh\necho 'nginx version: nginx/{version} (some build)' >&2\n")
    (programs / "nginx").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    make_certificate(tmp_path / "tls")
    environment = configure(tmp_path)
    assert ("http2 on;" in environment["SPEECH_TLS"]) is newer
    assert environment["SPEECH_TLS_FLAGS"] == (" ssl" if newer else " ssl http2")


def test_only_ports_that_are_set_are_opened(tmp_path: Path) -> None:
    configure(tmp_path, ODDASR_WS_PORT="8101")
    made = {path.relative_to(tmp_path / "conf.d").as_posix() for path in (tmp_path / "conf.d").rglob("*.conf")}
    assert {"default.conf", "oddasr_live.conf"} <= made
    assert not made & {"oddasr_http.conf", "funasr.conf", "main/wyoming.conf"}
    assert {path.name for path in (tmp_path / "run" / "upstreams").iterdir()} == {"speech.conf", "oddasr_live.conf"}
