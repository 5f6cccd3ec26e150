"""The models that Paraformer's live speech has beside it, at full size with random weights: its streaming sibling.

    .venv-models/bin/python -m benchmarks.live_models

makes it (a minute, once; needs torch and FunASR), as tests/models/full_paraformer.py makes the others.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from app.modelstore.exporting import export
from tests.models.full_paraformer import CACHE, full_size

ONLINE = "paraformer-large-online"
_CHUNKS: dict[str, Any] = {
    "input_layer": "pe_online",
    "chunk_size": [12, 15],
    "stride": [8, 10],
    "pad_left": [0, 0],
    "encoder_att_look_back_factor": [4, 4],
    "decoder_att_look_back_factor": [1, 1],
}
"""How the published streaming model hears: 600 ms at a time."""
_DECODER_SHIFT = 5


def paraformers(cache: Path = CACHE) -> dict[str, Path]:
    """Folders by id: those of `full_size`, and the streaming model. Made where they are not there yet."""
    folders = full_size(cache)
    folder = cache / ONLINE
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as work:
            checkpoint = _streaming(folders["checkpoint"], Path(work, "checkpoint"))
            export(checkpoint, Path(work, "made"), progress=lambda line: print(line, file=sys.stderr, flush=True))
            Path(work, "made").rename(folder)
    return folders | {ONLINE: folder}


def _streaming(checkpoint: Path, folder: Path) -> Path:
    """The same layers and weights, called a streaming model."""
    shutil.copytree(checkpoint, folder)
    config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    config |= {"model": "ParaformerStreaming", "encoder": "SANMEncoderChunkOpt", "frontend": "WavFrontendOnline"}
    config["encoder_conf"] |= _CHUNKS
    config["decoder_conf"]["sanm_shfit"] = _DECODER_SHIFT
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), "utf-8")
    return folder


if __name__ == "__main__":
    for name, made in paraformers().items():
        print(name, made)
