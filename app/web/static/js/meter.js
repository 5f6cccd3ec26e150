/** How loud it is: the last seconds as bars, and a figure for those who cannot see them. */

const BAR = 3;
const GAP = 2;
const FLOOR_DECIBELS = -60;
const PARTS = 4;
const SPEECH_DECIBELS = -50;

/** Loudness of 16-bit samples in dBFS, by their root mean square. */
export function decibels(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return 20 * Math.log10(Math.sqrt(sum / Math.max(1, samples.length)) / 32768 + 1e-9);
}

export class Meter {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.bars = [];
    this.waiting = [];
    this.active = false;
    /** Seconds in which nothing was loud enough to be a voice. */
    this.quiet = 0;
    new ResizeObserver(() => this.fit()).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.fit();
  }

  /** Another frame of sound. */
  add(frame, seconds) {
    const length = Math.ceil(frame.length / PARTS);
    let loudest = FLOOR_DECIBELS;
    for (let at = 0; at < frame.length; at += length) {
      const level = decibels(frame.subarray(at, at + length));
      loudest = Math.max(loudest, level);
      this.waiting.push(Math.max(0, 1 - level / FLOOR_DECIBELS));
    }
    this.quiet = loudest < SPEECH_DECIBELS ? this.quiet + seconds : 0;
    this.canvas.setAttribute("aria-valuenow", String(Math.round(100 * Math.max(0, 1 - loudest / FLOOR_DECIBELS))));
  }

  start() {
    this.active = true;
    this.quiet = 0;
    this.waiting = [];
    const step = () => {
      if (!this.active && this.waiting.length === 0) return;
      if (this.waiting.length > 0) {
        // A few a picture, so that what came together does not jump.
        this.bars.push(...this.waiting.splice(0, Math.max(1, Math.ceil(this.waiting.length / PARTS))));
        this.draw();
      }
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  stop() {
    this.active = false;
    this.canvas.setAttribute("aria-valuenow", "0");
  }

  clear() {
    this.bars = [];
    this.draw();
  }

  fit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.scale = window.devicePixelRatio;
    this.canvas.width = Math.round(width * this.scale);
    this.canvas.height = Math.round(height * this.scale);
    this.draw();
  }

  draw() {
    if (this.scale !== window.devicePixelRatio) this.fit(); // the window was moved to another screen
    const pen = this.canvas.getContext("2d");
    const { scale } = this;
    const { width, height } = this.canvas;
    const style = getComputedStyle(this.canvas);
    const room = Math.max(1, Math.floor(width / scale / (BAR + GAP)));
    this.bars = this.bars.slice(-room);
    pen.clearRect(0, 0, width, height);
    for (let place = 0; place < room; place += 1) {
      const level = this.bars[this.bars.length - room + place] ?? 0;
      const tall = Math.max(BAR * scale, level * height);
      pen.fillStyle = style.getPropertyValue(level > 0.05 ? "--meter" : "--meter-rest");
      pen.beginPath();
      pen.roundRect(place * (BAR + GAP) * scale, (height - tall) / 2, BAR * scale, tall, (BAR * scale) / 2);
      pen.fill();
    }
  }
}
