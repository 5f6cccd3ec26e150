"""Filter banks as Kaldi computes them: what FunASR's models hear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import kaldi_native_fbank as knf
import numpy as np

from app.domain.engines import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from app.domain.engines import Samples


def filter_banks(
    samples: Samples, *, window: Literal["hamming", "povey"] = "hamming", scale: float = 32768.0
) -> NDArray[np.float32]:
    """80 log mel energies for each 10 ms of 16 kHz sound: float32 of shape (frames, 80).

    `scale` is what samples in [-1, 1] are multiplied by: models were trained on 16-bit numbers, or on fractions.
    """
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = window
    options.mel_opts.num_bins = 80
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE, cast("list[float]", samples * np.float32(scale)))  # its stub knows lists only
    bank.input_finished()
    frames = bank.num_frames_ready
    return np.stack([bank.get_frame(index) for index in range(frames)]) if frames else np.zeros((0, 80), np.float32)
