/** Alibaba Cloud's live transcription (SpeechTranscriber): one task for one connection. */

import { Failure } from "../failures.js";

const SUCCESS = 20000000;
const TOKEN_INVALID = 40000001;
const TOO_MANY = new Set([40000005, 43040001]);
const seconds = (milliseconds) => milliseconds / 1000;

/** 32 hexadecimal digits. crypto.randomUUID would need a secure page. */
function identifier() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

class Transcriber {
  constructor(wire, options) {
    this.wire = wire;
    this.options = options;
    this.task = identifier();
    this.starts = new Map();
  }

  opened() {
    const { options } = this;
    this.command("StartTranscription", {
      format: "pcm",
      sample_rate: 16000,
      enable_intermediate_result: true,
      enable_punctuation_prediction: options.punctuation,
      enable_inverse_text_normalization: options.itn,
      enable_words: options.words,
      max_sentence_silence: options.silence,
      ...(options.model && { model: options.model }),
      ...(options.language && { language: options.language }),
      ...(options.hotwords.length > 0 && { hotwords: options.hotwords }),
      ...(options.vocabulary && { vocabulary_id: options.vocabulary }),
      ...(options.liveSpeakers && { enable_speaker_diarization: true }),
    });
  }

  sound(frame) {
    this.wire.send(frame);
  }

  finish() {
    this.command("StopTranscription");
  }

  heard({ header, payload = {} }) {
    const { index, result: text, time } = payload;
    if (header.name === "TranscriptionStarted") this.wire.ready();
    else if (header.name === "SentenceBegin") {
      this.starts.set(index, seconds(time));
      this.wire.event({ type: "started", index, start: seconds(time) });
    } else if (header.name === "TranscriptionResultChanged") this.wire.event({ type: "partial", index, text });
    else if (header.name === "SentenceEnd") this.wire.event(this.sentence(payload));
    else if (header.name === "TranscriptionCompleted") this.wire.done();
    else if (header.name === "TaskFailed" || header.status !== SUCCESS) this.wire.failed(failure(header));
  }

  /** `time` is where the pause after it was long enough, so its last word knows better where it ended. */
  sentence({ index, time, begin_time: begin, result: text, words = [], speaker }) {
    const timed = words.map((word) => ({
      text: word.text,
      start: seconds(word.startTime),
      end: seconds(word.endTime),
    }));
    return {
      type: "final",
      index,
      start: begin === undefined ? this.starts.get(index) : seconds(begin),
      end: timed.at(-1)?.end ?? seconds(time),
      text,
      words: timed,
      speaker,
    };
  }

  command(name, payload) {
    this.wire.send({
      header: { message_id: identifier(), task_id: this.task, namespace: "SpeechTranscriber", name, appkey: "page" },
      ...(payload && { payload }),
    });
  }
}

function failure({ status, status_text: text, status_message: message }) {
  const detail = String(text ?? message ?? "");
  if (status === TOKEN_INVALID) return new Failure("error.token", detail);
  if (TOO_MANY.has(status)) return new Failure("error.busy", detail);
  return new Failure("error.refused", detail);
}

export default {
  id: "aliyun",
  title: "protocol.aliyun",
  path: "/ws/v1/asr",
  rate: 16000,
  offers: new Set(["model", "language", "hotwords", "vocabulary", "punctuation", "itn", "words", "speakers", "silence"]),
  query: () => ({}),
  Conversation: Transcriber,
};
