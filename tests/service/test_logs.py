"""Log lines in both formats: what is in them, whose they are, and that nobody can forge one."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pipeline.stubs import StubRecognizer, named, request

from app.domain.engines import Hypothesis, PieceRequest
from app.pipeline.batching import Batcher
from app.pipeline.computing import ComputeThreads, Computing
from app.pipeline.turns import Turn, Urgency
from app.service import logs
from app.service.loading import compute_threads
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
NASTY = "x\n2026-01-01 ERROR   app.main: forged\r\x1b[2J\u2028\u202e\ud800\x7f 电影 “é” \U0001f3a7\U000e0001"


class Log:
    """What was logged since it was begun, in a format."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.file = folder / "server.log"
        logs.configure(Settings(_env_file=None, log_file=self.file, **settings))

    @property
    def lines(self) -> list[str]:
        return self.file.read_text("utf-8").splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        said = [json.loads(line) for line in self.file.read_text("utf-8").split("\n") if line]
        return [line for line in said if line["logger"] != "asyncio"]  # which may have found an earlier test's leavings


def test_json_is_one_object_a_line(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path, log_format="json")
    logging.getLogger("app.some.place").warning("%d of %s", 3, "them", extra={"path": "/asr", "status": 503})
    [said] = log.objects
    when = datetime.fromisoformat(said.pop("time"))
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(when.tzinfo) - when) < timedelta(minutes=1)
    assert said == {
        "level": "warning",
        "logger": "app.some.place",
        "message": "3 of them",
        "path": "/asr",
        "status": 503,
    }


def test_json_has_errors_as_one_string(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path, log_format="json")
    root.error("it failed", exc_info=ZeroDivisionError("why"))
    [said] = log.objects
    assert said["message"] == "it failed"
    assert said["exception"].endswith("ZeroDivisionError: why")


def test_what_callers_send_cannot_look_like_anything_else_in_json(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path, log_format="json")
    root.info("model %s", NASTY, extra={"text": '", "level": "error'})
    [line] = log.file.read_text("utf-8").splitlines()
    assert line.isprintable()
    assert "电影 “é” \U0001f3a7" in line
    said = json.loads(line)
    assert (said["message"], said["level"], said["text"]) == (f"model {NASTY}", "info", '", "level": "error')


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_error_s_own_text_cannot_look_like_anything_else(tmp_path: Path, root: logging.Logger, style: str) -> None:
    log = Log(tmp_path, log_format=style)
    try:
        raise ValueError(NASTY)
    except ValueError:
        root.exception("it failed")
    root.info("after it")
    written = log.file.read_text("utf-8")
    assert all(line.isprintable() for line in written.split("\n"))
    assert "电影 “é” \U0001f3a7" in written
    if style == "json":
        failed, after = log.objects
        assert failed["exception"].endswith(f"ValueError: {NASTY}")
        assert after["message"] == "after it"
    else:
        lines = written.removesuffix("\n").split("\n")
        assert [line for line in lines if not line.startswith("  ")] == [lines[0], lines[-1]]
        assert lines[1] == "  Traceback (most recent call last):"
        assert r"\x1b[2J\u2028\u202e\ud800" in lines[-2]


def test_nobody_else_may_read_the_file(tmp_path: Path, root: logging.Logger) -> None:
    before = os.umask(0)
    try:
        log = Log(tmp_path / "new", log_max_bytes=200, log_backup_count=2)
        for _ in range(9):
            root.info("a line that soon fills a file, and another one, and another one")
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in log.file.parent.iterdir()}
    assert modes == dict.fromkeys(("server.log", "server.log.1", "server.log.2"), 0o600)


def test_the_file_may_be_in_one_s_home(tmp_path: Path, root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(_env_file=None, log_file="~/logs/server.log", temp_dir="~/temp")
    logs.configure(settings)
    root.info("hello")
    assert "hello" in (tmp_path / "logs" / "server.log").read_text("utf-8")
    assert settings.temp_dir == tmp_path / "temp"


@pytest.mark.filterwarnings("default")
def test_python_s_warnings_have_the_format_of_the_rest(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path, log_format="json")
    warnings.warn("of some library", UserWarning, stacklevel=1)
    [said] = log.objects
    assert (said["level"], said["logger"]) == ("warning", "py.warnings")
    assert "of some library" in said["message"]


def test_headers_that_opentelemetry_cannot_read_are_not_quoted(tmp_path: Path, root: logging.Logger) -> None:
    read = pytest.importorskip("opentelemetry.util.re")
    log = Log(tmp_path, log_level="DEBUG")
    read.parse_env_headers("authorization Bearer SECRET", liberal=True)
    root.info("after it")
    assert "after it" in log.file.read_text()
    assert "SECRET" not in log.file.read_text()


def test_text_has_fields_and_the_request_at_its_end(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path)
    with logs.named("req-7"):
        root.info("done", extra={"model": "m", "path": "/v1/x", "rtf": None, "text": 'he said "no" a=b'})
    root.info("nobody's")
    first, second = log.lines
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    root: "
    assert re.sub(stamp, "", first) == r'done path=/v1/x model=m rtf=None text="he said \"no\" a=b" request_id=req-7'
    assert re.sub(stamp, "", second) == "nobody's"


def test_fields_that_nobody_knows_stay_out(tmp_path: Path, root: logging.Logger) -> None:
    """Libraries put connections there, with what is in them."""
    for style in ("text", "json"):
        log = Log(tmp_path, log_format=style)
        logging.getLogger("somebody.s.library").info("hello", extra={"color_message": "SECRET", "websocket": "SECRET"})
        assert "hello" in log.file.read_text()
        assert "SECRET" not in log.file.read_text()


def test_tasks_and_threads_say_whose_they_are(tmp_path: Path, root: logging.Logger) -> None:
    log = Log(tmp_path, log_format="json")

    def say(where: str) -> None:
        root.info(where)

    async def request(name: str, threads: ThreadPoolExecutor, computing: ComputeThreads) -> None:
        with logs.named(name):
            await asyncio.create_task(asyncio.to_thread(say, "asyncio's"))
            await asyncio.get_running_loop().run_in_executor(threads, say, "helper")
            await asyncio.wrap_future(computing.submit(lambda: say("compute"), Urgency.FINAL))

    async def main() -> None:
        with compute_threads("a", 1) as threads:
            computing = ComputeThreads(threads)
            await asyncio.gather(*(request(name, threads, computing) for name in ("one", "two", "three")))

    asyncio.run(main())
    said = sorted((line["request_id"], line["message"]) for line in log.objects if line["logger"] == "root")
    assert said == sorted((name, at) for name in ("one", "two", "three") for at in ("asyncio's", "helper", "compute"))


@pytest.mark.parametrize("cost", [1.0, 9.0])
def test_a_recogniser_s_lines_are_their_piece_s_or_nobody_s(tmp_path: Path, root: logging.Logger, cost: float) -> None:
    """Calls follow from each other, whoever they are for; those that several share are in nobody's name."""
    log = Log(tmp_path, log_format="json")

    def hear(request: PieceRequest) -> Hypothesis:
        root.info("piece %g", request.piece.start)
        return named(request)

    async def ask(batcher: Batcher, number: int) -> None:
        with logs.named(f"req-{number}"):
            await batcher.submit(request(number), Turn(number))

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            recognizer = StubRecognizer(hear, batch_cost=cost)
            batcher = Batcher(recognizer, Computing(ComputeThreads(threads)))
            await asyncio.gather(*(ask(batcher, number) for number in range(4)))

    asyncio.run(main())
    said = {line["message"]: line.get("request_id") for line in log.objects if line["logger"] == "root"}
    alone = cost < 2
    assert said == {f"piece {number}": f"req-{number}" if alone else None for number in range(4)}


def test_the_documentation_names_every_field() -> None:
    text = (ROOT / "docs" / "logs.md").read_text("utf-8").split("## Fields")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [
        *("time", "level", "logger", "message", "request_id"),
        *logs.FIELDS,
        "exception",
    ]
