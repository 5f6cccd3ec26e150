"""Which model for which machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.errors import UnknownModel
from app.modelstore.catalog import FSMN_VAD, WHISPER_BASE, Catalog
from app.modelstore.machine import GIBIBYTE, Gpu, Machine, parse_cpuinfo, parse_gpus, read_gpus, read_machine
from app.modelstore.selection import choose, needed, preferences, wanted
from app.settings import Settings, available_cores

MakeSettings = Callable[..., Settings]
ENGINES = {"whisper"}
BOTH = {"whisper", "paraformer"}


def machine(*gpu_gib: float) -> Machine:
    gpus = tuple(Gpu(f"GPU{number}", int(size * GIBIBYTE), "600.1") for number, size in enumerate(gpu_gib))
    return Machine(cores=2, cpu="test", features=(), memory=8 * GIBIBYTE, gpus=gpus)


@pytest.mark.parametrize(
    ("gpus", "first"),
    [((), "paraformer-large"), ((8,), "qwen3-asr-0.6b"), ((24, 80), "qwen3-asr-1.7b"), ((31.75,), "qwen3-asr-1.7b")],
)
def test_preferences(make_settings: MakeSettings, gpus: tuple[float, ...], first: str) -> None:
    ranking, _ = preferences(make_settings(), machine(*gpus))
    assert ranking[0] == first
    assert ranking[-1] == "whisper-base"


def test_device_cpu_leaves_the_gpu_alone(make_settings: MakeSettings) -> None:
    ranking, reason = preferences(make_settings(device="cpu"), machine(80))
    assert ranking[0] == "paraformer-large"
    assert reason == "DEVICE=cpu"


def test_models_without_an_engine_are_passed_over_with_the_reason(make_settings: MakeSettings) -> None:
    choice = choose(make_settings(), machine(80), ENGINES)
    assert choice.model_id == "whisper-base"
    assert not choice.by_name
    assert "GPU0 (80 GiB)" in choice.reason
    assert [model_id for model_id, _ in choice.passed_over] == ["qwen3-asr-1.7b", "qwen3-asr-0.6b", "paraformer-large"]
    assert {why for _, why in choice.passed_over} == {"this version has no engine for it yet"}
    assert needed(choice) == ("whisper-base", "fsmn-vad")


@pytest.mark.parametrize(("diarization", "ids"), [("default", ("speakers",)), ("asked", ("speakers",)), ("off", ())])
def test_what_tells_speakers_apart_is_wanted_unless_it_is_off(
    make_settings: MakeSettings, diarization: str, ids: tuple[str, ...]
) -> None:
    settings = make_settings(speaker_diarization=diarization)
    choice = choose(settings, machine(), ENGINES)
    assert wanted(settings, choice) == ids
    assert not set(wanted(settings, choice)) & set(needed(choice)), "and never needed"


@pytest.mark.parametrize(
    ("model", "on", "ids"),
    [
        ("paraformer-large", True, ("ct-punc", "speakers")),
        ("paraformer-large-seaco", True, ("ct-punc", "speakers")),
        ("paraformer-large", False, ("speakers",)),
        ("whisper-base", True, ("speakers",)),
    ],
)
def test_what_sets_marks_is_wanted_for_models_that_write_none(
    make_settings: MakeSettings, model: str, on: bool, ids: tuple[str, ...]
) -> None:
    settings = make_settings(asr_model=model, asr_enable_punctuation=on)
    assert wanted(settings, choose(settings, machine(), BOTH)) == ids


def test_what_a_catalog_lacks_is_not_wanted(make_settings: MakeSettings) -> None:
    small = Catalog(models=(WHISPER_BASE, FSMN_VAD))
    choice = choose(make_settings(), machine(), BOTH, small)
    assert choice.model_id == "whisper-base"
    assert wanted(make_settings(), choice, small) == ()


def test_falling_back_goes_from_the_best_to_the_last_resort(make_settings: MakeSettings) -> None:
    choice = choose(make_settings(), machine(8), BOTH)
    assert (choice.model_id, choice.alternatives) == ("paraformer-large", ("whisper-base",))
    last = choice.falling_back("it is broken")
    assert (last.model_id, last.alternatives) == ("whisper-base", ())
    assert last.passed_over == (
        ("qwen3-asr-0.6b", "this version has no engine for it yet"),
        ("paraformer-large", "it is broken"),
    )


@pytest.mark.parametrize("name", ["whisper-base", "paraformer-large-seaco"])
def test_by_name(make_settings: MakeSettings, name: str) -> None:
    choice = choose(make_settings(asr_model=name), machine(80), BOTH)
    assert choice.model_id == name
    assert choice.by_name
    assert choice.passed_over == choice.alternatives == ()


@pytest.mark.parametrize("name", ["paraformer-large", "whisper-bse", "fsmn-vad", "speakers"])
def test_a_name_is_never_replaced(make_settings: MakeSettings, name: str) -> None:
    with pytest.raises(UnknownModel, match=rf"ASR_MODEL={name} .* Available: whisper-base"):
        choose(make_settings(asr_model=name), machine(), {*ENGINES, "fsmn_vad", "speakers"})


def test_nothing_to_choose(make_settings: MakeSettings) -> None:
    with pytest.raises(UnknownModel):
        choose(make_settings(), machine(), ())


def test_cpu_features() -> None:
    flags = "flags : fpu avx2 avx512f avx512_vnni amx_int8"
    x86 = f"processor : 0\nmodel name : Some CPU\n{flags}\n\nprocessor : 1\nflags : fpu\n"
    assert parse_cpuinfo(x86) == ("Some CPU", ("avx2", "avx512", "vnni", "amx"))
    assert parse_cpuinfo("processor : 0\nFeatures : fp asimd asimddp i8mm\n") == ("", ("neon", "dotprod", "i8mm"))
    assert parse_cpuinfo("") == ("", ())


def test_gpus() -> None:
    gpus = parse_gpus("NVIDIA A10, 23028, 550.54\nNVIDIA X, [N/A], 550.54\n\n")
    assert gpus == (Gpu("NVIDIA A10", 23028 * 1024**2, "550.54"),)
    assert parse_gpus("No devices were found\n") == ()


def test_hidden_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert read_gpus() == ()


def test_this_machine() -> None:
    here = read_machine()
    assert here.cores == available_cores()
    assert here.memory > 100 * 1024**2
