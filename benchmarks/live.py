"""Live speech: `python -m benchmarks.live [--quick] [--model whisper|paraformer] [--sessions 1,2,4] [--minutes N]`.

Sessions at real time over Alibaba's socket, beside the bare engines in the same run: how soon first and final texts
come, and how many sessions are held. `--long MINUTES` plays one stream that goes on instead, `--vanish COUNT` has
clients vanish. Paraformer has the published shapes and random weights (benchmarks/live_models.py): its texts
mean nothing, its times do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from app.engines import ct_punc, paraformer, paraformer_online, whisper
from app.engines.fsmn_vad import FsmnVad
from app.modelstore.catalog import FSMN_VAD, PHONE_CALL
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.settings import Settings
from benchmarks import corpus, live_long, machine, report
from benchmarks.common import parser
from benchmarks.live_bare import Bare
from benchmarks.live_models import ONLINE, paraformers
from benchmarks.live_sessions import FINAL_SECONDS, SOCKET, Held, Pace, Script, hold, rushed, scripts, transcripts
from benchmarks.live_vanish import AT_ONCE, Holdings, holdings, settled, vanish
from benchmarks.measures import percentile
from benchmarks.progress import note
from benchmarks.report import Ratio, Report, Table, percent
from benchmarks.server import MODEL, ROOT, Server
from tools.dialects.aliyun import LiveClient

PARAFORMER, PUNCTUATION = "paraformer-large", "ct-punc"
_FIRST_SECONDS = {"whisper": 1.5, "paraformer": 1.2}
"""Aim for the first text, from the sentence's beginning."""
_OF_BARE = 0.8
"""Aim: what the server does of what its engines do without it."""
_MOST = 64
"""Sessions at which the search ends."""
_RUSHED = 4
"""Sessions that send as fast as they can."""
_WARM_WAVES, _WARM_CLIENTS = 5, 300
_SETTLING_SECONDS = 30.0
_PEERS = (
    "peers with the same weights on two cores, one session, p95 of first text / final: WhisperLiveKit 4.1/2.7 s (local "
    "agreement), 2.4/2.5 s (simul-streaming); speaches realtime 10.2/2.9 s; WhisperLive 1.9/12.5 s"
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured with: the clips, the server's settings, and the same models for calling them directly."""

    name: str
    recordings: corpus.Corpus
    folder: Path
    served: dict[str, str]
    bare: Bare
    threads: int

    @contextmanager
    def server(self) -> Generator[Server]:
        """The server with this model, and a TEMP_DIR of its own."""
        report.RESULTS.mkdir(exist_ok=True)
        self.temp.mkdir(exist_ok=True)
        with Server(report.RESULTS / "live.log", TEMP_DIR=str(self.temp), **self.served) as server:
            yield server

    @property
    def temp(self) -> Path:
        """TEMP_DIR."""
        return self.folder / "temp"

    @property
    def says_words(self) -> bool:
        """Whether texts mean anything."""
        return self.name == "whisper"


def main() -> int:
    """Measure what was asked for."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: leave no server behind
    os.chdir(ROOT)
    neighbours = machine.Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        bench = _bench(given, Path(folder))
        command = " ".join(["python -m benchmarks.live", *sys.argv[1:]])
        found = Report(command, (machine.read().describe(), _models(given.model), bench.recordings.source))
        with bench.server() as server:
            if given.long:
                _long(bench, server, given, found)
            if given.vanish:
                _vanish(bench, server, given.vanish, found)
            if not (given.long or given.vanish):
                _sessions(bench, server, given, found)
    found.setting += (neighbours.describe(),)
    found.save("live")
    print(found.render(markdown=given.markdown))
    return 0


def _arguments() -> argparse.Namespace:
    made = parser("live", "Live sessions at real time, beside the bare engines.")
    made.add_argument("--model", choices=sorted(_FIRST_SECONDS), default="whisper")
    made.add_argument("--sessions", help="how many at once, comma-separated (default: the most that are held)")
    made.add_argument("--minutes", type=float, help="length of a session (default: 2, quick: 0.5)")
    made.add_argument("--long", type=float, metavar="MINUTES", help="one stream of so many minutes instead")
    made.add_argument("--speed", type=float, default=20.0, help="times real time of that stream (default: %(default)g)")
    made.add_argument("--vanish", type=int, metavar="COUNT", help="have so many clients vanish instead")
    given = made.parse_args()
    given.minutes = given.minutes or (0.5 if given.quick else 2.0)
    if given.quick and not given.sessions:
        given.sessions = "1,2"
    return given


def _bench(given: argparse.Namespace, folder: Path) -> Bench:
    note("preparing the recordings and models ...")
    store = ModelStore(Settings())
    call = store.ensure(PHONE_CALL.id, console_progress())
    detector = FsmnVad(store.ensure(FSMN_VAD.id, console_progress()))
    scale = replace(corpus.QUICK if given.quick else corpus.FULL, long_files=0)
    recordings = corpus.load(given.audio, call, folder, scale)
    settings = Settings(asr_enable_lm=False, asr_threads=0, asr_compute_type="int8", asr_beam_size=5)
    served: dict[str, str] = {}
    if given.model == "paraformer":
        folders = paraformers()
        recognizer = paraformer.load(PARAFORMER, folders[PARAFORMER], settings)
        punctuator = ct_punc.load(PUNCTUATION, folders[PUNCTUATION], settings)
        streaming = paraformer_online.load(ONLINE, folders[ONLINE], settings)
        served = {"ASR_MODEL": PARAFORMER, "ASR_ENABLE_LM": "false"}
        for name in (PARAFORMER, PUNCTUATION, ONLINE):
            served["ASR_MODEL_DIR_" + name.upper().replace("-", "_")] = str(folders[name])
        bare = Bare(detector, recognizer, punctuator, streaming)
    else:
        bare = Bare(detector, whisper.load(MODEL, store.ensure(MODEL, console_progress()), settings))
    return Bench(given.model, recordings, folder, served, bare, settings.threads)


def _models(name: str) -> str:
    if name == "whisper":
        return f"{MODEL} int8, beam 5, language not given; FSMN-VAD"
    large = "Paraformer-large, its streaming sibling and CT-Transformer"
    return f"{large} of full size with random weights, 4 tokens a second; FSMN-VAD"


def _sessions(bench: Bench, server: Server, given: argparse.Namespace, found: Report) -> None:
    """How many at once, how soon, and what of the bare engines that is."""
    seconds = given.minutes * 60
    everybody = scripts(bench.recordings.spoken, _MOST, seconds)
    offline = transcripts(server, bench.recordings.spoken) if bench.says_words else {}
    counts = [int(count) for count in given.sessions.split(",")] if given.sessions else None
    runs = {count: hold(server, everybody[:count], offline) for count in counts or ()}
    if counts is None:
        runs = _searched(lambda count: hold(server, everybody[:count], offline))
    runs = dict(sorted(runs.items()))
    best = max((count for count, run in runs.items() if run.within(FINAL_SECONDS)), default=0)
    most = best < max(runs) or counts is None  # else there was no try with more
    found.tables.append(_held_table(runs, bench.says_words))
    found.data["sessions"] = [asdict(run) for run in runs.values()]
    some = everybody[:_RUSHED]
    note("the server, as fast as it can ...")
    fast = rushed(server, some)
    note("the bare engines ...")
    finals, both = (bench.bare.pace(some, bench.threads, partials=partials) for partials in (False, True))
    found.tables.append(_bare_table(best, most, (fast, finals, both), bench.threads))
    found.data["bare"] = {
        name: asdict(pace) for name, pace in (("server, rushed", fast), ("finals", finals), ("partials, too", both))
    }
    found.ratios += [
        Ratio("live sound a second, finals only, over the bare engines", fast.speed / finals.speed, _OF_BARE),
        Ratio("processor time of that: the bare engines' over the server's", finals.cost / fast.cost, _OF_BARE),
    ]
    if most:
        found.ratios.append(Ratio("sessions held, over the bare engines with partials", best / both.speed, _OF_BARE))
    found.ratios += _soon(runs[min(runs)], _FIRST_SECONDS[bench.name])


def _soon(run: Held, first: float) -> list[Ratio]:
    """How far within the aims its answers came."""
    ratios: list[Ratio] = []
    for name, aim, delays in (("final", FINAL_SECONDS, run.finals), ("first", first, run.firsts)):
        if delays:
            label = f"{name} texts of {run.sessions} session(s): {aim:g} s allowed over p95"
            ratios.append(Ratio(label, aim / max(percentile(delays, 0.95), 1e-3), 1.0))
    return ratios


def _searched(try_out: Callable[[int], Held]) -> dict[int, Held]:
    """Doubled until it is too many, then halved between. What misses is run again and judged by both runs: of few
    sentences the slowest is their p95."""

    def run(count: int, runs: dict[int, Held]) -> bool:
        runs[count] = try_out(count)
        if not runs[count].within(FINAL_SECONDS):
            runs[count] += try_out(count)
        return runs[count].within(FINAL_SECONDS)

    runs: dict[int, Held] = {}
    good, count = 0, 1
    while count <= _MOST and run(count, runs):
        good, count = count, 2 * count
    bad = min(count, _MOST + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if run(middle, runs) else (good, middle)
    return runs


def _held_table(runs: dict[int, Held], says_words: bool) -> Table:
    columns = ("sessions", "final p50 s", "p95 s", "first p50 s", "p95 s", "texts a s", "late s", "cores", "words")
    rows: list[tuple[str, ...]] = []
    for count, run in runs.items():
        delays = [
            f"{percentile(values, share):.2f}" if values else "-"
            for values in (run.finals, run.firsts)
            for share in (0.5, 0.95)
        ]
        words = percent(run.errors.rate) if says_words else "-"
        rows.append(
            (
                f"{count}" + (f" ({len(run.failures)} failed)" if run.failures else ""),
                *delays,
                f"{run.partials / run.seconds:.2f}",
                f"{run.slip:.2f}",
                f"{run.cores:.2f}",
                words,
            )
        )
    notes = (
        "final: from the frame in which a sentence's end became certain to its text; first: from a sentence's first "
        "sound to its first text; texts a s: partial ones, per second of sound; late: the latest frame after its time; "
        "cores: kept busy by the server; words: that differ from the same server's transcripts of the clips as files",
        _PEERS,
    )
    return Table("Live sessions at real time", columns, tuple(rows), notes)


def _bare_table(best: int, most: bool, paces: tuple[Pace, Pace, Pace], threads: int) -> Table:
    fast, finals, both = paces
    within = f"sessions at real time, finals within {FINAL_SECONDS:g} s" + ("" if most else " (no more were tried)")
    rows = (
        _compared("final texts only: seconds of sound a second", fast.speed, finals.speed),
        _compared("final texts only: processor seconds a second of sound", fast.cost, finals.cost),
        _compared(within, best, both.speed),
    )
    notes = (
        f"bare engines: speech detection and recognition called in a loop on {threads} threads, without a server; in "
        "the last row with a text once a second while somebody speaks, as many sessions as keep all threads busy",
    )
    return Table("Beside the bare engines", ("", "server", "bare engines", "server / bare"), rows, notes)


def _compared(name: str, ours: float, bare: float) -> tuple[str, ...]:
    return (name, f"{ours:.3g}", f"{bare:.3g}", f"{ours / bare:.2f}")


def _long(bench: Bench, server: Server, given: argparse.Namespace, found: Report) -> None:
    script = scripts(bench.recordings.spoken, 1, 60.0)[0]
    hold(server, [script], {})  # what is made once is no growth
    endured = live_long.endure(server, script, given.long, given.speed)
    found.tables.append(live_long.table(endured, given.speed))
    found.data["long"] = asdict(endured)


def _vanish(bench: Bench, server: Server, count: int, found: Report) -> None:
    sound: Sequence[Script] = scripts(bench.recordings.spoken, 1, 60.0)
    sessions = [partial(LiveClient, server.url + SOCKET)]

    def look() -> Holdings:
        return holdings(server.pid, server.url, bench.temp)

    note(f"{count} clients that vanish, {AT_ONCE} at once ...")
    for seed in range(_WARM_WAVES):  # threads and their arenas are made once
        asyncio.run(vanish(sessions, sound[0].sound, _WARM_CLIENTS, seed=seed))
    before = settled(look, replace(look(), active=0, files=0), _SETTLING_SECONDS)
    done = asyncio.run(vanish(sessions, sound[0].sound, count, seed=_WARM_WAVES))
    after = settled(look, before, _SETTLING_SECONDS)
    rows = tuple(
        (name, f"{getattr(before, name):.0f}", f"{getattr(after, name):.0f}")
        for name in ("active", "sockets", "descriptors", "threads", "processes", "files", "own")
    )
    moments = ", ".join(f"{number} {moment}" for moment, number in sorted(done.items()))
    notes = (f"vanished: {moments}", "own: anonymous memory in MiB; files: in TEMP_DIR; active: requests and streams")
    found.tables.append(Table(f"What is left of {count} clients that vanished", ("", "before", "after"), rows, notes))
    found.data["vanish"] = {"before": asdict(before), "after": asdict(after), "done": dict(done)}


if __name__ == "__main__":
    sys.exit(main())
