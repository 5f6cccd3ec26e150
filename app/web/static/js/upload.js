/** A recording sent whole, as OpenAI's clients do, with the speakers told apart. */

import { Failure, answerFailure } from "./failures.js";

const PATH = "/v1/audio/transcriptions";

export class Upload {
  /** @param {(state: {sent: number, total: number}) => void} onProgress */
  constructor(file, options, onProgress) {
    this.file = file;
    this.options = options;
    this.onProgress = onProgress;
    this.request = new XMLHttpRequest(); // fetch tells nothing about what has been sent
  }

  /**
   * The answer: verbose_json.
   * @throws {Failure} null instead of an answer: it was given up
   */
  run() {
    const { request } = this;
    request.open("POST", PATH);
    if (this.options.token) request.setRequestHeader("Authorization", `Bearer ${this.options.token}`);
    return new Promise((resolve, reject) => {
      request.upload.addEventListener("progress", ({ loaded, total }) => this.onProgress({ sent: loaded, total }));
      request.addEventListener("load", () => {
        if (request.status === 200) resolve(JSON.parse(request.responseText));
        else reject(answerFailure(request.status, request.responseText));
      });
      request.addEventListener("error", () => reject(new Failure("error.not_sent")));
      request.addEventListener("abort", () => resolve(null));
      request.send(this.form());
    });
  }

  /** Give it up. */
  abort() {
    this.request.abort();
  }

  form() {
    const { options } = this;
    const form = new FormData();
    const fields = {
      model: options.model,
      language: options.language,
      response_format: "verbose_json",
      hotwords: options.hotwords.join("\n"),
      vocabulary_id: options.vocabulary,
      punctuation: String(options.punctuation),
      itn: String(options.itn),
      enable_speaker_diarization: String(options.speakers),
    };
    for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
    form.append("timestamp_granularities[]", "segment");
    if (options.words) form.append("timestamp_granularities[]", "word");
    form.append("file", this.file, this.file.name); // last, so that wishes are known before a long body ends
    return form;
  }
}

/** The sentences of an answer, each with the words that lie in it. */
export function sentences({ segments, words = [] }) {
  return segments.map(({ start, end, text, speaker }, position) => ({
    index: position + 1,
    start,
    end,
    text,
    speaker,
    words: (words ?? [])
      .filter((word) => (word.start + word.end) / 2 >= start && (word.start + word.end) / 2 < end)
      .map((word) => ({ text: word.word, start: word.start, end: word.end })),
  }));
}
