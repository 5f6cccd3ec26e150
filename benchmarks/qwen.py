"""Qwen3-ASR at full size through the server, beside vLLM's AsyncLLM driven directly with the very same pieces.

    .venv-vllm/bin/python -m benchmarks.qwen [--quick] [--sizes 0.6b,1.7b] [--clients 1,8,32,128] [--seconds 10,30,120]

Runs where vLLM is installed; on a machine with a GPU (and vLLM for it) the whole table of the model's report is driven.
Weights are those shapes' own size and say a fixed text of about four characters a second, made the first time in
models/.bench; the sound is real speech. What is compared runs one after the other, each alone on the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.domain.devices import Device
from app.domain.engines import SAMPLE_RATE
from app.domain.options import RecognitionOptions, SpeechDetection
from app.engines import qwen3
from app.engines.fsmn_vad import FsmnVad
from app.engines.qwen3.checkpoint import read_checkpoint
from app.engines.qwen3.plans import plans
from app.engines.qwen3.prompts import recognition_prompt
from app.modelstore.catalog import FSMN_VAD, PHONE_CALL
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.pipeline.segmentation import cut
from app.service.loading import device_of
from app.settings import Settings
from benchmarks import audio, corpus, machine, report
from benchmarks.common import parser
from benchmarks.engine import Waveform
from benchmarks.gpu import GpuLoad
from benchmarks.measures import percentile
from benchmarks.progress import note
from benchmarks.report import Ratio, Report, Table
from benchmarks.server import ROOT, Server
from tests.models.small_qwen import Size, make

_OF_DIRECT = 0.85
"""Aim: the server's throughput over AsyncLLM's."""
_PREFERRED = 30.0
_CHARACTERS_A_SECOND = 4
_TEXT = (
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈剑号巨阙珠称夜光"
    "果珍李柰菜重芥姜海咸河淡鳞潜羽翔龙师火帝鸟官人皇始制文字乃服衣裳推位让国有虞陶唐吊民伐罪周发殷汤坐朝问道垂拱平章"
    "爱育黎首臣伏戎羌遐迩一体率宾归王鸣凤在竹白驹食场化被草木赖及万方盖此身发四大五常"
)
"""The Thousand Character Classic, in which no character comes twice."""
_START_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What one row is measured with: the checkpoint, and files of about so many seconds."""

    size: Size
    seconds: float
    folder: Path
    files: tuple[Path, ...]

    @property
    def sound(self) -> float:
        """Seconds of all files."""
        return sum(len(audio.read(path)) for path in self.files) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Run:
    """What came of `seconds` of sound in `wall` seconds; `first` is how long requests waited for their first words."""

    seconds: float
    wall: float
    first: tuple[float, ...]
    busy: float | None

    @property
    def speed(self) -> float:
        """Times real time."""
        return self.seconds / self.wall


def main() -> int:
    """Measure all; 1 when the aim is missed."""
    given = _arguments()
    os.chdir(ROOT)
    device = device_of(Settings())
    sizes, clients, lengths = _scale(given, device)
    store = ModelStore(Settings())
    detector = FsmnVad(store.ensure(FSMN_VAD.id, console_progress()))
    rows: list[tuple[str, ...]] = []
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        speech = _speech(given.audio, store.ensure(PHONE_CALL.id, console_progress()), Path(temporary))
        for size, seconds in itertools.product(sizes, lengths):
            setup = _setup(size, seconds, speech, Path(temporary), max(clients))
            direct = asyncio.run(_direct(setup, detector, device, clients, given.rounds))
            served = _served(setup, clients, given.rounds)
            for count in clients:
                ratios.append(served[count].speed / direct[count].speed)
                rows.append(_row(setup, count, direct[count], served[count]))
    columns = (
        "model, seconds a file",
        "clients",
        "AsyncLLM x",
        "server x",
        "server/AsyncLLM",
        "first words p50, p95 ms",
    )
    found = Report(
        "python -m benchmarks.qwen " + " ".join(sys.argv[1:]),
        (_setting(device), f"median of {given.rounds} rounds; x: times real time"),
        [Table("Qwen3-ASR on vLLM", (*columns, "GPU busy"), tuple(rows))],
        [Ratio("server over AsyncLLM, the least", min(ratios), _OF_DIRECT, tuple(ratios))],
    )
    found.save("qwen")
    print(found.render(markdown=given.markdown))
    return 0 if found.ratios[0].met else 1


def _arguments() -> Any:
    line = parser("qwen", "Qwen3-ASR through the server, beside AsyncLLM.")
    line.add_argument("--sizes", help="0.6b, 1.7b or tiny, comma-separated")
    line.add_argument("--clients", help="how many ask at once, comma-separated")
    line.add_argument("--seconds", help="of a file, comma-separated")
    line.add_argument("--rounds", type=int, default=3)
    return line.parse_args()


def _scale(given: Any, device: Device) -> tuple[tuple[Size, ...], tuple[int, ...], tuple[float, ...]]:
    gpu = device.gpu is not None
    sizes = given.sizes or ("tiny" if given.quick else "0.6b,1.7b" if gpu else "0.6b")
    clients = given.clients or ("1,8,32,64,128" if gpu else "8")
    seconds = given.seconds or ("10,30,120" if gpu else "10")
    return tuple(sizes.split(",")), tuple(map(int, clients.split(","))), tuple(map(float, seconds.split(",")))


def _speech(shared: Path, call: Path, folder: Path) -> np.ndarray:
    """Some minutes of speech without long pauses."""
    scale = corpus.Scale(clips=None, rounds=1, long_files=1, long_seconds=600.0)
    return audio.read(corpus.load(shared, call, folder, scale).long[0].path)


def _setup(size: Size, seconds: float, speech: np.ndarray, folder: Path, clients: int) -> Setup:
    """Files that begin at different places, two for each client."""
    spoken = min(seconds, _PREFERRED)
    checkpoint = ROOT / "models" / ".bench" / f"qwen-{size}-{spoken:g}s"
    if not (checkpoint / "config.json").is_file():
        note(f"making {checkpoint.name} ...")
        script = f"language Chinese<asr_text>{_TEXT[: round(spoken * _CHARACTERS_A_SECOND)]}"
        make(checkpoint, size=size, script=script)
    length = round(seconds * SAMPLE_RATE)
    files: list[Path] = []
    for number in range(2 * clients):
        start = (number * 7 * SAMPLE_RATE) % max(1, len(speech) - length)
        path = folder / f"{seconds:g}s_{number}.wav"
        audio.write(path, np.resize(speech[start:], length))
        files.append(path)
    return Setup(size, seconds, checkpoint, tuple(files))


async def _direct(
    setup: Setup, detector: FsmnVad, device: Device, clients: Sequence[int], rounds: int
) -> dict[int, Run]:
    """AsyncLLM with the engine arguments that the server uses, and the pieces that it cuts, at hand."""
    from vllm import SamplingParams  # noqa: PLC0415 - takes half a minute
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    note(f"{setup.size}, {setup.seconds:g} s: AsyncLLM ...")
    checkpoint = read_checkpoint(setup.folder, aligns=False)
    budget, _ = qwen3.budgets(checkpoint, None, Settings(), device)
    plan = plans("direct", checkpoint, budget, device, Settings())[0]
    os.environ.update(plan.environment)
    engine: Any = AsyncLLM.from_engine_args(AsyncEngineArgs(**plan.engine))
    prompt = recognition_prompt(RecognitionOptions()).text
    sampling = SamplingParams(
        temperature=0.0,
        seed=0,
        max_tokens=512,
        logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
        repetition_detection=None,
    )
    pieces = {path: _pieces(path, detector) for path in setup.files}
    numbers = itertools.count()

    async def hear(samples: np.ndarray) -> float:
        began, first = time.perf_counter(), 0.0
        asked = {"prompt": prompt, "multi_modal_data": {"audio": (samples, SAMPLE_RATE)}}
        async for _ in engine.generate(asked, sampling, str(next(numbers))):
            first = first or time.perf_counter() - began
        return first

    async def ask(path: Path) -> float:
        return min(await asyncio.gather(*map(hear, pieces[path])))

    try:
        await ask(setup.files[0])
        return {count: await _rounds(ask, setup, count, rounds) for count in clients}
    finally:
        engine.shutdown()


def _served(setup: Setup, clients: Sequence[int], rounds: int) -> dict[int, Run]:
    """The server, asked over HTTP for text as it is recognised."""
    note(f"{setup.size}, {setup.seconds:g} s: server ...")
    model = "qwen3-asr-1.7b" if setup.size == "1.7b" else "qwen3-asr-0.6b"
    name = "ASR_MODEL_DIR_" + model.upper().replace("-", "_").replace(".", "_")
    own = {"ASR_MODEL": model, name: str(setup.folder), "SPEAKER_DIARIZATION": "off", "ASR_ENABLE_ALIGNER": "false"}
    log = report.RESULTS / "qwen.log"
    report.RESULTS.mkdir(exist_ok=True)
    with Server(log, python=Path(sys.executable), patience=_START_SECONDS, MAX_WAIT_SECONDS="3600", **own) as server:

        async def measure() -> dict[int, Run]:
            async with httpx.AsyncClient(base_url=server.url, timeout=3600, trust_env=False) as http:

                async def ask(path: Path) -> float:
                    return await _first_words(http, path)

                await ask(setup.files[0])
                return {count: await _rounds(ask, setup, count, rounds) for count in clients}

        return asyncio.run(measure())


async def _first_words(http: httpx.AsyncClient, path: Path) -> float:
    """Have a file recognised to its end; seconds until the first words were there.

    Raises:
        RuntimeError: it is no transcript.
    """
    began, first, last = time.perf_counter(), 0.0, ""
    files = {"file": (path.name, path.read_bytes())}  # noqa: ASYNC240 - a megabyte
    form = {"stream": "true", "response_format": "json"}
    async with http.stream("POST", "/v1/audio/transcriptions", data=form, files=files) as answer:
        async for line in answer.aiter_lines():
            if "transcript.text.delta" in line:
                first = first or time.perf_counter() - began
            last = line or last
    if answer.status_code != httpx.codes.OK or not first or last != "data: [DONE]":
        raise RuntimeError(f"{path.name}: {answer.status_code} {last[:300]}")
    return first


async def _rounds(ask: Callable[[Path], Any], setup: Setup, clients: int, rounds: int) -> Run:
    """The median round of `clients` that each ask for two files."""
    runs: list[Run] = []
    for _ in range(rounds):
        files = iter(setup.files[: 2 * clients])
        first: list[float] = []

        async def client(files: Any = files, first: list[float] = first) -> None:
            for path in files:
                first.append(await ask(path))

        began = time.perf_counter()
        with GpuLoad() as load:
            await asyncio.gather(*(client() for _ in range(clients)))
        runs.append(Run(2 * clients * setup.seconds, time.perf_counter() - began, tuple(first), load.busy))
    return sorted(runs, key=lambda run: run.wall)[len(runs) // 2]


def _pieces(path: Path, detector: FsmnVad) -> list[np.ndarray]:
    sound = Waveform(path)
    return [
        sound.piece(one.start, one.end) for one in cut(sound, detector.detect(sound, SpeechDetection()), _PREFERRED)
    ]


def _row(setup: Setup, clients: int, direct: Run, served: Run) -> tuple[str, ...]:
    first = f"{1000 * statistics.median(served.first):.0f}, {1000 * percentile(served.first, 0.95):.0f}"
    busy = "-" if served.busy is None else report.percent(served.busy)
    ratio = f"{served.speed / direct.speed:.2f}"
    return (
        f"{setup.size}, {setup.seconds:g} s",
        str(clients),
        f"{direct.speed:.1f}",
        f"{served.speed:.1f}",
        ratio,
        first,
        busy,
    )


def _setting(device: Device) -> str:
    where = "a GPU" if device.gpu else "the CPU"
    return f"{machine.read().describe()}; vLLM on {where}, {device.free / 2**30:.1f} GiB free"


if __name__ == "__main__":
    sys.exit(main())
