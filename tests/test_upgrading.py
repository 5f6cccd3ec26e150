"""What the pages for those who switch promise: every variable and key is in them, and names that work are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.cli.odd_keys import Config, Instances, Live, Recognition
from app.cli.odd_notes import _WITHOUT_EFFECT
from app.main import create_app
from app.settings import Settings

ROOT = Path(__file__).parents[1]
FUNASR_API = (ROOT / "docs" / "upgrading_funasr_api.md").read_text("utf-8")
ODDASR = (ROOT / "docs" / "upgrading_oddasr.md").read_text("utf-8")
SETTINGS = {name.upper() for name in Settings.model_fields}
NGINX = {"NGINX_RATE_LIMIT_RPS", "NGINX_RATE_LIMIT_BURST", "NGINX_PORT"}
OUTSIDE = {"CUDA_VISIBLE_DEVICES", "HF_ENDPOINT"} | NGINX
"""Read here, and no settings: set for other programs as well, or nginx's."""
_VARIABLES = """
HOST PORT DEBUG WORKERS DEVICE LOG_LEVEL LOG_FILE LOG_MAX_BYTES LOG_BACKUP_COUNT APPTOKEN APPKEY MAX_AUDIO_SIZE
ASR_BATCH_SIZE MAX_SEGMENT_SEC WS_MAX_BUFFER_SIZE INFERENCE_THREAD_POOL_SIZE ASR_ENABLE_REALTIME_PUNC ASR_ENABLE_LM
LM_WEIGHT LM_BEAM_SIZE ASR_ENABLE_NEARFIELD_FILTER ASR_NEARFIELD_RMS_THRESHOLD ASR_NEARFIELD_FILTER_LOG_ENABLED
AUTO_LOAD_CUSTOM_ASR_MODELS QWEN_ASR_MODEL ENABLE_STREAMING_VLLM MODELSCOPE_PATH HF_HOME HF_HUB_LOCAL_FILES_ONLY
API_KEY QWEN3_ASR_MODEL QWEN_RUST_CPU_WORKERS QWEN_RUST_ASR_CONCURRENCY QWEN_RUST_ALIGN_CONCURRENCY FUNASR_WORKERS
QWENASR_LIBRARY_PATH QWEN_GPU_MEMORY_UTILIZATION QWEN_FORCE_ALIGNER_GPU_MEMORY_UTILIZATION FUNASR_STARTUP_UI
NGINX_RATE_LIMIT_RPS NGINX_RATE_LIMIT_BURST NGINX_PORT MULTI_GPU_BIND_HOST MULTI_GPU_READY_TIMEOUT ENABLED_MODELS
CUDA_VISIBLE_DEVICES
"""
"""Every environment variable of funasr-api, of the version of February 2026 and of 1.0.1."""
_PATHS = """
/v1/audio/transcriptions /v1/models /stream/v1/asr /stream/v1/asr/models /stream/v1/asr/health /ws/v1/asr
/ws/v1/asr/funasr /ws/v1/asr/qwen /ws/v1/asr/test /docs /redoc /openapi.json
"""
"""Where its clients go."""


def rows(page: str, heading: str) -> dict[str, tuple[str, ...]]:
    """A table's rows by each name in its first column."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {name: tuple(part.strip() for part in row[1:]) for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


def variables(kind: str) -> dict[str, str]:
    """Variables that are said to be of a kind, with what is said of them."""
    return {name: said[1] for name, said in rows(FUNASR_API, "Environment variables").items() if said[0] == kind}


def test_every_variable_of_theirs_is_in_the_table() -> None:
    assert not set(_VARIABLES.split()) - rows(FUNASR_API, "Environment variables").keys()


def test_every_row_is_of_one_kind() -> None:
    kinds = {said[0] for said in rows(FUNASR_API, "Environment variables").values()}
    assert kinds == {"same", "other name", "no effect", "not here"}


def test_the_same_name_is_a_setting() -> None:
    same = variables("same").keys()
    assert len(same) > 20
    assert same - OUTSIDE <= SETTINGS


def test_nginx_reads_its_own() -> None:
    shipped = [*(ROOT / "nginx").rglob("*"), *ROOT.glob("docker-compose*.yml")]
    text = "".join(path.read_text("utf-8") for path in shipped if path.is_file())
    assert {name for name in NGINX if name in text} == NGINX


def test_what_has_no_effect_is_taken_and_said_at_start() -> None:
    settings = Settings(_env_file=None, workers=4, enable_streaming_vllm=True)
    told = " ".join(settings.without_effect())
    assert variables("no effect").keys() == {"WORKERS", "ENABLE_STREAMING_VLLM"}
    assert all(name in told for name in variables("no effect"))


def test_other_names_are_settings_and_theirs_are_none() -> None:
    for name, said in variables("other name").items():
        assert name not in SETTINGS
        assert {found.partition("=")[0] for found in re.findall(r"`([A-Z][A-Z0-9_]+(?:=\w+)?)`", said)} <= SETTINGS
        assert re.search(r"`[A-Z]", said), name


def test_what_is_not_here_is_no_setting_and_says_what_to_do() -> None:
    for name, said in variables("not here").items():
        assert name not in SETTINGS
        assert len(said) > 20


def test_every_address_is_there() -> None:
    application = create_app(Settings(_env_file=None))
    served = {getattr(route, "path", "") for route in application.routes}
    table = " ".join(rows(FUNASR_API, "Endpoints"))
    for path in _PATHS.split():
        assert path in table, path
        assert path in served, path


@pytest.mark.parametrize("page", [FUNASR_API, ODDASR], ids=["funasr-api", "oddasr"])
def test_settings_that_a_page_names_exist(page: str) -> None:
    """In prose and examples; the table of their variables has been looked at above."""
    rest = page.replace(page.partition("\n## Environment variables\n")[2].partition("\n**Keys.**")[0], "")
    said = set(re.findall(r"`(?:[A-Z]+://)?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", rest))
    foreign = {"FUNASR_STARTUP_UI", "HF_ENDPOINT", "WS_HOST", "WS_PORT", "CUDA_VISIBLE_DEVICES"}
    assert said
    assert said - foreign <= SETTINGS


def aliases(model: type[Any]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_of_oddasrs_is_in_the_table() -> None:
    blocks = {"odd_asr_cfg", "asr_stream_cfg", "asr_file_cfg", "asr_sentence_cfg"}
    known = aliases(Config) | aliases(Recognition) | aliases(Instances) | aliases(Live)
    known |= {key.rpartition(".")[2] for key in _WITHOUT_EFFECT}
    told = {name.rpartition(".")[2] for name in rows(ODDASR, "config.json, key by key")}
    assert known - blocks == told
