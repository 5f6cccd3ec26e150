"""Paraformer at full size: the engine beside FunASR and its bare graph, and the server beside its own stages.

    .venv-models/bin/python -m benchmarks.paraformer [--quick]

Needs FunASR, so it runs where `make test-models` does. Weights are random (speed does not depend on them), made the
first time in models/.bench; the speech is real. What is compared takes turns within a round; the rounds' median counts.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.domain.engines import Piece, PieceRequest
from app.domain.options import RecognitionOptions, SpeechDetection
from app.engines import ct_punc, paraformer
from app.engines.fsmn_vad import FsmnVad
from app.engines.paraformer.features import FrontEnd
from app.engines.paraformer.recognizer import padded
from app.engines.sessions import open_session
from app.modelstore.catalog import FSMN_VAD, PHONE_CALL, SPEAKERS
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.pipeline.segmentation import cut
from app.pipeline.text.punctuation import punctuated
from app.settings import Settings, available_cores
from benchmarks import corpus, machine, memory, report
from benchmarks.common import parser
from benchmarks.engine import Waveform
from benchmarks.measures import Clip
from benchmarks.progress import note
from benchmarks.report import Ratio, Report, Table
from benchmarks.server import ROOT, Server
from tests.models.full_paraformer import full_size

MODEL, PUNCTUATION = "paraformer-large", "ct-punc"
FUNASR, BARE, ENGINE, STAGES, SERVER = "FunASR, torch fp32", "bare graph, int8", "engine, int8", "stages", "server"
_OVER_FUNASR, _OF_STAGES, _OF_BARE = 2.8, 0.9, 0.7
"""Aims: the engine over FunASR on one core; the server over its stages called directly, and over the bare graph."""
_MEMORY_MIB, _START_SECONDS = 1500.0, 8.0
_CLIENTS = 8
_PLAIN = RecognitionOptions()

Seconds = dict[tuple[str, int], list[float]]
"""Wall time of each round by what was run and on how many threads."""


class Bench:
    """The models, what they recognise, and the ways to have it recognised on a number of threads."""

    def __init__(self, folders: dict[str, Path], detector: FsmnVad, files: tuple[Clip, ...]) -> None:
        settings = Settings(asr_enable_lm=False, asr_threads=0)
        self.files = files
        self.seconds = sum(clip.seconds for clip in files)
        self._detector = detector
        self._recognizer = paraformer.load(MODEL, folders[MODEL], settings)
        self._punctuator = ct_punc.load(PUNCTUATION, folders[PUNCTUATION], settings)
        self._session = open_session(folders[MODEL] / "model_quant.onnx")
        self._pieces = [piece for clip in files for piece in self._cut(clip)]
        self.speech = sum(one.piece.seconds for one in self._pieces)
        front_end = FrontEnd(folders[MODEL])
        self._features = [front_end(padded(one.piece.samples)) for one in self._pieces]
        self._funasr = _funasr(folders["checkpoint"])

    @property
    def pieces(self) -> int:
        """How many the files are cut into."""
        return len(self._pieces)

    def funasr(self, threads: int) -> None:
        """FunASR's own call, piece by piece, with `threads` inside each."""
        for one in self._pieces:
            self._funasr.generate(input=padded(one.piece.samples), ncpu=threads)

    def bare(self, threads: int) -> None:
        """The graph alone, features at hand: what ONNX Runtime can do here."""

        def run(features: np.ndarray) -> None:
            lengths = np.array([len(features)], dtype=np.int32)
            self._session.run(None, {"speech": features[None], "speech_lengths": lengths})

        _spread(run, self._features, threads)

    def engine(self, threads: int) -> None:
        """Sound to words with times, a piece a thread."""
        _spread(lambda one: self._recognizer.recognize([one]), self._pieces, threads)

    def stages(self, threads: int) -> None:
        """All that the server does to a file, called directly: decoding to punctuation, a file a thread."""

        def run(clip: Clip) -> None:
            for one in self._cut(clip):
                heard = self._recognizer.recognize([one])[0]
                if heard.words:
                    punctuated(heard.words, self._punctuator)

        _spread(run, self.files, threads)

    def _cut(self, clip: Clip) -> list[PieceRequest]:
        sound, can = Waveform(clip.path), self._recognizer.capabilities
        spans = self._detector.detect(sound, SpeechDetection())
        cuts = cut(sound, spans, can.preferred_seconds, can.max_silence)
        return [PieceRequest(Piece(one.start, sound.piece(one.start, one.end)), _PLAIN) for one in cuts]


def main() -> int:
    """Measure all; 1 when an aim is missed."""
    given = parser("paraformer", "Paraformer at full size, beside FunASR.").parse_args()
    os.chdir(ROOT)
    rounds, count, seconds = (1, 2, 30.0) if given.quick else (3, 8, 60.0)
    store = ModelStore(Settings())
    neighbours = machine.Neighbours()
    folders = full_size()
    with tempfile.TemporaryDirectory() as folder:
        call = store.ensure(PHONE_CALL.id, console_progress())
        scale = corpus.Scale(clips=None, rounds=rounds, long_files=count, long_seconds=seconds)
        recordings = corpus.load(given.audio, call, Path(folder), scale)
        store.ensure(SPEAKERS.id, console_progress())
        note("loading, and cutting the recordings ...")
        detector = FsmnVad(store.ensure(FSMN_VAD.id, console_progress()))
        bench = Bench(folders, detector, recordings.long)
        command = "python -m benchmarks.paraformer" + (" --quick" if given.quick else "")
        found = Report(command, _setting(recordings, bench))
        walls = measure(bench, rounds, folders, found)
        compare(bench, walls, found)
    found.setting += (neighbours.describe(),)
    found.save("paraformer")
    print(found.render(markdown=given.markdown))
    return 0 if all(ratio.met for ratio in found.ratios) else 1


def measure(bench: Bench, rounds: int, folders: dict[str, Path], found: Report) -> Seconds:
    """Time everything, in turns; adds the server's memory and start to `found`."""
    cores = available_cores()
    ways: dict[tuple[str, int], Callable[[int], None]] = {}
    for threads in sorted({1, cores}):
        ways |= {(FUNASR, threads): bench.funasr, (BARE, threads): bench.bare, (ENGINE, threads): bench.engine}
    ways[STAGES, cores] = bench.stages
    walls: Seconds = {way: [] for way in (*ways, (SERVER, cores))}
    report.RESULTS.mkdir(exist_ok=True)
    began = time.perf_counter()
    with Server(report.RESULTS / "paraformer.log", **_served(folders)) as server:
        started = time.perf_counter() - began
        ask(server, bench.files[:1], response_format="diarized_json")  # every model has worked once
        bench.engine(cores)
        for number in range(rounds):
            for (name, threads), run in ways.items():
                note(f"round {number + 1}: {name}, {threads} threads ...")
                walls[name, threads].append(_timed(lambda run=run, threads=threads: run(threads)))
            note(f"round {number + 1}: server ...")
            walls[SERVER, cores].append(_timed(lambda: ask(server, bench.files)))
        used = memory.sample(server.pid)
    rows = (
        ("start to /health/ready, s", f"{started:.1f}", f"{_START_SECONDS:g}"),
        ("memory with punctuation and speakers, MiB", f"{used.with_file:.0f}", f"{_MEMORY_MIB:.0f}"),
    )
    found.tables.append(Table("The server", ("", "measured", "at most"), rows))
    found.ratios += [
        Ratio("quick start: allowed over measured seconds", _START_SECONDS / started, 1.0),
        Ratio("memory: allowed over measured", _MEMORY_MIB / used.with_file, 1.0),
    ]
    return walls


def compare(bench: Bench, walls: Seconds, found: Report) -> None:
    """Speeds and their ratios."""
    cores = available_cores()
    median = {way: statistics.median(taken) for way, taken in walls.items()}
    rows: list[tuple[str, ...]] = []
    for (name, threads), wall in median.items():
        over = median[FUNASR, threads] / wall
        rows.append((name, str(threads), f"{wall / bench.speech:.4f}", f"{bench.speech / wall:.1f}", f"{over:.2f}"))
    columns = ("", "threads", "s per s of speech", "x real time", "x FunASR on as many")
    notes = (f"{bench.speech:.0f} s of speech in {bench.pieces} pieces, of {bench.seconds:.0f} s of recordings",)
    found.tables.insert(0, Table("Speed", columns, tuple(rows), notes))
    pairs = (
        ("engine over FunASR on one core", (ENGINE, 1), (FUNASR, 1), _OVER_FUNASR),
        ("server over its stages called directly", (SERVER, cores), (STAGES, cores), _OF_STAGES),
        ("server over the bare graph", (SERVER, cores), (BARE, cores), _OF_BARE),
    )
    for name, ours, theirs, aim in pairs:
        rounds = tuple(there / here for here, there in zip(walls[ours], walls[theirs], strict=True))
        found.ratios.append(Ratio(name, median[theirs] / median[ours], aim, rounds))
    found.data["seconds"] = {f"{name}, {threads} threads": taken for (name, threads), taken in walls.items()}


def ask(server: Server, files: Iterable[Clip], response_format: str = "json") -> None:
    """Have files recognised by `_CLIENTS` clients, each its next one as soon as the last is answered.

    Raises:
        RuntimeError: an answer is no transcript of this model's.
    """

    def send(clip: Clip) -> None:
        form = {"model": MODEL, "response_format": response_format}
        content = {"file": (clip.path.name, clip.path.read_bytes())}
        answer = http.post("/v1/audio/transcriptions", data=form, files=content)
        spoke = answer.headers.get("x-asr-model")
        if answer.status_code != httpx.codes.OK or spoke != MODEL or not answer.json()["text"]:
            raise RuntimeError(f"{clip.name}: {answer.status_code} {answer.text[:300]}")

    with httpx.Client(base_url=server.url, timeout=900, trust_env=False) as http:
        _spread(send, files, _CLIENTS)


def _served(folders: dict[str, Path]) -> dict[str, str]:
    return {
        "ASR_MODEL": MODEL,
        "ASR_MODEL_DIR_PARAFORMER_LARGE": str(folders[MODEL]),
        "ASR_MODEL_DIR_CT_PUNC": str(folders[PUNCTUATION]),
        "ASR_ENABLE_LM": "false",
    }


def _funasr(checkpoint: Path) -> Any:
    from funasr import AutoModel  # noqa: PLC0415 - takes seconds

    return AutoModel(model=str(checkpoint), device="cpu", disable_update=True, disable_pbar=True, ncpu=1)


def _setting(recordings: corpus.Corpus, bench: Bench) -> tuple[str, ...]:
    information = Path("/proc/cpuinfo").read_text("utf-8")
    named = re.search(r"^model name\s*:\s*(.+)$", information, re.MULTILINE)
    cpu = named[1] if named else "an unknown processor"
    fast = [flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni", "avx2") if flag in information.split()]
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch", "funasr", "numpy"))
    return (
        f"{available_cores()} cores of {cpu} ({', '.join(fast)}); Python {platform.python_version()}; {packages}",
        "Paraformer-large and CT-Transformer of full size with random weights, 4 tokens a second",
        f"{recordings.source}; joined to {len(bench.files)} files",
    )


def _spread(run: Callable[[Any], object], items: Iterable[Any], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(run, items):
            pass


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
