/** FunASR's runtime in two passes: words while somebody speaks, then the sentence as it should be. */

import { Failure } from "../failures.js";

const HOTWORD_WEIGHT = 20;
const seconds = (milliseconds) => milliseconds / 1000;

class TwoPass {
  constructor(wire, options) {
    this.wire = wire;
    this.options = options;
    this.index = 1;
    this.partial = "";
  }

  opened() {
    const { options } = this;
    const hotwords = Object.fromEntries(options.hotwords.map((word) => [word, HOTWORD_WEIGHT]));
    this.wire.send({
      mode: "2pass",
      wav_name: "page",
      wav_format: "pcm",
      audio_fs: 16000,
      is_speaking: true,
      chunk_size: [5, 10, 5],
      chunk_interval: 10,
      itn: options.itn,
      language: options.language || "auto",
      ...(options.model && { model: options.model }),
      ...(options.liveSpeakers && { enable_speaker_diarization: true }),
      hotwords: options.hotwords.length > 0 ? JSON.stringify(hotwords) : "",
    });
    this.wire.ready(); // the server does not answer before there is something to say
  }

  sound(frame) {
    this.wire.send(frame);
  }

  finish() {
    this.wire.send({ is_speaking: false });
  }

  heard(message) {
    if (message.error) this.wire.failed(failure(message.error));
    else if (message.mode === "2pass-online") this.grow(message.text ?? "");
    else if (message.mode === "2pass-offline") this.settle(message);
    if (message.is_final) this.wire.done();
  }

  /** An online message says what is new since the one before. */
  grow(text) {
    if (text === "") return;
    this.partial += text;
    this.wire.event({ type: "partial", index: this.index, text: this.partial });
  }

  settle(message) {
    const text = message.text ?? "";
    const words = timed(message);
    this.wire.event({
      type: "final",
      index: this.index,
      text,
      words: this.options.words ? words : [],
      ...(words.length > 0 && { start: words[0].start, end: words.at(-1).end }),
      speaker: message.spk_name,
    });
    this.index += 1;
    this.partial = "";
  }
}

/** The tokens of a sentence with their times; none where the server sends none. */
function timed({ stamp_sents: sentences }) {
  return (sentences ?? []).flatMap((sentence) => {
    const tokens = sentence.text_seg.split(" ").filter(Boolean);
    return tokens.slice(0, sentence.ts_list.length).map((text, position) => {
      const [start, end] = sentence.ts_list[position];
      return { text, start: seconds(start), end: seconds(end) };
    });
  });
}

const CODES = {
  AUTHENTICATION_FAILED: "error.token",
  SERVICE_OVERLOADED: "error.busy",
  SERVICE_UNAVAILABLE: "error.loading",
};

/** Servers of FunASR's send a text or an object. */
function failure(error) {
  return new Failure(CODES[error.code] ?? "error.refused", String(error.message ?? error));
}

export default {
  id: "funasr",
  title: "protocol.funasr",
  path: "/ws/funasr",
  rate: 16000,
  offers: new Set(["model", "language", "hotwords", "itn", "words", "speakers"]),
  query: () => ({}),
  Conversation: TwoPass,
};
