"""The nginx that the repository ships, started as the official image starts it: configured by environment variables."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from real.server import ROOT

SHIPPED = ROOT / "nginx"
_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Debian's package has it apart; the official image's nginx has it built in."""
_START_SECONDS = 20.0
_TRIES = 3
"""A port that was free may be somebody's when nginx wants it."""
_END_SECONDS = 20.0
_REFUSED_SECONDS = 60.0


@dataclass(frozen=True)
class Nginx:
    """An nginx that runs. `out` is where servers that are not ready are named, `log` what it printed, `environment`
    what it was configured by."""

    base: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]

    @property
    def status(self) -> str:
        """What is for its container's health check and for Prometheus."""
        return f"http://{self.environment['SPEECH_ADDRESS']}:{self.environment['SPEECH_STATUS_PORT']}"

    @property
    def out(self) -> Path:
        return self.folder / "run" / "out"

    def buffered(self) -> list[Path]:
        """What it has written of requests and answers to disk."""
        folders = [self.folder / "run" / name for name in ("body", "proxy")]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, no two the same, and none that the system gives to others in the meantime."""
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(range(min(10_000, below // 2), below))
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            found += [] if port in found else [port]
    return found


def need_nginx() -> None:
    """Skip where there is no nginx; fail where there must be one."""
    if shutil.which("nginx") and shutil.which("curl") and _STREAM_MODULE.exists():
        return
    reason = "needs Debian's nginx-light, libnginx-mod-stream and curl"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def configure(folder: Path, **variables: str) -> dict[str, str]:
    """Make nginx's folder as the image's entrypoint does, and give the environment that its next scripts see.

    Raises:
        subprocess.CalledProcessError: a variable makes no sense; `stderr` says which.
    """
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    (folder / "conf.d" / "main").mkdir(parents=True, exist_ok=True)
    status = {} if "NGINX_STATUS_PORT" in variables else {"NGINX_STATUS_PORT": str(free_ports(1)[0])}
    given = {
        "PATH": os.environ["PATH"],
        "NGINX_ADDRESS": "127.0.0.1",
        "NGINX_RUN_FOLDER": str(folder / "run"),
        "NGINX_TLS_FOLDER": str(folder / "tls"),
        "NGINX_ENVSUBST_TEMPLATE_DIR": str(folder / "templates"),
        **status,
        **variables,
    }
    script = folder / "docker-entrypoint.d" / "10-speech.envsh"
    found = subprocess.run(
        ["sh", "-ec", '. "$0"; env -0', script], env=given, capture_output=True, text=True, check=True
    )
    environment = dict(line.split("=", 1) for line in found.stdout.split("\0") if line)
    _fill_in(Path(environment["NGINX_ENVSUBST_TEMPLATE_DIR"]), folder / "conf.d", environment)
    return environment


def command(folder: Path, directives: str = "") -> list[str]:
    """nginx in that folder, by the shipped nginx.conf."""
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is this user's only
    first = f"load_module {_STREAM_MODULE}; {user} {directives}"
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", first]


def from_client(address: str) -> httpx.Client:
    """A client at `address`, without TLS. All of 127.0.0.0/8 is this machine's."""
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # sooner made than one that trusts the usual authorities
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address, verify=nobody), timeout=60)


def refused(url: str, **request: Any) -> httpx.Response:
    """The first answer that says 429, of requests that are made at once, again and again until there is one."""
    found: queue.Queue[httpx.Response] = queue.Queue()
    over = time.monotonic() + _REFUSED_SECONDS

    def ask() -> None:
        with httpx.Client(timeout=_REFUSED_SECONDS) as http:
            while found.empty() and time.monotonic() < over:
                answer = http.post(url, content=b"sound", **request)
                if answer.status_code != 200:
                    found.put(answer)

    with ThreadPoolExecutor(8) as several:
        for asking in [several.submit(ask) for _ in range(8)]:
            asking.result()
    answers = [found.get() for _ in range(found.qsize())]
    assert {answer.status_code for answer in answers} == {429}
    return answers[0]


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `nginx -t` says of it."""
    return subprocess.run([*command(folder), "-t"], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def running(folder: Path, servers: Sequence[str], **variables: str) -> Generator[Nginx]:
    """nginx before these servers ("127.0.0.1:8000"), with its watch."""
    address, log = variables.get("NGINX_ADDRESS", "127.0.0.1"), folder / "log"
    for _ in range(_TRIES):
        port = free_ports(1)[0]
        environment = configure(folder, ASR_SERVERS=" ".join(servers), NGINX_PORT=str(port), **variables)
        with _started(folder, environment, log) as process:
            if _listens(folder, process):
                secure = bool(environment["SPEECH_TLS"])
                yield Nginx(f"{'https' if secure else 'http'}://{address}:{port}", folder, log, process, environment)
                return
        if "Address already in use" not in log.read_text():
            break
    pytest.fail(f"nginx did not start:\n{log.read_text()[-3000:]}")


@contextlib.contextmanager
def _started(folder: Path, environment: Mapping[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, _watching(folder, environment, out.fileno()):
        process = subprocess.Popen(command(folder, "daemon off;"), stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_END_SECONDS)


@contextlib.contextmanager
def watch(folder: Path, servers: Sequence[str], **variables: str) -> Generator[None]:
    """The watch alone, which has looked once. What it prints is in `folder`/log."""
    environment = configure(folder, ASR_SERVERS=" ".join(servers), **variables)
    with (folder / "log").open("wb") as out, _watching(folder, environment, out.fileno()):
        yield


def _fill_in(templates: Path, to: Path, environment: Mapping[str, str]) -> None:
    wanted = re.compile(environment["NGINX_ENVSUBST_FILTER"])
    for template in templates.rglob("*.template"):
        path = to / template.relative_to(templates).with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            return environment.get(name, match[0]) if wanted.search(name) else match[0]

        path.write_text(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, template.read_text()))


@contextlib.contextmanager
def _watching(folder: Path, environment: Mapping[str, str], out: int) -> Generator[None]:
    """The watch, which goes on behind the script that starts it."""
    script = folder / "docker-entrypoint.d" / "40-watch-replicas.sh"
    started = subprocess.Popen(["sh", script], env=dict(environment), stdout=out, stderr=out, start_new_session=True)
    try:
        assert started.wait(_START_SECONDS) == 0
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def _listens(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether it gets its ports: what it writes as soon as it has them all."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "run" / "nginx.pid").exists():
            return True
        time.sleep(0.02)
    return False
