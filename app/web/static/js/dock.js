/** The bar with the microphone: begin and end, how long, how loud, how fast. */

import { byId } from "./dom.js";
import { onLanguage, say, t } from "./i18n.js";
import { Meter } from "./meter.js";
import { clock } from "./times.js";

const STATES = {
  idle: "state.idle",
  connecting: "state.connecting",
  listening: "state.listening",
  finishing: "state.finishing",
  uploading: "state.uploading",
};
const SILENT_SECONDS = 4;
const TICK_MILLISECONDS = 200;

export class Dock {
  /** @param {() => number} elapsed seconds of sound so far */
  constructor(elapsed) {
    this.elapsed = elapsed;
    this.button = byId("record");
    this.meter = new Meter(byId("meter"));
    this.delays = { first: [], final: [] };
    this.enter("idle");
    onLanguage(() => this.label());
  }

  /** Show a state; the button ends what is going on, or begins. */
  enter(state) {
    const before = this.state;
    this.state = state;
    document.body.dataset.state = state;
    say(byId("state"), STATES[state]);
    this.label();
    this.button.disabled = state === "finishing";
    if (state === "listening" || state === "connecting") this.begin(before);
    if (state === "idle" || state === "finishing") this.meter.stop();
    if (state === "idle") clearInterval(this.timer);
    this.tick();
  }

  begin(before) {
    if (before === "connecting" || before === "listening") return;
    this.meter.start();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tick(), TICK_MILLISECONDS);
  }

  label() {
    const key = this.state === "idle" ? "action.start" : "action.stop";
    this.button.setAttribute("aria-label", t(key));
    this.button.title = t(key);
  }

  tick() {
    byId("elapsed").textContent = clock(this.elapsed());
    const silent = this.state === "listening" && this.meter.quiet > SILENT_SECONDS;
    if (this.state === "listening") say(byId("state"), silent ? "state.quiet" : "state.listening");
  }

  /** A frame of sound, `rate` Hz. */
  frame(frame, seconds) {
    this.meter.add(frame, seconds);
  }

  /** A delay was measured; the newest is shown, the median of all is in the hint. */
  delay({ which, seconds }) {
    if (seconds === undefined) return;
    this.delays[which].push(seconds);
    byId(`delay-${which}`).textContent = `${seconds.toFixed(2)} s`;
    const sorted = this.delays[which].toSorted((a, b) => a - b);
    byId(`median-${which}`).textContent = `${sorted[Math.floor(sorted.length / 2)].toFixed(2)} s`;
  }

  clear() {
    this.delays = { first: [], final: [] };
    for (const which of ["first", "final"]) {
      byId(`delay-${which}`).textContent = "–";
      byId(`median-${which}`).textContent = "–";
    }
    this.meter.clear();
  }
}
