"""Prometheus asks nginx which servers there are, and gets all of them, each by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from real.server import ROOT

from .proxy import configure, running

SERVERS = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]
SHIPPED = ROOT / "docker" / "prometheus"


def test_nginx_tells_every_server(tmp_path: Path) -> None:
    with running(tmp_path, SERVERS) as nginx:
        answer = httpx.get(f"{nginx.status}/targets")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == [{"targets": SERVERS}]
        assert httpx.get(f"{nginx.status}/").text == "nginx answers\n"
        assert httpx.get(f"{nginx.status}/metrics").status_code == 404


def test_prometheus_finds_them(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        told = "promtool (Debian's package prometheus) is not on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    shutil.copytree(SHIPPED, tmp_path / "prometheus")
    file = tmp_path / "prometheus" / "prometheus.yml"
    port = configure(tmp_path / "default", NGINX_STATUS_PORT="")["SPEECH_STATUS_PORT"]
    text = file.read_text()
    assert f"http://nginx:{port}/targets" in text, "compose's name for it, and the port that it has there"
    with running(tmp_path / "nginx", SERVERS) as nginx:
        file.write_text(text.replace(f"http://nginx:{port}", nginx.status))
        found = subprocess.run(
            ["promtool", "check", "service-discovery", "--timeout=5s", file, "speech-server"],
            capture_output=True,
            text=True,
            check=True,
        )
    labels = [one["labels"] for one in json.loads(found.stdout)]
    assert {one["__address__"] for one in labels} == {one["instance"] for one in labels} == set(SERVERS)
    assert {one["__metrics_path__"] for one in labels} == {"/metrics"}
