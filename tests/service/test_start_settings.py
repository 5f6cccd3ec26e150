"""funasr-api's settings do what they say, or say that they do nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
from house import House

from app.engines import whisper
from app.service import logs
from app.settings import Settings


def bare(**values: object) -> Settings:
    return Settings(_env_file=None, **values)


def test_log_file_level_and_rotation(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "logs" / "server.log"
    logs.configure(bare(log_file=file, log_level="warning", log_max_bytes=2000, log_backup_count=2))
    for number in range(200):
        root.warning("line %d", number)
        root.info("not this one")
    written = sorted(path.name for path in file.parent.iterdir())
    assert written == ["server.log", "server.log.1", "server.log.2"]
    assert "line 199" in file.read_text()
    assert all("not this one" not in path.read_text() for path in file.parent.iterdir())


def test_what_is_logged_stays_on_its_line(tmp_path: Path, root: logging.Logger) -> None:
    """What callers send ends up in messages here and there, and must not look like lines of the server's own."""
    file = tmp_path / "server.log"
    logs.configure(bare(log_file=file))
    root.info("model %s: 电影 “é”", "x\n2026-01-01 ERROR   app.main: forged\r\x1b[2J\u2028\u202e\ud800")
    assert file.read_text().endswith(
        "model x\\n2026-01-01 ERROR   app.main: forged\\r\\x1b[2J\\u2028\\u202e\\ud800: 电影 “é”\n"
    )
    assert len(file.read_text().splitlines()) == 1


def test_tracebacks_have_their_lines(tmp_path: Path, root: logging.Logger) -> None:
    file = tmp_path / "server.log"
    logs.configure(bare(log_file=file))
    root.error("it failed", exc_info=ZeroDivisionError("why"))
    assert [line.split(": ")[-1] for line in file.read_text().splitlines()] == ["it failed", "why"]


def test_debug_is_the_debug_level(root: logging.Logger) -> None:
    logs.configure(bare(debug=True, log_level="ERROR"))
    assert root.level == logging.DEBUG


@pytest.mark.parametrize(("workers", "told"), [(1, False), (4, True)])
def test_workers_do_nothing_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path / "temp", tmp_path / "a.wav")
    house.temp.mkdir()

    async def nothing(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health/live")).status_code == 200

    async def no_models(_: object) -> None:
        return

    monkeypatch.setattr("app.service.models.Models.load", no_models)
    house.serve(nothing, workers=workers)
    assert ("WORKERS=4 has no effect" in caplog.text) == told


def test_the_thread_pool_s_old_name() -> None:
    assert bare(inference_thread_pool_size=3).threads == 3
    assert bare(inference_thread_pool_size=3, asr_threads=2).threads == 2


@pytest.mark.parametrize("size", [1, 6])
def test_the_batch_size_is_the_pieces_of_a_call(models_dir: Path, size: int) -> None:
    recognizer = whisper.load("whisper-base", models_dir / "whisper-base", bare(asr_batch_size=size, asr_threads=1))
    try:
        assert recognizer.batch_cost == size * 15.0
    finally:
        recognizer.close()
