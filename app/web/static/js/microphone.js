/** The microphone: whatever its rate, 16-bit mono frames of the rate asked for. */

import { Failure, microphoneFailure } from "./failures.js";

const WORKLET = "/web/js/worklet.js";
const FRAME_SECONDS = 0.08;
const START_MILLISECONDS = 5000;

/** Whether this page may ask for a microphone at all; browsers decide by its address. */
export const mayListen = () => window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** The microphones there are. They have names only after the visitor has let the page use one. */
export async function microphones() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId !== "");
}

export class Microphone {
  /** @param {{device: string, echo: boolean, noise: boolean}} wishes */
  constructor(wishes) {
    this.wishes = wishes;
    this.speed = 1;
    this.kind = "microphone";
    this.name = "";
  }

  /**
   * Get hold of it. Call this straight from a click: Safari starts sound only then.
   * @param {number} rate Hz of the frames
   * @throws {Failure}
   */
  async open(rate) {
    if (!mayListen()) throw new Failure("error.insecure");
    const Context = window.AudioContext;
    if (!Context || !window.AudioWorkletNode) throw new Failure("error.browser_old");
    this.context = new Context({ latencyHint: "interactive" });
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: this.constraints() });
      await this.running();
    } catch (error) {
      this.release();
      throw error instanceof DOMException ? microphoneFailure(error) : error;
    }
    try {
      await this.context.audioWorklet.addModule(WORKLET);
    } catch (error) {
      this.release();
      throw new Failure("error.unreachable", error.message); // it is fetched from the server
    }
    // Its own rate is the context's: Firefox connects no microphone to a context of another rate.
    this.node = new AudioWorkletNode(this.context, "frames", {
      processorOptions: { rate, frame: Math.round(rate * FRAME_SECONDS) },
    });
    this.source = this.context.createMediaStreamSource(this.stream);
  }

  /** Without anything to put sound out, some browsers wait for ever before they take any in. */
  async running() {
    const late = new Promise((resolve) => setTimeout(() => resolve("late"), START_MILLISECONDS));
    if ((await Promise.race([this.context.resume(), late])) === "late") throw new Failure("error.no_output");
  }

  constraints() {
    const { device, echo, noise } = this.wishes;
    const constraints = { channelCount: 1, echoCancellation: echo, noiseSuppression: noise, autoGainControl: true };
    return device ? { ...constraints, deviceId: { exact: device } } : constraints;
  }

  /**
   * Deliver frames from now on.
   * @param {(frame: Int16Array) => void} onFrame
   * @param {(failure: Failure) => void} onEnd called when the microphone goes away by itself
   */
  start(onFrame, onEnd) {
    this.flushed = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data === "flushed" ? resolve() : onFrame(new Int16Array(data)));
    });
    this.source.connect(this.node);
    this.node.connect(this.context.destination); // it puts nothing out, but some browsers run only what is connected
    for (const track of this.stream.getAudioTracks()) {
      track.addEventListener("ended", () => onEnd(new Failure("error.microphone_lost")));
    }
    // A phone call interrupts the context; afterwards it goes on.
    this.context.addEventListener("statechange", () => {
      if (this.context.state === "interrupted" || this.context.state === "suspended") void this.context.resume();
    });
  }

  /** Deliver what is left and let go of it; also where it was never got hold of. */
  async stop() {
    this.node?.port.postMessage("flush");
    await Promise.race([this.flushed, new Promise((resolve) => setTimeout(resolve, 500))]);
    this.release();
  }

  release() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.source?.disconnect();
    this.node?.disconnect();
    if (this.context && this.context.state !== "closed") void this.context.close();
  }
}
