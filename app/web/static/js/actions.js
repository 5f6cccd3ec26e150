/** What can be done with a transcript: copied, saved, cleared. */

import { byId, element, save } from "./dom.js";
import { asJson, asShown, asSrt, asText, asVtt } from "./exports.js";
import { say } from "./i18n.js";

const FORMATS = {
  txt: [asText, "text/plain"],
  srt: [asSrt, "application/x-subrip"],
  vtt: [asVtt, "text/vtt"],
  json: [asJson, "application/json"],
};
const TOLD_MILLISECONDS = 1800;

export class Actions {
  /**
   * @param {import("./transcript.js").Transcript} transcript
   * @param {import("./recording.js").Recording} recording
   * @param {() => void} onClear
   */
  constructor(transcript, recording, onClear) {
    this.transcript = transcript;
    this.recording = recording;
    byId("copy").addEventListener("click", () => void this.copy());
    byId("clear").addEventListener("click", onClear);
    for (const name of Object.keys(FORMATS)) byId(`save-${name}`).addEventListener("click", () => this.save(name));
    byId("save-wav").addEventListener("click", () => save(this.recording.wav(), fileName("wav")));
    this.closeMenuOutside();
    for (const type of ["changed", "removed", "cleared"]) transcript.addEventListener(type, () => this.show());
    this.show();
  }

  /** The menu closes on a choice, on Escape and on a click elsewhere. */
  closeMenuOutside() {
    const menu = byId("save");
    menu.addEventListener("click", ({ target }) => {
      if (target.closest("button")) menu.open = false;
    });
    menu.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
    document.addEventListener("click", ({ target }) => {
      if (!menu.contains(target)) menu.open = false;
    });
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

  async copy() {
    const done = await copyText(asShown(this.transcript));
    say(byId("copy-label"), done ? "action.copied" : "action.copy_failed");
    setTimeout(() => say(byId("copy-label"), "action.copy"), TOLD_MILLISECONDS);
  }

  save(name) {
    const [draw, type] = FORMATS[name];
    save(new Blob([draw(this.transcript)], { type: `${type};charset=utf-8` }), fileName(name));
  }
}

/** Pages that are not secure have no clipboard; what they select can still be copied. */
async function copyText(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const area = element("textarea", { class: "out-of-sight" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
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
