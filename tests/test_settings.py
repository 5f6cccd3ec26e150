"""Settings: what is written about them, and how values are read."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pydantic import ValidationError

from app.settings import MEBIBYTE, Settings, available_cores, parse_size, split_list

ROOT = Path(__file__).parents[1]
EMPTY = {"(empty)", "（空）"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings: neither this machine's variables nor a .env in this checkout."""
    names = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.upper() in names or name.upper().startswith("ASR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def documented(source: str) -> dict[str, str]:
    """Defaults by name as a README's table of settings or .env.example writes them."""
    text = (ROOT / source).read_text("utf-8")
    if source.startswith("README"):
        rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| .+ \|$", text, re.MULTILINE)
        return {name: "" if default in EMPTY else default.strip("`") for name, default in rows}
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))


SOURCES = ["README.md", "README_zh.md", ".env.example"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_setting_is_written_down_and_nothing_else(source: str) -> None:
    assert set(documented(source)) == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("source", SOURCES)
def test_defaults_are_those_written_down(source: str) -> None:
    written = {name.lower(): value for name, value in documented(source).items()}
    assert Settings(**written).model_dump() == Settings().model_dump()


def test_the_whole_example_can_be_used() -> None:
    text = re.sub(r"^# ([A-Z_]+=)", r"\1", (ROOT / ".env.example").read_text("utf-8"), flags=re.MULTILINE)
    assert set(dotenv_values(stream=io.StringIO(text))) == {name.upper() for name in Settings.model_fields}
    Path(".env").write_text(text, "utf-8")
    assert Settings().model_dump() == Settings(_env_file=None).model_dump()
    assert Settings().unknown_names() == []


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("2048", 2048 * MEBIBYTE),
        (100, 100 * MEBIBYTE),
        ("100 MB", 100 * MEBIBYTE),
        ("512KB", 512 * 1024),
        ("2gb", 2048 * MEBIBYTE),
        ("1.5MB", 3 * MEBIBYTE // 2),
        (" 7B ", 7),
    ],
)
def test_sizes(said: object, size: int) -> None:
    assert parse_size(said) == size
    assert Settings(max_audio_size=said).max_audio_size == size


@pytest.mark.parametrize("said", ["", "much", "-1", "5TB", "1e3", "MB"])
def test_what_is_no_size(said: str) -> None:
    with pytest.raises(ValidationError, match="a size is a number with an optional unit"):
        Settings(max_audio_size=said)


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("auto", "auto"),
        ("AUTO", "auto"),
        ("", "auto"),
        ("1.7B", "1.7B"),
        ("1.7b", "1.7B"),
        (" 0.6B ", "0.6B"),
        ("Qwen3-ASR-1.7B", "1.7B"),
        ("qwen3-asr-1.7b", "1.7B"),
        ("Qwen/Qwen3-ASR-0.6B", "0.6B"),
        ("qwen3-asr-0.6b", "0.6B"),
    ],
)
def test_sizes_of_qwen(monkeypatch: pytest.MonkeyPatch, said: str, size: str) -> None:
    monkeypatch.setenv("QWEN_ASR_MODEL", said)
    assert Settings().qwen_asr_model == size


@pytest.mark.parametrize("said", ["7B", "1.7", "0.6", "large", "Qwen3-ASR", "Qwen/1.8B", "paraformer-large"])
def test_what_is_no_size_of_qwen(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("QWEN_ASR_MODEL", said)
    with pytest.raises(ValidationError, match=r"say auto, 1\.7B or 0\.6B"):
        Settings()


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(max_audio_size="0")


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_list(" a, b,,c ,") == ["a", "b", "c"]
    assert split_list(["a"]) == ["a"]
    monkeypatch.setenv("MODEL_MIRRORS", "wheel, huggingface")
    assert Settings().model_mirrors == ["wheel", "huggingface"]
    monkeypatch.setenv("MODEL_MIRRORS", "")
    assert Settings().model_mirrors == []


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().keys == ()
    monkeypatch.setenv("API_KEYS", "one, two,")
    monkeypatch.setenv("APPTOKEN", "three")
    monkeypatch.setenv("API_KEY", "four")
    settings = Settings()
    assert settings.keys == ("one", "two", "three", "four")
    assert not {"one", "two", "three", "four"} & set(re.findall(r"\w+", repr(settings)))


def test_an_empty_apptoken_locks_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPTOKEN", "")
    monkeypatch.setenv("API_KEYS", "")
    assert Settings().keys == ()


def test_threads() -> None:
    assert Settings().threads == available_cores() >= 1
    assert Settings(asr_threads=3).threads == 3


def test_blank_paths_and_lower_case_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FILE", "")
    monkeypatch.setenv("TEMP_DIR", "")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("HF_HOME", "~/elsewhere")
    settings = Settings()
    assert settings.log_file is None
    assert settings.temp_dir is None
    assert settings.log_level == "DEBUG"
    assert settings.hf_home == Path.home() / "elsewhere"


def test_env_file_and_what_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=9001\nHOST=127.0.0.1\n", "utf-8")
    monkeypatch.setenv("PORT", "9002")
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 9002)
    assert Settings(port=9003).port == 9003


def test_unknown_names_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    meant = "ASR_MODEL_DIR_WHISPER_BASE=/a\nASR_NETWORK=10.99.3\n"
    Path(".env").write_text(f"ASR_BEEM_SIZE=1\nSOMETHING_ELSE=1\n{meant}", "utf-8")
    monkeypatch.setenv("asr_modell", "x")
    monkeypatch.setenv("ASR_MODEL", "auto")
    assert Settings().unknown_names() == ["ASR_BEEM_SIZE", "ASR_MODELL"]


def test_model_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("ASR_MODEL_DIR_WHISPER_BASE=~/whisper\nASR_MODEL_DIR_FSMN_VAD=/from/file\n", "utf-8")
    monkeypatch.setenv("ASR_MODEL_DIR_FSMN_VAD", "/from/process")
    monkeypatch.setenv("ASR_MODEL_DIR_QWEN3_ASR_0_6B", "")
    settings = Settings()
    assert settings.model_folder("whisper-base") == Path.home() / "whisper"
    assert settings.model_folder("fsmn-vad") == Path("/from/process")
    assert settings.model_folder("qwen3-asr-0.6b") is None
    monkeypatch.setenv("ASR_MODEL_DIR_QWEN3_ASR_0_6B", "/small")
    assert Settings().model_folder("qwen3-asr-0.6b") == Path("/small")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "eighty"), ("ASR_THREADS", "-1"), ("ASR_BEAM_SIZE", "0"), ("LOG_LEVEL", "LOUD")],
)
def test_impossible_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == (name.lower(),)
