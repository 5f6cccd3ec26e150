/** A recording of the visitor's, sent as if somebody were saying it now. */

import { Failure } from "./failures.js";

const FRAME_SECONDS = 0.08;
const TICK_MILLISECONDS = 20;
/** How many seconds of sound may wait to be sent before this waits, too. */
const FAR_AHEAD = 30;
/** More would not fit into a tab's memory once it is decoded. */
const MOST_BYTES = 500e6;

export class Playback {
  /** @param {{speed: number, heard: boolean}} wishes */
  constructor(file, { speed, heard }) {
    this.file = file;
    this.speed = speed;
    this.heard = heard;
    this.kind = "file";
    this.name = file.name;
    /** Seconds of sound that were given out and not sent; set by who sends it. */
    this.backlog = () => 0;
  }

  /** @throws {Failure} the browser cannot decode it */
  async open(rate) {
    if (this.file.size > MOST_BYTES) throw new Failure("error.undecodable");
    const context = new OfflineAudioContext(1, 1, rate);
    let decoded;
    try {
      decoded = await context.decodeAudioData(await this.file.arrayBuffer()); // in the context's rate
    } catch (error) {
      throw new Failure("error.undecodable", error.message);
    }
    this.rate = rate;
    this.samples = toMono16(decoded);
    this.seconds = decoded.duration;
  }

  /** Deliver frames at the pace of speech; `onEnd()` is called after the last. */
  start(onFrame, onEnd) {
    const frame = Math.round(this.rate * FRAME_SECONDS);
    let sent = 0;
    let began = performance.now();
    this.play();
    this.timer = setInterval(() => {
      if (this.backlog() > FAR_AHEAD) {
        began = performance.now() - (sent / this.rate / this.speed) * 1000; // later, at the same pace
        return;
      }
      const due = ((performance.now() - began) / 1000) * this.speed * this.rate;
      while (sent + Math.min(frame, this.samples.length - sent) <= due && sent < this.samples.length) {
        onFrame(this.samples.slice(sent, sent + frame));
        sent = Math.min(sent + frame, this.samples.length);
      }
      if (sent >= this.samples.length) {
        clearInterval(this.timer);
        onEnd(null);
      }
    }, TICK_MILLISECONDS);
  }

  play() {
    if (!this.heard) return;
    this.address = URL.createObjectURL(this.file);
    this.player = new Audio(this.address);
    this.player.playbackRate = this.speed;
    this.player.play().catch(() => {}); // it is sent all the same
  }

  async stop() {
    clearInterval(this.timer);
    this.player?.pause();
    if (this.address) URL.revokeObjectURL(this.address);
  }
}

function toMono16(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  const samples = new Int16Array(buffer.length);
  for (let i = 0; i < samples.length; i += 1) {
    let sum = 0;
    for (const channel of channels) sum += channel[i];
    samples[i] = Math.max(-32768, Math.min(32767, Math.round((sum / channels.length) * 32768)));
  }
  return samples;
}
