/** funasr-api's protocol for Qwen3-ASR: the last sentence comes with the final message. */

import { Failure } from "../failures.js";

/** Seconds of sound between two texts of a sentence: as often as the server can. */
const OFTEN = 0.1;

class Session {
  constructor(wire, options) {
    this.wire = wire;
    this.options = options;
    this.index = 1;
    this.begun = false; // whether the sentence at hand has a text
  }

  opened() {
    const { options } = this;
    this.wire.send({
      type: "start",
      payload: {
        format: "pcm",
        sample_rate: 16000,
        chunk_size_sec: OFTEN,
        enable_punctuation_prediction: options.punctuation,
        enable_inverse_text_normalization: options.itn,
        word_timestamps: options.words,
        max_sentence_silence: options.silence,
        ...(options.model && { model: options.model }),
        ...(options.language && { language: options.language }),
        ...(options.hotwords.length > 0 && { hotwords: options.hotwords }),
        ...(options.vocabulary && { vocabulary_id: options.vocabulary }),
        ...(options.liveSpeakers && { enable_speaker_diarization: true }),
      },
    });
  }

  sound(frame) {
    this.wire.send(frame);
  }

  finish() {
    this.wire.send({ type: "stop" });
  }

  heard(message) {
    if (message.type === "started") this.wire.ready();
    else if (message.type === "result") message.results.forEach((result) => this.grow(result));
    else if (message.type === "segment_end") this.settle({ ...message.result, text: message.result.segment_text });
    else if (message.type === "final") this.end(message.result);
    else if (message.type === "error") this.wire.failed(failure(message));
  }

  grow({ current_segment_text: text, start }) {
    if (text === "") {
      this.settle({ text, start }); // it was no speech
      return;
    }
    if (!this.begun) this.wire.event({ type: "started", index: this.index, start });
    this.begun = true;
    this.wire.event({ type: "partial", index: this.index, text });
  }

  /** A segment, or each turn in it, is a sentence. */
  settle(result) {
    for (const { text, start, end, words = [], speaker } of turnsOf(result)) {
      this.wire.event({ type: "final", index: this.index, start, end, text, words, speaker: speaker ?? undefined });
      this.index += 1;
    }
    this.begun = false;
  }

  end(result) {
    if (result.text) this.settle(result);
    this.wire.done();
  }
}

/** What each speaker says in a segment, with its words; the whole where speakers are not told. */
function turnsOf(result) {
  const { turns = [result], words = [] } = result;
  return turns.map((turn, position) => {
    const from = position === 0 ? -Infinity : turn.start;
    const until = turns[position + 1]?.start ?? Infinity;
    return { ...turn, words: words.filter(({ start }) => start >= from && start < until) };
  });
}

const CODES = {
  AUTHENTICATION_FAILED: "error.token",
  TOO_MANY_REQUESTS: "error.busy",
};

function failure({ error_code: code, message, details = {} }) {
  const key = details.code === "model_unavailable" ? "error.loading" : (CODES[code] ?? "error.refused");
  return new Failure(key, String(message ?? code));
}

export default {
  id: "qwen",
  title: "protocol.qwen",
  path: "/ws/v1/asr/qwen",
  rate: 16000,
  offers: new Set(["model", "language", "hotwords", "vocabulary", "punctuation", "itn", "words", "speakers", "silence"]),
  query: () => ({}),
  Conversation: Session,
};
