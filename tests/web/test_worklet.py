"""The resampler beside the page: sound of any rate as 16 kHz."""

from __future__ import annotations

import numpy as np
import pytest

from .browser import Visit

HEAR = """async ([rate, frequencies]) => {
    const seconds = 1.5;
    const context = new OfflineAudioContext(1, rate * seconds, rate);
    await context.audioWorklet.addModule("/web/js/worklet.js");
    const node = new AudioWorkletNode(context, "frames", { processorOptions: { rate: 16000, frame: 1280 } });
    for (const frequency of frequencies) {
        const oscillator = new OscillatorNode(context, { frequency });
        oscillator.connect(new GainNode(context, { gain: 0.5 })).connect(node);
        oscillator.start();
    }
    node.connect(context.destination);
    const heard = [];
    const flushed = new Promise((resolve) => {
        node.port.onmessage = ({ data }) => (data === "flushed" ? resolve() : heard.push(...new Int16Array(data)));
    });
    await context.startRendering();
    node.port.postMessage("flush");
    await flushed;
    return heard;
}"""


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_sound_of_any_rate_becomes_the_same_sound_at_16_khz(visitor: Visit, rate: int) -> None:
    samples = np.array(visitor.page.evaluate(HEAR, [rate, [1000]])) / 32768
    assert len(samples) == pytest.approx(1.5 * 16_000, abs=64)
    middle = samples[4_000:20_000]
    moment = np.arange(len(middle)) / 16_000
    sine, cosine = np.sin(2 * np.pi * 1000 * moment), np.cos(2 * np.pi * 1000 * moment)
    fitted = 2 * (middle @ sine) / len(middle) * sine + 2 * (middle @ cosine) / len(middle) * cosine
    assert np.sqrt(np.mean(fitted**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01), "as loud as it was"
    assert 10 * np.log10(np.mean(fitted**2) / np.mean((middle - fitted) ** 2)) > 60, "dB above what was put in"


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_what_16_khz_cannot_hold_is_left_out(visitor: Visit, rate: int) -> None:
    samples = np.array(visitor.page.evaluate(HEAR, [rate, [9_000, 15_000, 20_000]])) / 32768
    assert np.sqrt(np.mean(samples[4_000:20_000] ** 2)) < 1e-3, "60 dB below full scale"


def test_speech_up_to_7_khz_is_kept(visitor: Visit) -> None:
    samples = np.array(visitor.page.evaluate(HEAR, [48_000, [7_000]])) / 32768
    assert np.sqrt(np.mean(samples[4_000:20_000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
