"""Qwen3-ASR and its forced aligner on vLLM, each in a process of its own.

Qwen team, "Qwen3-ASR Technical Report", 2026.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue

from app.domain.devices import Device
from app.engines.qwen3.aligner import QwenAligner
from app.engines.qwen3.checkpoint import Checkpoint, read_checkpoint
from app.engines.qwen3.memory import Budget, Card, Weights, cpu_budgets, gpu_budgets
from app.engines.qwen3.plans import number_type, plans
from app.engines.qwen3.process import EngineProcess
from app.engines.qwen3.recognizer import QwenRecognizer
from app.engines.qwen3.vocabulary import Vocabulary
from app.settings import Settings

ALIGNER = "aligner"
COMPANIONS = (ALIGNER,)
_ALIGNER_ID = "qwen3-forced-aligner"
_WAITING = 1.25
"""Pieces that are handed to vLLM for each that it computes at once: the next are prepared meanwhile."""

_logger = logging.getLogger(__name__)


def load(
    model_id: str, folder: Path, settings: Settings, *, companions: Mapping[str, Path], device: Device
) -> QwenRecognizer:
    """The recogniser in `folder`, with the aligner if its folder is among `companions`. Blocking: a minute or more.

    Raises:
        EngineFailure: a folder does not hold the model (the message names the file), it does not fit into the memory
            (it says what is needed), or vLLM cannot start it (it says why).
    """
    checkpoint = read_checkpoint(folder, aligns=False)
    vocabulary = Vocabulary(folder)
    aligner = _aligner_checkpoint(companions.get(ALIGNER), settings)
    ours, theirs = budgets(checkpoint, aligner, settings, device)
    process = EngineProcess(plans(model_id, checkpoint, ours, device, settings))
    if aligner is None or theirs is None:
        process.start()
        return _recognizer(model_id, process, vocabulary, ours)
    beside = EngineProcess(plans(_ALIGNER_ID, aligner, theirs, device, settings))
    _start_both(process, beside)
    timing = QwenAligner(_ALIGNER_ID, beside, bin_seconds=aligner.bin_seconds)
    return _recognizer(model_id, process, vocabulary, ours, timing)


def _recognizer(
    model_id: str, process: EngineProcess, vocabulary: Vocabulary, budget: Budget, aligner: QwenAligner | None = None
) -> QwenRecognizer:
    calls = round(budget.max_num_seqs * _WAITING)
    return QwenRecognizer(model_id, process, vocabulary, parallel_calls=calls, aligner=aligner)


def _aligner_checkpoint(folder: Path | None, settings: Settings) -> Checkpoint | None:
    """The aligner's, where there is one; without it words get estimated times, and the log says so."""
    if not settings.asr_enable_aligner:
        return None
    if folder is None:
        _logger.warning("word times will be estimated: the model %s is not on this machine", _ALIGNER_ID)
        return None
    return read_checkpoint(folder, aligns=True)


def budgets(
    checkpoint: Checkpoint, aligner: Checkpoint | None, settings: Settings, device: Device
) -> tuple[Budget, Budget | None]:
    """Shares of the device's memory for the recogniser and the aligner. Raises EngineFailure: they do not fit."""
    wide = number_type(device, settings) == "float32"
    sizes = _weights(checkpoint, wide=wide)
    beside = _weights(aligner, wide=wide) if aligner else None
    most = settings.asr_max_sequences
    if device.gpu is None:
        return cpu_budgets(sizes, beside, device.free, max_sequences=most)
    card = Card(device.memory, device.free)
    return gpu_budgets(sizes, beside, card, fraction=settings.asr_gpu_memory_fraction, max_sequences=most)


def _weights(checkpoint: Checkpoint, *, wide: bool) -> Weights:
    """Sizes in memory, where numbers may be wider than in the files."""
    wider = 4 // checkpoint.number_bytes if wide else 1
    return Weights(checkpoint.weight_bytes * wider, checkpoint.kv_bytes * wider, aligns=checkpoint.aligns)


def _start_both(*processes: EngineProcess) -> None:
    """At once: each mostly waits for its imports and its weights. If one cannot be started, none is left."""
    outcomes: SimpleQueue[BaseException | None] = SimpleQueue()

    def start(process: EngineProcess) -> None:
        try:
            process.start()
        except BaseException as error:  # noqa: BLE001 - raised again below
            outcomes.put(error)
        else:
            outcomes.put(None)

    for process in processes:  # the end of the server does not wait for them
        threading.Thread(target=start, args=(process,), name="start", daemon=True).start()
    for _ in processes:
        if (error := outcomes.get()) is not None:
            for process in processes:
                process.close()
            raise error
