"""The Dockerfiles as they are written. That they build and run is `make image-try`."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app import __version__
from app.settings import Settings
from docker.dockerfile import Instruction, environment, last_stage, read

ROOT = Path(__file__).parents[2]
FILES = ["Dockerfile.cpu", "Dockerfile.gpu"]
NOT_OURS = {
    *("PATH", "HOME", "TMPDIR", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),
    *("ORT_DISABLE_TELEMETRY", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
}
"""What others read: the system, Python, ONNX Runtime, NVIDIA's container toolkit."""


@pytest.fixture(params=FILES)
def instructions(request: pytest.FixtureRequest) -> list[Instruction]:
    return read(ROOT / request.param)


def the(instructions: list[Instruction], name: str) -> Instruction:
    """The last of that name in the stage that becomes the image."""
    found = [one for one in last_stage(instructions) if one.name == name]
    assert found, f"no {name}"
    return found[-1]


def kept_out(path: str) -> bool:
    """Whether .dockerignore keeps a file or folder of the checkout out: the last line that fits it or a parent."""
    parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    out = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        names = [Path(one).name for one in parents] if line.removeprefix("!").startswith("**/") else parents
        if line and not line.startswith("#") and any(fnmatch.fnmatch(name, pattern) for name in names):
            out = not line.startswith("!")
    return out


def test_everything_that_is_copied_is_there_and_let_in(instructions: list[Instruction]) -> None:
    copies = [one for one in instructions if one.name == "COPY" and "from" not in one.flags]
    sources = [source for one in copies for source in one.operands[:-1]]
    assert "app" in sources
    assert "start.py" in sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not kept_out(source), f".dockerignore keeps {source} out"


def test_nothing_is_added_from_an_address(instructions: list[Instruction]) -> None:
    assert [one for one in instructions if one.name == "ADD"] == []


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".env", ".venv/bin/python", "tests/conftest.py", "models/whisper-base/model.bin"),
        *("data/voices.db", "logs/speech.log", "docs/api.md", "bundle/models.tar", "nginx/tls/tls.key"),
        "app/__pycache__/main.cpython-312.pyc",
    ],
)
def test_what_is_nobodys_business_stays_out(path: str) -> None:
    assert kept_out(path)


def test_it_does_not_run_as_root(instructions: list[Instruction]) -> None:
    uid, _, gid = the(instructions, "USER").words[0].partition(":")
    assert int(uid) > 0
    assert gid == "0", "any other uid is in group 0, and may write what group 0 may"


def test_stages_begin_with_a_base_that_can_be_chosen_and_is_pinned(instructions: list[Instruction]) -> None:
    base = next(one for one in instructions if one.name == "ARG" and one.stage == -1).words[0]
    name, _, value = base.partition("=")
    assert name == "BASE_IMAGE"
    assert re.fullmatch(r"[\w/.-]+:[\w.-]+", value), "no tag"
    assert not value.endswith(":latest")
    stages = [one.words[2] for one in instructions if one.name == "FROM" and len(one.words) == 3]
    bases = {one.words[0] for one in instructions if one.name == "FROM"}
    assert bases <= {"${BASE_IMAGE}", *stages}


def test_its_health_is_asked_of_a_program_that_is_in_it(instructions: list[Instruction]) -> None:
    check = the(instructions, "HEALTHCHECK")
    command = json.loads(" ".join(check.operands).removeprefix("CMD "))
    assert command == ["/opt/venv/bin/python", "/app/docker/health.py"]


def test_signals_reach_the_server(instructions: list[Instruction]) -> None:
    entrypoint = json.loads(" ".join(the(instructions, "ENTRYPOINT").words))
    assert the(instructions, "STOPSIGNAL").words == ("SIGTERM",)
    script = ROOT / Path(entrypoint[0]).relative_to("/app")
    last = script.read_text("utf-8").splitlines()[-1]
    assert last == 'exec /opt/venv/bin/python /app/start.py "$@"', "a shell in between would swallow them"


def test_whatever_is_set_is_a_setting(instructions: list[Instruction]) -> None:
    names = {name.upper() for name in Settings.model_fields}
    ours = environment(instructions).keys() - NOT_OURS
    assert {"PORT", "MODELS_DIR", "MODELSCOPE_PATH", "HF_HOME", "DATA_DIR", "TEMP_DIR"} <= ours
    assert ours <= names


def test_the_port_it_names_is_the_one_it_listens_on(instructions: list[Instruction]) -> None:
    assert the(instructions, "EXPOSE").words == (environment(instructions)["PORT"],)


def test_folders_it_writes_to_are_made_for_its_user(instructions: list[Instruction]) -> None:
    made = " ".join(" ".join(one.words) for one in last_stage(instructions) if one.name == "RUN")
    for name in ("MODELS_DIR", "DATA_DIR", "TEMP_DIR"):
        assert f" {environment(instructions)[name]} " in made


def test_the_version_is_the_applications(instructions: list[Instruction]) -> None:
    versions = [one.words[0] for one in instructions if one.name == "ARG" and one.words[0].startswith("VERSION=")]
    assert versions == [f"VERSION={__version__}"]


def test_both_images_are_used_alike() -> None:
    cpu, gpu = (environment(read(ROOT / name)) for name in FILES)
    assert {name: value for name, value in gpu.items() if not name.startswith("NVIDIA_")} == cpu
    for name in ("USER", "WORKDIR", "ENTRYPOINT", "STOPSIGNAL", "EXPOSE"):
        assert the(read(ROOT / FILES[0]), name) == the(read(ROOT / FILES[1]), name)


def test_no_torch_on_a_cpu() -> None:
    """Not by name, and not by another file that the image is made of."""
    files = [ROOT / f"requirements{more}.txt" for more in ("", "-otel", "-postgres")]
    assert not [file for file in files if re.search(r"^(torch|vllm|funasr)\b", file.read_text("utf-8"), re.MULTILINE)]


def test_onnx_runtime_for_cuda_is_the_version_of_the_one_for_cpus() -> None:
    version = re.search(r"^onnxruntime==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert version
    assert f'"onnxruntime-gpu[cuda,cudnn]=={version[1]}"' in (ROOT / "Dockerfile.gpu").read_text("utf-8")


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "docker").glob("*.sh")))
def test_scripts_are_well_formed(script: str) -> None:
    path = ROOT / "docker" / script
    first = path.read_text("utf-8").splitlines()[0]
    shell = "sh" if first == "#!/bin/sh" else "bash"
    subprocess.run([shell, "-n", path], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", f"--shell={shell}", path], check=True)
