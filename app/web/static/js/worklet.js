/**
 * Beside the page, on the sound's own thread: from the hardware's rate to the wanted one, 16-bit frames out.
 * One file without imports, because not every browser lets a worklet import.
 */

const ZERO_CROSSINGS = 32;
/** The middle of the slope, as a share of what the lower rate can hold; with so many crossings it ends below 1. */
const PASSBAND = 0.92;
/** Kaiser window: about 80 dB down where it stops. */
const BETA = 8;

function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

/** Windowed sinc, of any whole rate to any other, whose state carries on from one call to the next. */
class Resampler {
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const cutoff = Math.min(1, to / from) * PASSBAND;
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.table = this.up === this.down ? null : this.design(cutoff);
    this.phase = 0;
    this.at = this.half - 1; // where in `kept` the next output lies
    this.kept = new Float32Array(this.half - 1);
  }

  /** One row of weights for each place between two input samples at which an output can lie. */
  design(cutoff) {
    const width = 2 * this.half;
    const table = new Float32Array(this.up * width);
    const middle = bessel(BETA);
    for (let phase = 0; phase < this.up; phase += 1) {
      for (let tap = 0; tap < width; tap += 1) {
        const x = tap - this.half + 1 - phase / this.up;
        const angle = Math.PI * cutoff * x;
        const sinc = x === 0 ? 1 : Math.sin(angle) / angle;
        const edge = Math.max(0, 1 - (x / this.half) ** 2);
        table[phase * width + tap] = (cutoff * sinc * bessel(BETA * Math.sqrt(edge))) / middle;
      }
    }
    return table;
  }

  /** Take samples in, and give each output sample that they make possible to `put`. */
  push(samples, put) {
    if (this.table === null) {
      for (const sample of samples) put(sample);
      return;
    }
    const width = 2 * this.half;
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    while (this.at + this.half < all.length) {
      const first = this.at - this.half + 1;
      const row = this.phase * width;
      let sum = 0;
      for (let tap = 0; tap < width; tap += 1) sum += all[first + tap] * this.table[row + tap];
      put(sum);
      this.phase += this.down;
      this.at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    const gone = Math.min(Math.max(0, this.at - this.half + 1), all.length);
    this.kept = all.slice(gone);
    this.at -= gone;
  }

  /** What the last samples still make possible. */
  flush(put) {
    if (this.table !== null) this.push(new Float32Array(this.half), put);
  }
}

class Frames extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate, frame } }) {
    super();
    this.resampler = new Resampler(Math.round(sampleRate), rate);
    this.frame = new Int16Array(frame);
    this.filled = 0;
    this.running = true;
    this.put = (sample) => {
      this.frame[this.filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.filled += 1;
      if (this.filled === this.frame.length) this.post();
    };
    this.port.onmessage = () => {
      this.running = false;
      this.resampler.flush(this.put);
      if (this.filled > 0) this.post();
      this.port.postMessage("flushed");
    };
  }

  post() {
    const sound = this.frame.slice(0, this.filled);
    this.port.postMessage(sound.buffer, [sound.buffer]);
    this.filled = 0;
  }

  process([channels]) {
    if (!this.running) return false;
    if (channels.length === 1) this.resampler.push(channels[0], this.put);
    else if (channels.length > 1) this.resampler.push(mixed(channels), this.put);
    return true;
  }
}

function mixed(channels) {
  const sum = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < sum.length; i += 1) sum[i] += channel[i] / channels.length;
  return sum;
}

registerProcessor("frames", Frames);
