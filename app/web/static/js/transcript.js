/** What has been said on this page so far: takes, one after another on one line of time, and their sentences. */

/**
 * @typedef {object} Sentence times are seconds on the page's line of time
 * @property {string} key
 * @property {Take} take
 * @property {number} start
 * @property {number} end
 * @property {string} text
 * @property {{text: string, start: number, end: number}[]} words
 * @property {string} [speaker]
 * @property {boolean} final
 * @property {number} [firstDelay] seconds from the beginning of its speech to its first text
 * @property {number} [finalDelay] seconds from the end of its speech to its final text
 *
 * @typedef {object} Take one press of the microphone, or one file
 * @property {number} number
 * @property {"microphone" | "file" | "upload"} kind
 * @property {string} name
 * @property {number} offset where it begins on the page's line of time
 * @property {number} seconds
 * @property {Date} began
 */

/** Says "began" (a take), "changed", "removed" (a sentence), "cleared". */
export class Transcript extends EventTarget {
  constructor() {
    super();
    /** @type {Take[]} */
    this.takes = [];
    /** @type {Map<string, Sentence>} */
    this.known = new Map();
  }

  /** Begin a take: after the last one, so that downloads of all of them have one line of time. */
  begin(about) {
    const last = this.takes.at(-1);
    const offset = last ? last.offset + last.seconds : 0;
    const take = { ...about, number: this.takes.length + 1, offset, seconds: 0, began: new Date() };
    this.takes.push(take);
    this.tell("began", take);
    return take;
  }

  /** Somebody speaks, though nothing is known yet. */
  started(take, { index, start }) {
    this.put(take, index, { start: take.offset + start });
  }

  /** All that a sentence says so far. */
  partial(take, { index, text, start }) {
    this.put(take, index, { text, ...(start !== undefined && { start: take.offset + start }) });
  }

  /** A sentence as it stays; one without words goes. */
  final(take, { index, start, end, text, words = [], speaker, firstDelay, finalDelay }) {
    const key = `${take.number}.${index}`;
    if (text.trim() === "") {
      this.remove(key);
      return;
    }
    const shifted = words.map((word) => ({
      text: word.text,
      start: take.offset + word.start,
      end: take.offset + word.end,
    }));
    const before = this.known.get(key);
    const begin = start === undefined ? (before?.start ?? take.offset + take.seconds) : take.offset + start;
    const stop = end === undefined ? Math.max(begin, take.offset + take.seconds) : take.offset + end;
    const delays = { firstDelay, finalDelay };
    this.put(take, index, {
      text: text.trim(),
      words: shifted,
      speaker,
      start: begin,
      end: stop,
      final: true,
      ...delays,
    });
  }

  /** A take is over: what has not become final by now never will. */
  end(take, seconds) {
    take.seconds = Math.max(seconds, ...this.finals().map((sentence) => sentence.end - take.offset));
    for (const [key, sentence] of this.known) if (!sentence.final) this.remove(key);
  }

  /** Final sentences in order. */
  finals() {
    return [...this.known.values()].filter((one) => one.final).sort((a, b) => a.start - b.start);
  }

  /** Forget all. */
  clear() {
    this.takes = [];
    this.known.clear();
    this.tell("cleared");
  }

  put(take, index, values) {
    const key = `${take.number}.${index}`;
    const fresh = { key, take, start: take.offset + take.seconds, end: 0, text: "", words: [], final: false };
    const sentence = Object.assign(this.known.get(key) ?? fresh, values);
    this.known.set(key, sentence);
    this.tell("changed", sentence);
  }

  remove(key) {
    const sentence = this.known.get(key);
    if (!sentence) return;
    this.known.delete(key);
    this.tell("removed", sentence);
  }

  tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
