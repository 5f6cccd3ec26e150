"""A soak: `python -m benchmarks.soak`, or `make soak`. See docs/soak.md."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import sys
import tempfile
import time
import wave
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from app.modelstore.catalog import PHONE_CALL
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import audio
from benchmarks.progress import bar, note
from benchmarks.report import RESULTS
from benchmarks.server import MODEL, ROOT
from benchmarks.soak import jobs, plan, room
from benchmarks.soak.asks import ASKS
from benchmarks.soak.faults import Trouble
from benchmarks.soak.load import Clip, Known, Load, learn, stopping
from benchmarks.soak.looking import Holdings, Watch, holdings
from benchmarks.soak.outcomes import Judge
from benchmarks.soak.serving import Server
from benchmarks.soak.telling import Run, save, tell
from tests.models.small_whisper import make_small_whisper

SEED, RATE, CLIPS = 20, 16_000, 8
_SHORTEST, _LONGEST = 2.0, 6.0
_SETTLE_SECONDS, _LOOK_SECONDS = 45.0, 3.0
_OUT = RESULTS / "soak"


def main() -> int:
    """Print the verdict; 1 when a check is missed."""
    given = arguments()
    if given.picture and find_spec("matplotlib") is None:
        print(
            "a picture needs matplotlib: run it with .venv-bench/bin/python (make .venv-bench/.bench)", file=sys.stderr
        )
        return 2
    room.enter()
    os.chdir(ROOT)
    _OUT.mkdir(parents=True, exist_ok=True)
    folders = ModelStore(Settings()).ensure_all([MODEL, "fsmn-vad", "speakers", PHONE_CALL.id], console_progress())
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        small = make_small_whisper(folder / "small", folders[MODEL]) if given.model == "small" else None
        place = room.Room(folder)
        server = Server(folder, place, _OUT / "server.log", folders[MODEL].parent, small)
        try:
            status = Soak(given, server, place, cut(folders[PHONE_CALL.id] / "sample.wav")).run()
        finally:
            server.close()
            place.close()
    if given.picture:
        from benchmarks.soak.picture import draw  # noqa: PLC0415 - with matplotlib, which not every environment has

        draw(_OUT, given.picture)
        note(f"drawn: {given.picture}")
    return status


def arguments() -> argparse.Namespace:
    """What was said on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="how many (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=24 * 3600.0, help="the longest the load may take")
    parser.add_argument("--clients", type=int, default=12, help="how many at once (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="what is asked when (default %(default)s)")
    parser.add_argument(
        "--model",
        choices=("small", MODEL),
        default="small",
        help="small: a Whisper of random weights, quick; or the real one with beam 1 (default %(default)s)",
    )
    parser.add_argument("--picture", type=Path, help="draw the run into this PNG (needs .venv-bench)")
    return parser.parse_args()


def cut(call: Path) -> list[Clip]:
    """Stretches of the sample call, no two alike."""
    sound, chance = audio.read(call), random.Random(SEED)
    clips: list[Clip] = []
    for number in range(CLIPS):
        size = round(chance.uniform(_SHORTEST, _LONGEST) * RATE)
        first = round(number * (len(sound) - _LONGEST * RATE) / CLIPS)
        samples = sound[first : first + size]
        written = io.BytesIO()
        with wave.open(written, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.astype("<i2").tobytes())
        clips.append(Clip(samples, written.getvalue()))
    return clips


class Soak:
    """One run: what is right, then the load with its faults, then the verdict."""

    def __init__(self, given: argparse.Namespace, server: Server, place: room.Room, clips: list[Clip]) -> None:
        self._given = given
        self._server = server
        self._room = place
        self._clips = clips
        self._judge = Judge()

    def run(self) -> int:
        """The exit status."""
        note("starting the server ...")
        self._server.start()
        self._server.wait_until_ready()
        with bar("what is right, without faults", (len(ASKS) + len(plan.STREAMS) + 1) * CLIPS) as progress:
            known = asyncio.run(learn(self._server, self._clips, lambda: progress.update(1)))
        before = self._settled(None)
        watch = Watch(_OUT / "samples.csv", self._server.base)
        began = time.monotonic()
        trouble, load = asyncio.run(self._loaded(known, watch))
        took = time.monotonic() - began
        with bar("jobs that were accepted", len(load.jobs)) as progress:
            expected = partial(known.of, jobs.JOB)
            lost = asyncio.run(jobs.lost(self._server.base, load.jobs, expected, lambda: progress.update(1)))
        after = self._settled(before)
        trouble.found.extend(f"left in TEMP_DIR: {name}" for name in self._room.left())
        self._server.terminate()
        asyncio.run(trouble.end_well())
        watch.close()
        run = Run(
            given=self._given,
            judge=self._judge,
            found=trouble.found,
            without=trouble.without,
            took=took,
            done=load.done,
            before=before,
            after=after,
            words=known.words,
            jobs=len(load.jobs),
            lost=lost,
            watch=watch,
            folder=_OUT,
        )
        save(run)
        return tell(run)

    def _settled(self, before: Holdings | None) -> Holdings:
        """What is held once it is no more than `before`, without one once it stays; or after a while."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        last = before
        while True:
            time.sleep(_LOOK_SECONDS)
            now = holdings(self._server.pid)
            back = last and now.descriptors <= last.descriptors and now.processes <= last.processes
            if (back and not self._room.left()) or time.monotonic() > deadline:
                return now
            last = before or now

    async def _loaded(self, known: Known, watch: Watch) -> tuple[Trouble, Load]:
        given = self._given
        items = plan.items(given.requests, len(self._clips), given.seed)
        with bar("requests and streams", given.requests) as progress:

            def told() -> None:
                progress.set_postfix_str(f"unexpected {len(self._judge.unexpected)}", refresh=False)
                progress.update(1)

            load = Load(self._server, self._clips, known, self._judge, items, told)
            trouble = Trouble(self._server, self._room, load, random.Random(given.seed), given.seconds)
            began = time.monotonic()
            with stopping(load):
                work = asyncio.create_task(load.run(given.clients))
                faults = asyncio.create_task(trouble.run(plan.faults(given.requests), given.requests))
                while not work.done():
                    load.stopped |= time.monotonic() - began > given.seconds
                    if faults.done() and faults.exception():
                        load.stopped = True
                    await asyncio.to_thread(watch.look, self._server.pid, load.done)
                    await asyncio.wait([work], timeout=1.0)
                await work
                load.stopped = True  # no fault begins any more
                await faults  # whatever it was at is brought to its end
        return trouble, load


if __name__ == "__main__":
    sys.exit(main())
