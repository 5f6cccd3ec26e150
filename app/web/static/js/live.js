/** One take, live: a source of sound, a connection, and what is said of it. */

import { Connection } from "./connection.js";
import { failureOf } from "./failures.js";
import { SoundClock } from "./soundclock.js";

const BYTES_PER_SAMPLE = 2;

/**
 * Says "state" (idle, connecting, listening, finishing), "frame", "delay", and "failure".
 */
export class Live extends EventTarget {
  /**
   * @param {import("./transcript.js").Transcript} transcript
   * @param {import("./recording.js").Recording} recording
   */
  constructor(transcript, recording) {
    super();
    this.transcript = transcript;
    this.recording = recording;
    this.state = "idle";
  }

  get busy() {
    return this.state !== "idle";
  }

  /** Seconds of sound so far. */
  get seconds() {
    return this.clock?.seconds ?? 0;
  }

  /**
   * Begin. Resolves when the take is over, however it ended; failures are told as events.
   * @param {import("./protocols/index.js").Protocol} protocol
   * @param {import("./microphone.js").Microphone | import("./playback.js").Playback} source
   */
  async run(protocol, options, source) {
    this.enter("connecting");
    this.clock = new SoundClock(source.speed);
    this.source = source;
    this.rate = protocol.rate;
    this.stopping = false;
    this.told = new Set(); // sentences whose beginning is known, and that have no text yet
    let take = null;
    try {
      await source.open(protocol.rate);
      take = this.transcript.begin({
        kind: source.kind,
        name: source.name,
        protocol: protocol.id,
        model: options.model || null,
      });
      await this.converse(protocol, options, take);
    } catch (error) {
      this.tell("failure", failureOf(error));
    } finally {
      await this.release();
      if (take) this.transcript.end(take, this.seconds);
      this.enter("idle");
    }
  }

  async converse(protocol, options, take) {
    const connection = new Connection(protocol, options, (event) => this.heard(take, event));
    this.connection = connection;
    const early = []; // what was said while the connection was made
    let ready = false;
    this.source.backlog = () => connection.backlog / BYTES_PER_SAMPLE / protocol.rate;
    this.begun = true;
    this.source.start(
      (frame) => {
        this.clock.add(frame.length / protocol.rate);
        this.recording.add(frame, protocol.rate);
        this.tell("frame", frame);
        if (ready) connection.sound(frame);
        else early.push(frame);
      },
      (failure) => {
        if (failure) this.tell("failure", failure);
        void this.stop();
      },
    );
    await connection.ready;
    for (const frame of early) connection.sound(frame);
    ready = true;
    if (!this.stopping) this.enter("listening");
    await connection.done;
  }

  /** No more sound; what was said is still recognised. */
  async stop() {
    if (!this.begun || this.stopping) return;
    const { connection, source } = this;
    this.stopping = true;
    this.enter("finishing");
    await source.stop();
    if (await settled(connection.ready)) connection.finish();
  }

  async release() {
    if (!this.stopping) await this.source.stop();
    this.begun = false;
    this.connection?.drop();
    this.connection = null;
  }

  heard(take, event) {
    const key = `${take.number}.${event.index}`;
    // Some protocols do not tell where a sentence begins; about here, then, but no delay is counted from it.
    const begun = event.start !== undefined || this.transcript.known.has(key);
    if (!begun) this.transcript.started(take, { index: event.index, start: this.seconds });
    if (event.type === "started") {
      this.told.add(key);
      this.transcript.started(take, event);
    } else if (event.type === "partial") this.transcript.partial(take, event);
    this.timeFirst(take, key, event);
    if (event.type !== "final") return;
    const lastWord = event.words?.at(-1); // a sentence's own end may be where the pause after it was long enough
    const finalDelay = lastWord ? (this.clock.since(lastWord.end) ?? undefined) : undefined;
    const { firstDelay } = this.transcript.known.get(key) ?? {};
    this.transcript.final(take, { ...event, end: event.end ?? this.seconds, firstDelay, finalDelay });
    if (event.text.trim() && finalDelay !== undefined) this.tell("delay", { which: "final", seconds: finalDelay });
  }

  /** How long the first text of a sentence took, if it is known when its speech began. */
  timeFirst(take, key, { text }) {
    const sentence = this.transcript.known.get(key);
    if (!sentence || !text?.trim() || !this.told.delete(key)) return;
    sentence.firstDelay = this.clock.since(sentence.start - take.offset) ?? undefined;
    this.tell("delay", { which: "first", seconds: sentence.firstDelay });
  }

  enter(state) {
    this.state = state;
    this.tell("state", state);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Whether a promise comes to a good end. */
const settled = (promise) =>
  promise.then(
    () => true,
    () => false,
  );
