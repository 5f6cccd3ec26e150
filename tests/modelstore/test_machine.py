"""What this machine has, as its own tools tell it; cards are those of a stand-in for nvidia-smi."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.modelstore.machine import Gpu, parse_cpuinfo, parse_gpus, read_gpus, read_machine
from app.settings import available_cores

MEBIBYTE = 1024**2
CARDS = """\
GPU-5f1c7a00-aaaa, NVIDIA A10, 23028, 22500, 550.54
GPU-5f1c7b00-bbbb, NVIDIA H200, 143771, 143200, 550.54
GPU-00000000-cccc, NVIDIA L4, 23034, 5000, 550.54
"""
A10 = Gpu(0, "GPU-5f1c7a00-aaaa", "NVIDIA A10", 23028 * MEBIBYTE, 22500 * MEBIBYTE, "550.54")
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put an nvidia-smi on the PATH that is a shell script; it notes what it was asked."""

    def put(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{script}\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return put


def test_cpu_features() -> None:
    flags = "flags : fpu avx2 avx512f avx512_vnni amx_int8"
    x86 = f"processor : 0\nmodel name : Some CPU\n{flags}\n\nprocessor : 1\nflags : fpu\n"
    assert parse_cpuinfo(x86) == ("Some CPU", ("avx2", "avx512", "vnni", "amx"))
    assert parse_cpuinfo("processor : 0\nFeatures : fp asimd asimddp i8mm\n") == ("", ("neon", "dotprod", "i8mm"))
    assert parse_cpuinfo("") == ("", ())


def test_gpus() -> None:
    assert parse_gpus(CARDS)[0] == A10
    assert [gpu.index for gpu in parse_gpus(CARDS)] == [0, 1, 2]
    assert parse_gpus("No devices were found\n") == ()


def test_a_card_that_tells_nothing_keeps_its_number() -> None:
    gpus = parse_gpus(f"GPU-0, NVIDIA X, [N/A], [N/A], 550.54\n\n{CARDS}")
    assert [(gpu.index, gpu.name) for gpu in gpus] == [(1, "NVIDIA A10"), (2, "NVIDIA H200"), (3, "NVIDIA L4")]


def test_nvidia_smi_is_asked_once(install: Install, tmp_path: Path) -> None:
    install(f"cat <<'END'\n{CARDS}END")
    assert read_gpus() == parse_gpus(CARDS)
    assert (tmp_path / "asked").read_text().splitlines() == [
        "--query-gpu=uuid,name,memory.total,memory.free,driver_version --format=csv,noheader,nounits"
    ]
    largest = read_machine().largest_gpu
    assert largest is not None
    assert largest.name == "NVIDIA H200"


@pytest.mark.parametrize("script", ["exit 9", "echo 'NVIDIA-SMI has failed'", "echo garbage,1,2,3"])
def test_a_driver_that_does_not_work_is_no_card(install: Install, script: str) -> None:
    install(script)
    assert read_gpus() == ()


def test_a_driver_that_hangs_is_no_card(install: Install) -> None:
    install("exec sleep 600")
    assert read_gpus(timeout=0.2) == ()


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("0,1,2", ["A10", "H200", "L4"]),
        ("2,0", ["L4", "A10"]),
        (" 1 ", ["H200"]),
        ("GPU-00000000-cccc,GPU-5f1c7b00-bbbb", ["L4", "H200"]),
        ("GPU-5f1c7b", ["H200"]),
        ("gpu-0000,0", ["L4", "A10"]),
        ("1,7,0", ["H200"]),
        ("1,-1,0", ["H200"]),
        ("GPU-5f1c7,0", []),
        ("GPU-nobody", []),
        ("1,1", []),
        ("MIG-5f1c7a00", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
    ],
)
def test_cards_that_cuda_would_see(
    install: Install, monkeypatch: pytest.MonkeyPatch, chosen: str, names: list[str]
) -> None:
    install(f"cat <<'END'\n{CARDS}END")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    gpus = read_gpus()
    assert [gpu.name.removeprefix("NVIDIA ") for gpu in gpus] == names
    assert [gpu.index for gpu in gpus] == list(range(len(names))), "cuda:0 is the first that is visible"


def test_this_machine() -> None:
    here = read_machine()
    assert here.cores == available_cores()
    assert here.memory > 100 * 1024**2
