"""OddASR's config.json: what becomes of each key, and what is said about those that do nothing here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli import main as command_line
from app.cli import oddasr
from app.cli.odd_config import OddConfig, asked, defaults, read
from app.domain.errors import ConfigUnusable
from app.settings import Settings

LIVE = {
    "max_instance": 1,
    "save_audio": False,
    "punct_mini_len": 10,
    "punct_time_mini_force_trigger": 3,
    "free_resource_timeout": 5,
    "force_final_result": 20,
    "vad_threshold": 0.8,
    "vad_min_speech_duration": 300,
    "vad_min_silence_duration": 200,
}
THEIRS: dict[str, Any] = {
    "HOST": "0.0.0.0",
    "PORT": 9002,
    "WS_HOST": "0.0.0.0",
    "WS_PORT": 8101,
    "Debug": False,
    "odd_asr_cfg": {
        "preload_model": True,
        "enable_gpu": False,
        "disable_stream": False,
        "concurrent_thread": 0,
        "asr_stream_cfg": LIVE,
        "asr_file_cfg": {"max_instance": 1, "save_audio": False},
        "asr_sentence_cfg": LIVE,
        "enable_https": False,
        "ssl_cert_path": "scripts/cert.pem",
        "ssl_key_path": "scripts/key.pem",
    },
    "odd_asr_slp_cfg": {"sensitive_words": {"path": "scripts/words"}, "hotwords": {"path": "scripts/hotwords"}},
    "db_cfg": {"db_engine": "mysql", "db_name": "oddasr", "db_user": "u", "db_password": "hush-1", "db_host": "h"},
    "redis_cfg": {"redis_enabled": False, "redis_host": "127.0.0.1", "redis_port": 7379, "redis_password": "hush-2"},
    "log_file": "oddasr.log",
    "log_path": "logs/",
    "log_level": 10,
    "asr": {"liveasr": "", "appid": "oddasrtest", "secret": "hush-3"},
    "Users": "oddasr_users.json",
}
"""As OddASR writes it, with every key."""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings, and a folder without files."""
    names = {name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.upper() in names or name.upper().startswith("ASR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def written(said: object, name: str = "config.json") -> Path:
    Path(name).write_text(said if isinstance(said, str) else json.dumps(said), "utf-8")
    return Path(name)


def config(**said: Any) -> OddConfig:
    return read(written(said))


def odd(**said: Any) -> OddConfig:
    return config(odd_asr_cfg=said)


def stream(**said: Any) -> OddConfig:
    return odd(asr_stream_cfg=said)


# --- what is honoured -------------------------------------------------------------------------------------------------


def test_the_file_that_oddasr_writes() -> None:
    found = read(written(THEIRS))
    assert found.settings == {
        "host": "0.0.0.0",
        "port": 9002,
        "debug": False,
        "oddasr_ws_port": 8101,
        "oddasr_ws_host": "0.0.0.0",
        "device": "cpu",
        "oddasr_idle_seconds": 5.0,
        "log_file": Path("logs/oddasr.log"),
        "log_level": "DEBUG",
    }
    assert Settings(**found.settings).max_utterance_seconds == 60.0, "20 is in every file, and does nothing there"


def test_an_empty_file_is_oddasrs_defaults() -> None:
    assert config() == defaults()
    assert defaults().settings["port"] == 9002
    assert defaults().settings["oddasr_ws_port"] == 8101
    assert asked(None) == OddConfig({})


def test_the_live_port_has_the_address_that_the_file_gives_it() -> None:
    assert config(HOST="127.0.0.1", WS_HOST="0.0.0.0").settings["oddasr_ws_host"] == "0.0.0.0"
    assert config(HOST="127.0.0.1", WS_HOST="127.0.0.1").settings["oddasr_ws_host"] == "127.0.0.1"
    assert "oddasr_ws_host" not in config(HOST="127.0.0.1").settings, "nobody asked for it to be open"


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ({"enable_gpu": True}, "device", "auto"),
        ({"enable_gpu": False}, "device", "cpu"),
        ({}, "device", None),
        ({"concurrent_thread": 3}, "asr_threads", 3),
        ({"concurrent_thread": 0}, "asr_threads", None),
        ({"disable_stream": True}, "oddasr_ws_port", None),
        ({"asr_stream_cfg": {"free_resource_timeout": 12}}, "oddasr_idle_seconds", 12.0),
        ({"asr_stream_cfg": {"free_resource_timeout": 0}}, "oddasr_idle_seconds", 1.0),
        ({"asr_stream_cfg": {"free_resource_timeout": -1}}, "oddasr_idle_seconds", None),
        ({"asr_stream_cfg": {"force_final_result": 7.5}}, "max_utterance_seconds", None),
        ({"asr_stream_cfg": {"max_instance": 1}}, "max_live_streams", None),
        ({"asr_stream_cfg": {"max_instance": 300}}, "max_live_streams", 300),
        ({"asr_file_cfg": {"max_instance": 200}, "asr_sentence_cfg": {"max_instance": 100}}, "max_requests", 300),
    ],
)
def test_what_has_a_counterpart(said: dict[str, Any], name: str, value: object) -> None:
    found = odd(**said).settings
    assert found.get(name) == value
    Settings(**found)


@pytest.mark.parametrize(
    ("said", "level"),
    [(0, "DEBUG"), (10, "DEBUG"), (15, "INFO"), (20, "INFO"), (30, "WARNING"), (50, "ERROR"), ("info", "INFO")],
)
def test_levels_are_pythons(said: object, level: str) -> None:
    assert config(log_level=said).settings["log_level"] == level


@pytest.mark.parametrize(
    ("said", "file"),
    [
        ({"log_file": "a.log", "log_path": "there"}, Path("there/a.log")),
        ({"log_file": "a.log"}, Path("logs/a.log")),
        ({"log_path": "there/"}, Path("there/oddasr.log")),
        ({"log_file": "", "log_path": "there/"}, None),
    ],
)
def test_where_it_logs(said: dict[str, Any], file: Path | None) -> None:
    assert config(**said).settings.get("log_file") == file


# --- what is named ----------------------------------------------------------------------------------------------------


def test_every_key_of_oddasrs_own_file_is_honoured_or_named() -> None:
    """No key is dropped in silence: the others do nothing there, either (TLS and Redis are off)."""
    honoured = {
        *("HOST", "PORT", "WS_HOST", "WS_PORT", "Debug", "log_file", "log_path", "log_level"),
        *(f"odd_asr_cfg.{key}" for key in ("preload_model", "enable_gpu", "disable_stream", "concurrent_thread")),
        *(f"odd_asr_cfg.{key}" for key in ("enable_https", "ssl_cert_path", "ssl_key_path")),
        *(f"odd_asr_cfg.asr_{kind}_cfg.save_audio" for kind in ("stream", "file", "sentence")),
        "odd_asr_cfg.asr_stream_cfg.free_resource_timeout",
        "redis_cfg",
    }
    keys = set(THEIRS) - {"odd_asr_cfg"}
    for key, value in THEIRS["odd_asr_cfg"].items():
        keys |= {f"odd_asr_cfg.{key}.{inner}" for inner in value} if isinstance(value, dict) else {f"odd_asr_cfg.{key}"}
    text = "\n".join(read(written(THEIRS)).notes)
    named = {key for key in keys if f"{key}," in text or f"{key} " in text or f"{key}:" in text}
    assert named == keys - honoured
    assert "no such key" not in text
    assert all(note.startswith("config.json: ") for note in read(Path("config.json")).notes)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (lambda: odd(preload_model=False), "odd_asr_cfg.preload_model has no effect: "),
        (lambda: odd(disable_stream=True), "odd_asr_cfg.disable_stream closes WS_PORT only"),
        (lambda: stream(save_audio=True), "odd_asr_cfg.asr_stream_cfg.save_audio has no effect: "),
        (lambda: stream(cache_flush_timeout=2), "odd_asr_cfg.asr_stream_cfg.cache_flush_timeout has no effect: "),
        (lambda: stream(models={"combinations": [1]}), "odd_asr_cfg.asr_stream_cfg.models has no effect: "),
        (lambda: config(redis_cfg={"redis_enabled": True}), "redis_cfg has no effect: "),
        (lambda: config(port=1), "port has no effect: no such key"),
        (lambda: odd(asr_strem_cfg={"a": 1}), "odd_asr_cfg.asr_strem_cfg has no effect: no such key"),
        (lambda: stream(**{f"k{n}": 1 for n in range(99)}), " and 83 more have no effect: no such key"),
    ],
)
def test_what_does_nothing_is_named(found: Callable[[], OddConfig], told: str) -> None:
    (note,) = found().notes
    assert told in note


def test_secrets_are_not_told() -> None:
    assert "hush" not in str(read(written(THEIRS)).notes)
    with pytest.raises(ConfigUnusable) as caught:
        read(written({**THEIRS, "HOST": {"secret": "hush-4"}}))
    assert "hush" not in caught.value.message
    assert caught.value.message.startswith("config.json: HOST: ")


# --- what is an error -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{\n  "PORT": 9002,\n  "WS_PORT" 8101\n}', "config.json, line 3, column 13: "),
        ("", "config.json, line 1, column 1: "),
        ("[]", "config.json is no JSON object"),
        ("[" * 100_000, "config.json is nested too deep"),
        ({"PORT": "9002"}, "PORT: Input should be a valid integer"),
        ({"PORT": 0}, "PORT: Input should be greater than or equal to 1"),
        ({"PORT": True}, "PORT: Input should be a valid integer"),
        ({"Debug": "yes"}, "Debug: Input should be a valid boolean"),
        ({"odd_asr_cfg": 1}, "odd_asr_cfg: must be an object"),
        ({"odd_asr_cfg": {"asr_stream_cfg": {"max_instance": -1}}}, "odd_asr_cfg.asr_stream_cfg.max_instance: "),
        ('{"odd_asr_cfg": {"asr_stream_cfg": {"free_resource_timeout": NaN}}}', "free_resource_timeout: "),
        ('{"PORT": ' + "9" * 5000 + "}", "config.json: a number has too many digits"),
        ({"log_file": "a\0.log"}, "log_file: it has a character that is no text"),
        ({"log_path": "a\ud800"}, "log_path: it has a character that is no text"),
        ({"HOST": "\0"}, "HOST: it has a character that is no text"),
        ({"WS_HOST": "\ud800"}, "WS_HOST: it has a character that is no text"),
        ({"log_level": True}, "log_level: a level is"),
        ({"log_level": "loud"}, "log_level: a level is"),
        ({"PORT": "x", "HOST": 1}, "HOST: Input should be a valid string; config.json: PORT: Input should be"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(said: object, told: str) -> None:
    with pytest.raises(ConfigUnusable) as caught:
        read(written(said))
    assert caught.value.message.startswith("config.json")
    assert told in caught.value.message


def test_a_file_that_is_not_there_or_no_text() -> None:
    with pytest.raises(ConfigUnusable, match=r"^none\.json is not there"):
        read(Path("none.json"))
    assert not Path("none.json").exists(), "nothing is written"
    with pytest.raises(ConfigUnusable, match="cannot be read: Is a directory"):
        read(Path())
    Path("latin").write_bytes('{"HOST": "é"}'.encode("latin-1"))
    with pytest.raises(ConfigUnusable, match="byte 10 is not UTF-8"):
        read(Path("latin"))
    Path("bom").write_bytes(b"\xef\xbb\xbf{}")
    assert read(Path("bom")) == defaults()


def test_who_wants_tls_is_not_served_without() -> None:
    found = odd(enable_https=True)
    with pytest.raises(ConfigUnusable, match="enable_https is true, but TLS_CERT_FILE and TLS_KEY_FILE") as caught:
        found.check_tls(Settings(_env_file=None))
    assert "start.py certificate" in caught.value.__notes__[0]
    found.check_tls(Settings(_env_file=None, tls_cert_file="cert.pem", tls_key_file="key.pem"))
    odd(enable_https=False).check_tls(Settings(_env_file=None))


# --- the command lines ------------------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What would be served with, instead of serving."""
    found: list[Settings] = []

    def serve(settings: Settings, _arguments: object) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(command_line, "serve", serve)
    return found


@pytest.mark.parametrize("words", ["-c own.json", "--config own.json", "serve -c own.json", "-c own.json serve"])
def test_the_file_may_be_named_in_several_ways(served: list[Settings], words: str) -> None:
    written({"PORT": 9111}, "own.json")
    assert command_line.main(words.split()) == 0
    assert (served[0].port, served[0].oddasr_ws_port) == (9111, 8101)


def test_what_wins_over_what(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    written({"HOST": "127.0.0.1", "PORT": 9111, "WS_PORT": 9112, "log_level": 40, "Users": "u.json"})
    Path(".env").write_text("WORDS=1\nPORT=9113\noddasr_ws_port=9114\n", "utf-8")
    monkeypatch.setenv("oddasr_ws_port", "9115")
    command_line.main(["serve", "-c", "config.json", "--host", "::1"])
    (settings,) = served
    assert (settings.host, settings.port, settings.oddasr_ws_port) == ("::1", 9113, 9115)
    assert settings.log_level == "ERROR"
    assert [note.partition(" has")[0] for note in settings.without_effect()] == ["config.json: Users"]


def test_a_setting_of_another_name_wins_too(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"HOST": "127.0.0.1", "WS_HOST": "127.0.0.1", "Debug": True, "odd_asr_cfg": {"concurrent_thread": 3}}
    written(said)
    command_line.main(["-c", "config.json"])
    monkeypatch.setenv("INFERENCE_THREAD_POOL_SIZE", "5")
    monkeypatch.setenv("log_level", "warning")
    monkeypatch.setenv("HOST", "::1")
    command_line.main(["-c", "config.json"])
    assert [(one.threads, one.debug, one.log_level) for one in served] == [(3, True, "INFO"), (5, False, "WARNING")]
    assert (served[1].host, served[1].oddasr_ws_host) == ("::1", "127.0.0.1")


def test_other_commands_ask_no_file_for_leave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with serving does not concern them; a file that is named has settings for them, too."""
    found: list[Settings] = []

    def examine(settings: Settings, _arguments: object) -> int:
        found.append(settings)
        return 0

    monkeypatch.setattr(command_line.doctor, "examine", examine)
    written({"PORT": 9111, "Users": "u.json", "odd_asr_cfg": {"enable_https": True}})
    assert oddasr.main(["doctor"]) == 0
    assert command_line.main(["-c", "config.json", "doctor"]) == 0
    assert [(one.port, one.without_effect()) for one in found] == [(9002, []), (9111, [])]
    assert capsys.readouterr().err == ""


def test_without_a_file_nothing_changes(served: list[Settings]) -> None:
    written({"PORT": 9111})
    command_line.main([])
    assert served[0].model_dump() == Settings().model_dump()


def test_oddasr_by_name(served: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    oddasr.main([])
    written({"PORT": 9111})
    written({"PORT": 9222}, "other.json")
    oddasr.main([])
    assert str(Path("config.json").absolute()) in capsys.readouterr().err
    oddasr.main(["-c", "other.json"])
    assert [(one.host, one.port, one.oddasr_ws_port) for one in served] == [
        ("0.0.0.0", 9002, 8101),
        ("0.0.0.0", 9111, 8101),
        ("0.0.0.0", 9222, 8101),
    ]


def test_errors_are_one_line_and_status_2(served: list[Settings], capsys: pytest.CaptureFixture[str]) -> None:
    written({"PORT": "x"})
    for run in (lambda: command_line.main(["-c", "config.json"]), lambda: oddasr.main([])):
        assert run() == 2
        assert "error: config.json: PORT: " in capsys.readouterr().err
    assert command_line.main(["-c", "none.json"]) == 2
    assert capsys.readouterr().err.startswith("error: none.json is not there\nhint: ")
    assert served == []
