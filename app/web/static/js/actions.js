/** What can be done with a transcript: copied, saved, cleared. */

import { copy } from "./clipboard.js";
import { byId, save } from "./dom.js";
import { asJson, asShown, asSrt, asText, asVtt } from "./exports.js";
import { closing } from "./menu.js";

const FORMATS = {
  txt: [asText, "text/plain"],
  srt: [asSrt, "application/x-subrip"],
  vtt: [asVtt, "text/vtt"],
  json: [asJson, "application/json"],
};

export class Actions {
  /**
   * @param {import("./transcript.js").Transcript} transcript
   * @param {import("./recording.js").Recording} recording
   * @param {() => void} onClear
   */
  constructor(transcript, recording, onClear) {
    this.transcript = transcript;
    this.recording = recording;
    byId("copy").addEventListener("click", () => void copy(asShown(this.transcript), byId("copy-label")));
    byId("clear").addEventListener("click", onClear);
    for (const name of Object.keys(FORMATS)) byId(`save-${name}`).addEventListener("click", () => this.save(name));
    byId("save-wav").addEventListener("click", () => save(this.recording.wav(), fileName("wav")));
    closing(byId("save"));
    for (const type of ["changed", "removed", "cleared"]) transcript.addEventListener(type, () => this.show());
    this.show();
  }

  /** Offer only what there is. */
  show() {
    const some = this.transcript.finals().length > 0;
    const recorded = !this.recording.empty;
    byId("copy").disabled = !some;
    byId("clear").disabled = this.transcript.takes.length === 0;
    byId("save").toggleAttribute("data-empty", !some && !recorded);
    for (const name of Object.keys(FORMATS)) byId(`save-${name}`).disabled = !some;
    byId("save-wav").disabled = !recorded;
    document.body.toggleAttribute("data-empty", this.transcript.known.size === 0);
  }

  save(name) {
    const [draw, type] = FORMATS[name];
    save(new Blob([draw(this.transcript)], { type: `${type};charset=utf-8` }), fileName(name));
  }
}

function fileName(ending) {
  const now = new Date();
  const parts = [
    now.getFullYear(),
    now.getMonth() + 1,
    now.getDate(),
    now.getHours(),
    now.getMinutes(),
    now.getSeconds(),
  ];
  const [year, ...rest] = parts.map((part) => String(part).padStart(2, "0"));
  return `speech-${year}${rest[0]}${rest[1]}-${rest[2]}${rest[3]}${rest[4]}.${ending}`;
}
