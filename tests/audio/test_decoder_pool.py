"""The pool: real processes, killed, stopped and cancelled; nothing is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pytest
from service.house import children

from app.audio.decoding import DecoderPool
from app.audio.protocol import AUDIO_TRUNCATED
from app.audio.recording import Recording
from app.domain.errors import EmptyAudio, EngineFailure, UndecodableAudio

from .making import PITCH, measure, pcm, riff, tone, wav

Scenario = Callable[[DecoderPool], Awaitable[None]]


def with_pool(scenario: Scenario, temp: Path, *, workers: int = 1, timeout: float = 20.0) -> None:
    """Run `scenario` with a pool; afterwards no process lives and no file lies in `temp`."""
    temp.mkdir(exist_ok=True)

    async def run() -> tuple[int, ...]:
        pids: set[int] = set()
        async with DecoderPool(workers=workers, temp_dir=temp, max_seconds=3600, timeout=timeout) as pool:
            pids.update(pool.pids)
            await scenario(pool)
            await until(lambda: len(pool.pids) == workers)
            pids.update(pool.pids)
        assert pool.pids == ()
        return tuple(pids)

    pids = asyncio.run(run())
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [pid for pid in pids if alive(pid)]
    assert list(temp.iterdir()) == []


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def works(pool: DecoderPool, path: Path) -> None:
    """The pool decodes, with a living worker."""
    with await pool.decode(path) as recording:
        assert recording.duration == 2.0


def test_a_path_becomes_a_recording(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(rate=44_100), 44_100)

    async def scenario(pool: DecoderPool) -> None:
        recording = await pool.decode(path)
        with recording:
            assert recording.duration == pytest.approx(2, abs=1e-3)
            assert recording.warnings == ()
            assert recording.samples.dtype == np.int16
            assert not recording.samples.flags.writeable
            assert measure(recording.samples / 32768)[0] == PITCH
        recording.close()
        with pytest.raises(ValueError, match="closed"):
            recording.piece(0, 1)

    with_pool(scenario, tmp_path / "temp")


def test_pieces_are_clamped_float_copies(tmp_path: Path) -> None:
    sound = tone()
    wav(tmp_path / "a.wav", sound)
    raw = tmp_path / "sound.s16"
    raw.write_bytes(pcm(sound, 16))
    with Recording(raw, warnings=("w",)) as recording:
        piece = recording.piece(0.5, 1.25)
        assert piece.dtype == np.float32
        assert piece.flags.writeable
        assert piece == pytest.approx(sound[8_000:20_000], abs=1e-4)
        assert len(recording.piece(-1, 99)) == 32_000
        assert len(recording.piece(1.5, 99)) == 8_000
        assert len(recording.piece(5, 6)) == len(recording.piece(1, 0.5)) == 0
        assert recording.warnings == ("w",)
    assert recording.duration == 2.0
    assert not raw.exists()
    assert piece.max() > 0.4  # a piece outlives its recording


def test_the_extremes_stay_within_one(tmp_path: Path) -> None:
    raw = tmp_path / "sound.s16"
    raw.write_bytes(np.array([-32768, 32767, 0], "<i2").tobytes())
    with Recording(raw) as recording:
        piece = recording.piece(0, 1)
    assert piece.min() == -1
    assert piece.max() < 1


def test_verdicts_and_warnings_cross_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_bytes(b"no sound in here\n" * 100)
    (tmp_path / "short").write_bytes(riff(pcm(tone(), 16), rate=16_000, declared=640_000))

    async def scenario(pool: DecoderPool) -> None:
        pids = pool.pids
        with pytest.raises(EmptyAudio):
            await pool.decode(tmp_path / "empty")
        with pytest.raises(UndecodableAudio, match="Supported formats"):
            await pool.decode(tmp_path / "text")
        with pytest.raises(EngineFailure) as caught:
            await pool.decode(tmp_path / "missing")
        assert str(tmp_path) not in str(caught.value)
        with await pool.decode(tmp_path / "short") as recording:
            assert recording.warnings == (AUDIO_TRUNCATED,)
        assert pool.pids == pids  # a bad file is no reason to lose a worker

    with_pool(scenario, tmp_path / "temp")


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["录音 1.wav", "line\nbreak.wav", "quote\"'.wav", os.fsdecode(b"latin-\xe9.wav")]

    async def scenario(pool: DecoderPool) -> None:
        for name in names:
            await works(pool, wav(tmp_path / name, tone()))

    with_pool(scenario, tmp_path / "temp")


def test_more_requests_than_workers_wait_their_turn(tmp_path: Path) -> None:
    paths = [wav(tmp_path / f"{index}.wav", tone(1 + index / 10)) for index in range(12)]

    async def scenario(pool: DecoderPool) -> None:
        recordings = await asyncio.gather(*map(pool.decode, paths))
        for index, recording in enumerate(recordings):
            assert recording.duration == pytest.approx(1 + index / 10)
            recording.close()

    with_pool(scenario, tmp_path / "temp", workers=2)


def test_output_is_private(tmp_path: Path) -> None:
    path, temp = wav(tmp_path / "a.wav", tone()), tmp_path / "temp"

    async def scenario(pool: DecoderPool) -> None:
        os.kill(pool.pids[0], signal.SIGSTOP)
        task = asyncio.create_task(pool.decode(path))
        await until(lambda: any(temp.iterdir()))
        assert [stat.S_IMODE(file.stat().st_mode) for file in temp.iterdir()] == [0o600]
        os.kill(pool.pids[0], signal.SIGCONT)
        (await task).close()

    with_pool(scenario, temp)


def test_a_killed_worker_costs_one_request(tmp_path: Path) -> None:
    path, temp = wav(tmp_path / "a.wav", tone()), tmp_path / "temp"

    async def scenario(pool: DecoderPool) -> None:
        for pid in pool.pids:
            os.kill(pid, signal.SIGSTOP)
        tasks = [asyncio.create_task(pool.decode(path)) for _ in range(6)]
        await until(lambda: len(list(temp.iterdir())) == 2)
        first, second = pool.pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: sum(task.done() for task in tasks) >= 1)
        os.kill(second, signal.SIGCONT)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert [type(failure) for failure in failures] == [EngineFailure]
        assert "died" in str(failures[0])
        for result in results:
            if isinstance(result, Recording):
                result.close()
        await works(pool, path)

    with_pool(scenario, temp, workers=2)


def test_a_worker_that_died_idle_costs_nothing(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone())

    async def scenario(pool: DecoderPool) -> None:
        os.kill(pool.pids[0], signal.SIGKILL)
        await asyncio.sleep(0.2)
        await works(pool, path)

    with_pool(scenario, tmp_path / "temp")


def test_a_hang_ends_by_the_clock(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone())

    async def scenario(pool: DecoderPool) -> None:
        hung = pool.pids[0]
        os.kill(hung, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(EngineFailure, match="too long"):
            await pool.decode(path)
        assert 0.9 < time.monotonic() - started < 5
        await works(pool, path)
        assert hung not in pool.pids

    with_pool(scenario, tmp_path / "temp", timeout=1.0)


def test_a_decoding_without_memory_fails_alone_and_its_worker_is_replaced(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(60.0))

    async def scenario(pool: DecoderPool) -> None:
        starved = pool.pids[0]
        pages = await asyncio.to_thread(Path(f"/proc/{starved}/statm").read_text)
        used = int(pages.split()[0]) * resource.getpagesize()
        resource.prlimit(starved, resource.RLIMIT_AS, (used, used))  # as if this file had eaten the rest
        results = await asyncio.gather(*(pool.decode(path) for _ in range(4)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        assert [type(failure) for failure in failures] == [EngineFailure]
        for result in results:
            if isinstance(result, Recording):
                result.close()
        await until(lambda: starved not in pool.pids and len(pool.pids) == 2)
        await works(pool, wav(tmp_path / "b.wav", tone()))

    with_pool(scenario, tmp_path / "temp", workers=2)


def test_a_disk_that_is_full_is_said_and_nothing_stays(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(60.0))

    async def scenario(pool: DecoderPool) -> None:
        resource.prlimit(pool.pids[0], resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(EngineFailure, match="no room"):
            await pool.decode(path)
        await works(pool, wav(tmp_path / "b.wav", tone()))

    with_pool(scenario, tmp_path / "temp")


def test_what_eats_memory_is_stopped_by_its_limit() -> None:
    code = "from app.audio import worker; worker.restrain(); bytearray(5 << 30)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert b"MemoryError" in ended.stderr


def test_cancelling_ends_the_work(tmp_path: Path) -> None:
    path, temp = wav(tmp_path / "a.wav", tone()), tmp_path / "temp"

    async def scenario(pool: DecoderPool) -> None:
        busy = pool.pids[0]
        os.kill(busy, signal.SIGSTOP)
        working = asyncio.create_task(pool.decode(path))
        await until(lambda: any(temp.iterdir()))
        waiting = asyncio.create_task(pool.decode(path))
        await asyncio.sleep(0.05)
        waiting.cancel()
        working.cancel()
        for task in (waiting, working):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert list(temp.iterdir()) == []
        await until(lambda: not alive(busy))
        await works(pool, path)

    with_pool(scenario, temp)


def test_closing_answers_everybody(tmp_path: Path) -> None:
    path, temp = wav(tmp_path / "a.wav", tone()), tmp_path / "temp"
    temp.mkdir()

    async def run() -> None:
        pool = DecoderPool(workers=1, temp_dir=temp, max_seconds=60, timeout=20)
        with pytest.raises(EngineFailure, match="not running"):
            await pool.decode(path)
        await pool.start()
        pids = pool.pids
        os.kill(pids[0], signal.SIGSTOP)
        tasks = [asyncio.create_task(pool.decode(path)) for _ in range(3)]
        await until(lambda: any(temp.iterdir()))
        async with asyncio.timeout(5):
            await pool.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [EngineFailure] * 3
        assert not any(map(alive, pids))
        await pool.close()
        assert list(temp.iterdir()) == []

    asyncio.run(run())


def test_a_start_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    before = children()

    async def run() -> None:
        pool = DecoderPool(workers=3, temp_dir=tmp_path, max_seconds=60, timeout=20)
        starting = asyncio.create_task(pool.start())
        await until(lambda: len(children() - before) == 3)
        for pid in children() - before:
            os.kill(int(pid), signal.SIGSTOP)
        await asyncio.sleep(0.1)  # all are waited for
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert children() <= before  # while the loop still runs: what ends later finds it closed

    asyncio.run(run())


def test_a_missing_place_fails_the_request(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone())

    nowhere = tmp_path / "nowhere"

    async def run() -> None:
        async with DecoderPool(workers=1, temp_dir=nowhere, max_seconds=60, timeout=20) as pool:
            with pytest.raises(EngineFailure):
                await pool.decode(path)
            await asyncio.to_thread(nowhere.mkdir)
            await works(pool, path)

    asyncio.run(run())


def test_workers_get_no_secrets_and_survive_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", "do-not-tell")
    path = wav(tmp_path / "a.wav", tone())

    async def scenario(pool: DecoderPool) -> None:
        pid = pool.pids[0]
        if sys.platform == "linux":
            assert b"do-not-tell" not in await asyncio.to_thread(Path(f"/proc/{pid}/environ").read_bytes)
        os.kill(pid, signal.SIGINT)
        await works(pool, path)
        assert pool.pids == (pid,)
        assert os.getpgid(pid) != os.getpgid(0)
        assert os.getpriority(os.PRIO_PROCESS, pid) >= os.getpriority(os.PRIO_PROCESS, 0) + 5

    with_pool(scenario, tmp_path / "temp")


PARENT = """
import asyncio, os, signal, sys
from pathlib import Path
from app.audio.decoding import DecoderPool

async def run():
    pool = DecoderPool(workers=1, temp_dir=Path(sys.argv[1]), max_seconds=60, timeout=20)
    await pool.start()
    print(pool.pids[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""


def test_a_worker_leaves_when_its_parent_is_gone(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", PARENT, tmp_path], cwd=root, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


@pytest.mark.parametrize("split", [False, True])
def test_of_a_long_recording_its_leading_seconds_can_be_had(tmp_path: Path, split: bool) -> None:
    path = wav(tmp_path / "long.wav", tone(seconds=60.0))

    async def scenario(pool: DecoderPool) -> None:
        with await pool.decode(path, leading=5.0, split=split) as recording:
            assert 5.0 <= recording.duration < 8.0, "a packet is not divided"
            assert recording.warnings == ()
            assert measure(recording.samples[:80_000])[0] == pytest.approx(PITCH, abs=1)
        with await pool.decode(path, leading=600.0, split=split) as recording:
            assert recording.duration == pytest.approx(60.0, abs=0.01)

    with_pool(scenario, tmp_path / "temp")


def test_what_a_worker_says_is_logged_for_who_asked(tmp_path: Path) -> None:
    asking = ContextVar("asking", default="nobody")
    said: list[tuple[str, str]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((asking.get(), record.getMessage()))

    async def decode(pool: DecoderPool, name: str) -> None:
        asking.set(name)
        with pytest.raises(EngineFailure):
            await pool.decode(tmp_path / "absent.wav")

    async def scenario(pool: DecoderPool) -> None:
        for name in ("first", "second"):
            await asyncio.create_task(decode(pool, name))
            await until(lambda name=name: any(who == name and "FileNotFoundError" in line for who, line in said))

    handler = Noting()
    logger = logging.getLogger("app.audio.decoding")
    logger.addHandler(handler)
    try:
        with_pool(scenario, tmp_path)
    finally:
        logger.removeHandler(handler)
    assert all(line.startswith("a decoder says: ") for _, line in said)
    assert {who for who, _ in said} == {"first", "second"}
