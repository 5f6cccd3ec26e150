"""The examples of docs/deployment.md, as far as they can be checked without a cluster: they name what there is."""

from __future__ import annotations

import configparser
import re
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.modelstore.catalog import CATALOG
from app.settings import Settings
from docker.dockerfile import environment, read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
SETTINGS = {name.upper() for name in Settings.model_fields}


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def pod() -> dict[str, Any]:
    deployment, service = yaml.safe_load_all(block("yaml"))
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    return deployment["spec"]["template"]["spec"]


def test_kubernetes_sets_what_there_is(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert {one["name"] for one in container["env"]} <= SETTINGS


def test_kubernetes_waits_for_as_long_as_the_server_may_take(pod: dict[str, Any]) -> None:
    values = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    longest = float(values["SHUTDOWN_DELAY_SECONDS"]) + float(values["SHUTDOWN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > longest


def test_kubernetes_mounts_what_the_image_writes_to(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    image = environment(read(ROOT / "Dockerfile.cpu"))
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert set(mounts) == {image["MODELS_DIR"], image["DATA_DIR"], image["TEMP_DIR"]}
    assert {one["name"] for one in pod["volumes"]} == set(mounts.values())
    assert container["ports"][0]["containerPort"] == int(image["PORT"])
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_systemd_sets_what_there_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    names = re.findall(r"\b([A-Z_]+)=", " ".join(re.findall(r"^Environment=(.*)", block("ini"), re.MULTILINE)))
    assert "MODELS_DIR" in names
    assert set(names) - SETTINGS == {"HOME", "ORT_DISABLE_TELEMETRY"}
    assert unit["Service"]["KillMode"] == "mixed"


def test_build_arguments_are_those_of_the_dockerfile() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)` \|.*\|.*\|$", PAGE, re.MULTILINE))
    arguments = {one.words[0].partition("=")[0] for one in read(ROOT / "Dockerfile.cpu") if one.name == "ARG"}
    assert arguments <= table


def test_kubernetes_gives_an_answer_the_time_that_the_image_gives_it(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    probes = [probe for name, probe in container.items() if name.endswith("Probe")]
    assert len(probes) == 3
    assert {probe["timeoutSeconds"] for probe in probes} == {5}


def test_every_library_file_of_a_wheel_is_on_the_page() -> None:
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    files = [path.name for path in Path(sysconfig.get_path("purelib")).glob("*.libs/*")]
    names = {re.split(r"-[0-9a-f]{8}\b|\.so\b", name)[0].rstrip("-") for name in files}
    assert "libavcodec" in names
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_model_has_its_licence_on_the_page() -> None:
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    for entry in (*CATALOG.models, *CATALOG.recordings):
        assert f"| `{entry.id}`: {entry.title} | {entry.licence} | <{entry.licence_url}> |" in page
