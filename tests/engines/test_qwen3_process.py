"""vLLM's process: started, asked, cancelled, dead, out of memory. The process and its socket are real; in it runs a
vLLM that can be made to do these things."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline.told import Told

from app.domain.errors import EngineFailure, ModelUnavailable
from app.engines.qwen3.link import RefusedError, Token
from app.engines.qwen3.plans import question
from app.engines.qwen3.process import EngineProcess
from app.engines.qwen3.spawning import Plan

STUB = Path(__file__).parent / "stub_vllm"
SOUND = np.full(800, 0.5, dtype=np.float32)
ANSWER = [(800, -0.5), (400, -0.5), (7, -0.5)]


def ask(prompt: str) -> dict[str, object]:
    return question(prompt, max_tokens=9)


def plan(folder: Path, seqs: int = 4, **engine: object) -> Plan:
    return Plan(
        name="small",
        engine={"max_num_seqs": seqs, "fits": 4, "once": str(folder / "once")} | engine,
        warm_up=ask("hello") | {"streamed": False},
        environment={"PYTHONPATH": os.pathsep.join([str(STUB), str(Path(__file__).parents[2])])},
    )


@pytest.fixture
def started(tmp_path: Path) -> Iterator[EngineProcess]:
    process = EngineProcess([plan(tmp_path)])
    process.start()
    yield process
    process.close()


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def gone(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_pieces_are_answered_side_by_side(started: EngineProcess) -> None:
    async def work() -> None:
        answers = await asyncio.gather(*(started.ask(ask("hello"), SOUND) for _ in range(64)))
        assert all(answer.tokens == ANSWER for answer in answers)
        assert {(answer.reason, answer.prompt_tokens) for answer in answers} == {("stop", 5)}

    run(work)


def test_tokens_are_told_as_they_come(started: EngineProcess) -> None:
    told: list[int] = []

    def listen(tokens: list[Token]) -> None:
        told.append(len(tokens))

    async def work() -> None:
        answer = await started.ask(ask("hello"), SOUND, listen)
        assert answer.tokens == ANSWER

    run(work)
    assert told == [1, 2, 3]


def test_a_piece_that_fails_fails_alone(started: EngineProcess) -> None:
    async def work() -> None:
        good, bad = await asyncio.gather(
            started.ask(ask("hello"), SOUND), started.ask(ask("fail"), SOUND), return_exceptions=True
        )
        assert isinstance(bad, EngineFailure)
        assert not isinstance(bad, RefusedError)
        assert not isinstance(good, BaseException)
        assert good.tokens == ANSWER

    run(work)


def test_what_vllm_refuses_is_told_apart(started: EngineProcess) -> None:
    async def work() -> None:
        with pytest.raises(RefusedError):
            await started.ask(ask("too long"), SOUND)

    run(work)


def test_cancelling_ends_the_work_in_the_process(started: EngineProcess, tmp_path: Path) -> None:
    async def work() -> None:
        task = asyncio.create_task(started.ask(ask("slow"), SOUND))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            if (tmp_path / "once.cancelled").exists():
                return
            await asyncio.sleep(0.05)
        pytest.fail("the process went on with what nobody waits for")

    run(work)


def test_what_was_being_recognised_survives_a_kill(started: EngineProcess) -> None:
    async def work() -> None:
        before = started.pid
        assert before is not None
        pieces = [asyncio.create_task(started.ask(ask("slow"), SOUND)) for _ in range(8)]
        await asyncio.sleep(0.3)
        os.killpg(before, signal.SIGKILL)
        async with asyncio.timeout(10):
            while started.available:  # noqa: ASYNC110 - it is noticed on another thread
                await asyncio.sleep(0.005)
        # A piece that comes meanwhile is of a recording that was begun: it waits.
        pieces.append(asyncio.create_task(started.ask(ask("hello"), SOUND)))
        for piece in pieces:
            assert (await piece).tokens == ANSWER
        assert started.pid != before
        assert gone(before)

    run(work)


def test_being_started_again_is_told(started: EngineProcess) -> None:
    told = Told()
    started.watch(told)

    async def work() -> None:
        assert (await started.ask(ask("hello"), SOUND)).tokens == ANSWER
        assert told.restarts == []
        assert (await started.ask(ask("die once"), SOUND)).tokens == ANSWER
        assert told.restarts == ["recogniser"]

    run(work)


def test_a_piece_is_told_anew_after_a_death(started: EngineProcess) -> None:
    told: list[int] = []

    async def work() -> None:
        assert (await started.ask(ask("die once"), SOUND, lambda tokens: told.append(len(tokens)))).tokens == ANSWER

    run(work)
    assert told == [1, 2, 3]


def test_a_piece_that_kills_twice_is_given_up_and_others_live(started: EngineProcess) -> None:
    async def work() -> None:
        with pytest.raises(ModelUnavailable, match="died twice"):
            await started.ask(ask("die"), SOUND)
        for _ in range(200):
            try:
                assert (await started.ask(ask("hello"), SOUND)).tokens == ANSWER
            except ModelUnavailable:
                await asyncio.sleep(0.1)
            else:
                return
        pytest.fail("it was never started again")

    run(work)


def test_a_listener_that_fails_fails_alone(started: EngineProcess) -> None:
    def listen(_tokens: list[Token]) -> None:
        raise RuntimeError("not my day")

    async def work() -> None:
        with pytest.raises(RuntimeError, match="not my day"):
            await started.ask(ask("hello"), SOUND, listen)
        assert (await started.ask(ask("hello"), SOUND)).tokens == ANSWER

    run(work)


def test_closing_while_it_is_started_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_START_SECONDS", "60")
    process = EngineProcess([plan(tmp_path)])
    with ThreadPoolExecutor(1) as threads:
        starting = threads.submit(process.start)
        while process.pid is None:
            time.sleep(0.05)
        process.close()
        with pytest.raises(EngineFailure):
            starting.result(10)
    assert gone(process.pid)
    with pytest.raises(EngineFailure, match="was stopped while it was started"):
        process.start()


def test_a_restart_that_fails_is_tried_again(started: EngineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right after memory ran out, the system may not even give a process."""
    real, tries = subprocess.Popen, iter([OSError(12, "Cannot allocate memory")])

    def popen(*given: Any, **named: Any) -> Any:
        if failure := next(tries, None):
            raise failure
        return real(*given, **named)

    async def work() -> None:
        await started.ask(ask("hello"), SOUND)
        assert started.pid is not None
        monkeypatch.setattr(subprocess, "Popen", popen)
        os.killpg(started.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        assert (await started.ask(ask("hello"), SOUND)).tokens == ANSWER
        assert started.available

    run(work)


def test_a_process_that_dies_idle_is_started_again(started: EngineProcess) -> None:
    async def work() -> None:
        await started.ask(ask("hello"), SOUND)
        before = started.pid
        assert before is not None
        os.killpg(before, signal.SIGKILL)
        for _ in range(200):
            await asyncio.sleep(0.1)
            if started.pid != before:
                break
        await asyncio.sleep(2)
        assert (await started.ask(ask("hello"), SOUND)).tokens == ANSWER

    run(work)


def test_less_is_tried_where_memory_runs_out(tmp_path: Path) -> None:
    process = EngineProcess([plan(tmp_path, seqs) for seqs in (16, 8, 4)])
    process.start()
    try:
        run(lambda: _answers(process))
    finally:
        process.close()


async def _answers(process: EngineProcess) -> None:
    assert (await process.ask(ask("hello"), SOUND)).tokens == ANSWER


@pytest.mark.parametrize(
    ("engine", "reason"),
    [({"fits": 1}, "small: it ran out of memory"), ({"broken": True}, "small: the weights are not to its taste")],
)
def test_what_keeps_it_from_starting_is_told(tmp_path: Path, engine: dict[str, object], reason: str) -> None:
    process = EngineProcess([plan(tmp_path, **engine)])
    with pytest.raises(EngineFailure, match=reason):
        process.start()
    assert process.pid is not None
    assert gone(process.pid)


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    process = EngineProcess([plan(tmp_path)])
    process.start()
    pid = process.pid
    assert pid is not None
    process.close()
    assert gone(pid)


def test_it_ends_when_the_server_is_gone(tmp_path: Path) -> None:
    """The server is killed, so that it can end nothing itself."""
    script = (
        "import sys, time; from pathlib import Path; from engines.test_qwen3_process import plan;"
        "from app.engines.qwen3.process import EngineProcess;"
        "process = EngineProcess([plan(Path(sys.argv[1]))]); process.start();"
        "Path(sys.argv[1], 'pid').write_text(str(process.pid)); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    server = _python(script, str(tmp_path), path=[root, root / "tests"])
    told = tmp_path / "pid"
    try:
        for _ in range(200):
            if told.exists() and told.read_text():
                break
            time.sleep(0.1)
        pid = int(told.read_text())
        assert not gone(pid)
    finally:
        server.kill()
        server.wait()
    for _ in range(100):
        if gone(pid):
            return
        time.sleep(0.1)
    os.killpg(pid, signal.SIGKILL)
    pytest.fail("vLLM outlived the server")


def _python(script: str, *arguments: str, path: list[Path]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env=environment)
