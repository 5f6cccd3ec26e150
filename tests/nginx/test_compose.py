"""The compose files say what they mean: settings that exist, folders an operator knows, nothing a container need not
have. (No Docker runs here: what is looked at is their structure.)"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from real.server import ROOT

from app.settings import Settings

from .compose import FILES, MAIN, filled_in, services

GPUS = "docker-compose.gpus.yml"
PORTS = "docker-compose.ports.yml"
PAGE = (ROOT / "docs" / "nginx.md").read_text("utf-8")
SETTINGS = {name.upper() for name in Settings.model_fields}
NGINX = {
    "ASR_SERVERS",
    "NGINX_DEFAULT_SERVERS",
    "NGINX_PORT",
    "NGINX_RATE_LIMIT_RPS",
    "NGINX_RATE_LIMIT_BURST",
    "NGINX_CONNECTIONS_PER_CLIENT",
    "NGINX_OPERATOR_NETWORKS",
    "NGINX_REAL_IP_FROM",
    "MAX_AUDIO_SIZE",
    "MAX_JOB_AUDIO_SIZE",
    "UPLOAD_IDLE_SECONDS",
    "REQUEST_TIMEOUT_SECONDS",
    "FUNASR_WS_PORT",
    "ODDASR_WS_PORT",
    "ODDASR_HTTP_PORT",
    "WYOMING_PORT",
}


def test_they_are_all_here() -> None:
    assert {MAIN, "docker-compose.cpu.yml", GPUS, PORTS} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_compose_can_fill_them_in(name: str) -> None:
    assert filled_in((ROOT / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_one_that_something_reads(name: str) -> None:
    for service, said in services(name).items():
        known = NGINX if service == "nginx" else SETTINGS if service.startswith("app") else None
        if known is not None:
            assert set(said.get("environment", {})) <= known, service


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_mounted_are_there(name: str) -> None:
    for said in services(name).values():
        for volume in said.get("volumes", []):
            source = str(volume).split(":")[0]
            if source.startswith("./") and str(volume).endswith(":ro") and source != "./nginx/tls":
                assert (ROOT / source).exists(), volume


@pytest.mark.parametrize("name", FILES)
def test_services_of_the_main_file_are_meant(name: str) -> None:
    whole = {service for service, said in services(name).items() if "image" in said}
    assert set(services(name)) - whole <= set(services(MAIN))


def test_it_stands_where_funasr_api_stood() -> None:
    app, nginx = services(MAIN)["app"], services(MAIN)["nginx"]
    assert nginx["ports"] == ["${NGINX_PORT:-17003}:17003"]
    assert nginx["environment"]["NGINX_PORT"] == "17003"
    assert "ports" not in app, "nobody gets past nginx"
    folders = dict(volume.split(":")[:2] for volume in app["volumes"])
    assert folders["./models/modelscope"] == app["environment"]["MODELSCOPE_PATH"]
    assert folders["./models/huggingface"] == app["environment"]["HF_HOME"]
    assert folders["./temp"] == app["environment"]["TEMP_DIR"]
    assert folders["./logs"] == str(Path(app["environment"]["LOG_FILE"]).parent)
    assert {"./data": app["environment"]["DATA_DIR"]}.items() <= folders.items()
    assert "APPTOKEN" in app["environment"]
    assert app["environment"]["API_KEYS"] == "${API_KEYS:-${API_KEY:-}}"


def test_every_replica_is_as_the_first_one() -> None:
    first, second = services(MAIN)["app"], services(GPUS)["app1"]
    own = {"networks", "deploy", "environment", "build"}
    assert "build" not in second, "one image is built once"
    assert {key: said for key, said in first.items() if key not in own} == {
        key: said for key, said in second.items() if key not in own
    }
    logs = [said["environment"].pop("LOG_FILE") for said in (first, second)]
    assert len(set(logs)) == 2, "each rotates its own"
    assert first["environment"] == second["environment"]
    assert first["deploy"] != second["deploy"], "each has a GPU of its own"


@pytest.mark.parametrize("service", ["prepare", "app", "nginx"])
def test_containers_may_do_little(service: str) -> None:
    said = services(MAIN)[service]
    assert said["cap_drop"] == ["ALL"]
    assert said["security_opt"] == ["no-new-privileges:true"]
    assert said["read_only"] is True
    assert said.get("privileged") is None
    if service != "prepare":
        assert int(said["user"].split(":")[0]) > 0
        assert "cap_add" not in said


@pytest.mark.parametrize(
    ("env", "wanted"),
    [({}, [5, 60]), ({"SHUTDOWN_SECONDS": "600.5", "SHUTDOWN_DELAY_SECONDS": "20"}, [20, 600.5])],
)
def test_there_is_time_to_end(env: dict[str, str], wanted: list[float]) -> None:
    app, nginx = services(MAIN)["app"], services(MAIN)["nginx"]
    names = ("SHUTDOWN_DELAY_SECONDS", "SHUTDOWN_SECONDS")
    seconds = [float(filled_in(app["environment"][name], env)) for name in names]
    assert seconds == wanted
    for service in (app, nginx):
        grace = filled_in(service["stop_grace_period"], env)
        parts = re.fullmatch(r"(?:[0-9.]+s)+", grace) and re.findall(r"([0-9.]+)s", grace)
        assert parts, grace
        assert sum(map(float, parts)) >= sum(seconds) + 20, "compose adds them up"
    assert seconds[0] > 3, "nginx must have seen it: kept connections live 2 s, failures are forgotten in 3"


def test_health_is_looked_at() -> None:
    app, nginx = services(MAIN)["app"], services(MAIN)["nginx"]
    assert app["healthcheck"]["test"]
    _, looked = nginx["healthcheck"]["test"]
    subprocess.run(["sh", "-n", "-c", looked], check=True)
    assert "--noproxy '*' http://127.0.0.1:8079/" in looked
    assert "/etc/nginx/run/watched" in looked


def test_what_is_in_env_counts_or_is_said_not_to() -> None:
    """.env holds settings: what the file says of one asks .env first, or the page lists it as fixed."""
    for name in (MAIN, GPUS):
        for service in (one for called, one in services(name).items() if called.startswith("app")):
            said = service["environment"]
            fixed = {setting for setting, value in said.items() if f"${{{setting}:-" not in value}
            (listed,) = re.findall(r"Fixed by the compose files, whatever `.env` says: ([^.]+)\.", PAGE)
            assert set(re.findall(r"`(\w+)`", listed)) == fixed
            assert filled_in(said["METRICS_OPEN"]) == "true"
            assert filled_in(said["METRICS_OPEN"], {"METRICS_OPEN": "false"}) == "false"
    assert filled_in(services(MAIN)["nginx"]["environment"]["ASR_SERVERS"], {"ASR_SERVERS": "a:1 b:2"}) == "a:1 b:2"


def test_nginx_is_believed_and_nobody_else() -> None:
    app, nginx = services(MAIN)["app"], services(MAIN)["nginx"]
    address = nginx["networks"]["speech"]["ipv4_address"]
    assert app["environment"]["FORWARDED_ALLOW_IPS"] == address


def test_nginx_asks_every_replica() -> None:
    for name in (MAIN, GPUS):
        asked = filled_in(services(name)["nginx"]["environment"]["NGINX_DEFAULT_SERVERS"]).split()
        replicas = {**services(MAIN), **services(name)}
        there = [said["networks"]["speech"]["ipv4_address"] for one, said in replicas.items() if one.startswith("app")]
        assert asked == [f"{filled_in(address)}:8000" for address in there]


def test_ports_of_their_own_are_published_and_every_replica_listens_at_them() -> None:
    ports = services(PORTS)["nginx"]["environment"]
    assert set(services(PORTS)) == {"nginx"}
    assert sorted(services(PORTS)["nginx"]["ports"]) == sorted(f"{port}:{port}" for port in ports.values())
    replicas = [said for name in (MAIN, GPUS) for one, said in services(name).items() if one.startswith("app")]
    assert len(replicas) >= 2
    for said in replicas:
        assert ports.items() <= said["environment"].items()
        assert said["environment"]["ODDASR_WS_HOST"] == "", "at HOST"
        assert "ports" not in said


@pytest.mark.parametrize(
    "script",
    [
        "nginx/docker-entrypoint.d/10-speech.envsh",
        "nginx/docker-entrypoint.d/40-watch-replicas.sh",
        "docker/rolling_update.sh",
    ],
)
def test_scripts_can_be_run(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111 == 0o111, "the image ignores what is not executable"
    subprocess.run(["sh", "-n", ROOT / script], check=True)


def test_every_file_that_the_templates_need_is_mounted() -> None:
    mounted = {volume.split(":")[0] for volume in services(MAIN)["nginx"]["volumes"]}
    shipped = {f"./nginx/{path.relative_to(ROOT / 'nginx')}" for path in (ROOT / "nginx").rglob("*.*sh")}
    assert shipped | {"./nginx/nginx.conf", "./nginx/templates"} <= mounted
