/** The transcript as files: text, subtitles, JSON. */

import { clock, stamp } from "./times.js";
import { pieces } from "./words.js";

const LONGEST_SECONDS = 7;
const LINE_COLUMNS = 42;
const WIDE =
  /[\u1100-\u115f\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/;
const SENTENCE_END = /[.!?。！？…]["'”’」』）)]*\s*$/;

const columns = (text) => [...text].reduce((sum, sign) => sum + (WIDE.test(sign) ? 2 : 1), 0);

/** Lines of speakers and text. */
export function asText(transcript) {
  return transcript
    .finals()
    .map((one) => `${one.speaker ? `${one.speaker}: ` : ""}${one.text}\n`)
    .join("");
}

/** Lines with times, as the page shows them; for the clipboard. */
export function asShown(transcript) {
  const line = (one) => `[${clock(one.start)}] ${one.speaker ? `${one.speaker}: ` : ""}${one.text}`;
  return transcript.finals().map(line).join("\n");
}

/** SubRip. */
export function asSrt(transcript) {
  return cues(transcript)
    .map((cue, position) => `${position + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${said(cue)}\n\n`)
    .join("");
}

/** WebVTT. */
export function asVtt(transcript) {
  const escaped = (cue) => said(cue).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const body = cues(transcript).map(
    (cue) => `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n${escaped(cue)}\n\n`,
  );
  return `WEBVTT\n\n${body.join("")}`;
}

/** Everything that is known. */
export function asJson(transcript) {
  const takes = transcript.takes.map(({ number, kind, name, offset, seconds, began, protocol, model }) => ({
    number,
    kind,
    name,
    offset,
    seconds,
    began,
    protocol,
    model,
  }));
  const sentences = transcript.finals().map(({ take, start, end, text, words, speaker, firstDelay, finalDelay }) => ({
    take: take.number,
    start,
    end,
    text,
    speaker,
    words,
    first_delay: firstDelay,
    final_delay: finalDelay,
  }));
  return `${JSON.stringify({ takes, sentences }, rounded, 2)}\n`;
}

const rounded = (_, value) => (typeof value === "number" ? Math.round(value * 1000) / 1000 : value);
const said = ({ speaker, lines }) => `${speaker ? `[${speaker}] ` : ""}${lines.join("\n")}`;

function cues(transcript) {
  return transcript
    .finals()
    .flatMap((sentence) =>
      parts(sentence).map(({ text, start, end }) => ({ start, end, speaker: sentence.speaker, lines: lines(text) })),
    );
}

/** A sentence in pieces that can be read in time; in one where its words have no times. */
function parts(sentence) {
  const made = [];
  let current = null;
  for (const piece of pieces(sentence.text, sentence.words)) {
    const tooMuch =
      current !== null &&
      piece.start !== undefined &&
      current.start !== undefined &&
      (piece.end - current.start > LONGEST_SECONDS ||
        columns(current.text + piece.text) > 2 * LINE_COLUMNS ||
        (SENTENCE_END.test(current.text) && columns(current.text) > LINE_COLUMNS));
    if (current === null || tooMuch) made.push((current = { text: "" }));
    current.text += piece.text;
    current.start ??= piece.start;
    current.end = piece.end ?? current.end;
  }
  return made.map(({ text, start, end }, position) => ({
    text: text.trim(),
    start: position === 0 ? sentence.start : start,
    end: position === made.length - 1 ? Math.max(sentence.end, end ?? 0) : end,
  }));
}

/** One line, or two of about the same length. */
function lines(text) {
  if (columns(text) <= LINE_COLUMNS) return [text];
  const half = columns(text) / 2;
  let best = null;
  let width = 0;
  [...text].reduce((at, sign) => {
    const breakable = sign === " " || WIDE.test(sign);
    width += WIDE.test(sign) ? 2 : 1;
    const next = at + sign.length;
    const closing = /^[\s，。！？、；：”’」』）]/.test(text.slice(next));
    if (breakable && !closing && (best === null || Math.abs(width - half) < Math.abs(best.width - half))) {
      best = { at: next, width };
    }
    return next;
  }, 0);
  return best === null || best.at >= text.length ? [text] : [text.slice(0, best.at).trim(), text.slice(best.at).trim()];
}
