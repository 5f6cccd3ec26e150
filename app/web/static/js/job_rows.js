/** The list of jobs, and above it the recordings that are on their way. Rows stay the same elements: who is at one stays. */

import { element } from "./dom.js";
import { onLanguage, say, t } from "./i18n.js";
import { summary, titleOf } from "./job_words.js";
import { ended } from "./jobs_api.js";

export class JobRows {
  /**
   * @param {HTMLElement} list
   * @param {(id: string) => void} open
   */
  constructor(list, open) {
    this.list = list;
    this.open = open;
    this.nodes = new Map();
    this.jobs = [];
    this.current = null;
    onLanguage(() => this.show(this.jobs, this.current));
  }

  /** @param {import("./jobs_api.js").Job[]} jobs newest first; `current` is the id of the one that is open */
  show(jobs, current) {
    this.jobs = jobs;
    this.current = current;
    const ids = new Set(jobs.map(({ id }) => id));
    for (const [id, { item }] of this.nodes) {
      if (ids.has(id)) continue;
      item.remove();
      this.nodes.delete(id);
    }
    let before = null;
    for (const job of jobs) {
      const { item } = this.row(job);
      const place = before ? before.nextElementSibling : this.list.firstElementChild;
      if (place !== item) this.list.insertBefore(item, place);
      before = item;
    }
  }

  row(job) {
    const row = this.nodes.get(job.id) ?? this.made(job.id);
    row.name.textContent = titleOf(job);
    row.about.textContent = summary(job);
    row.bar.hidden = job.state !== "running";
    row.bar.value = job.progress.percent;
    row.button.dataset.state = ended(job) ? job.state : "";
    row.button.toggleAttribute("aria-current", false);
    if (job.id === this.current) row.button.setAttribute("aria-current", "true");
    return row;
  }

  made(id) {
    const name = element("b");
    const about = element("span");
    const bar = element("progress", { max: "100", "aria-hidden": "true" }); // the line says it
    const button = element("button", { type: "button", class: "row", "data-id": id }, name, about, bar);
    button.addEventListener("click", () => this.open(id));
    const row = { item: element("li", {}, button), button, name, about, bar };
    this.nodes.set(id, row);
    return row;
  }

  focus(id) {
    this.nodes.get(id)?.button.focus();
  }
}

const SENDING = {
  waiting: "upload.waiting",
  sending: "upload.sending",
  paused: "upload.paused",
  fileless: "upload.fileless",
  failed: "upload.failed",
};

/** Recordings on their way. */
export class UploadRows {
  /**
   * @param {HTMLElement} list
   * @param {{pause: Function, resume: Function, remove: Function}} actions each with the entry
   */
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.nodes = new Map();
  }

  /** @param {import("./job_uploads.js").Entry[]} entries */
  show(entries) {
    for (const [entry, { item }] of this.nodes) {
      if (entries.includes(entry)) continue;
      item.remove();
      this.nodes.delete(entry);
    }
    for (const entry of entries) {
      if (!this.nodes.has(entry)) this.list.append(this.made(entry).item);
      this.draw(entry);
    }
  }

  draw(entry) {
    const row = this.nodes.get(entry);
    if (!row) return;
    const percent = entry.size > 0 ? Math.floor((100 * entry.arrived) / entry.size) : 0;
    row.bar.value = percent;
    say(row.about, SENDING[entry.state], { percent });
    const busy = entry.state === "sending" || entry.state === "waiting";
    row.go.hidden = busy;
    row.pause.hidden = !busy;
    say(row.go, entry.state === "fileless" ? "upload.choose_again" : "upload.go_on");
    say(row.why, entry.failure?.key ?? null);
    row.detail.textContent = entry.failure?.detail ?? "";
  }

  made(entry) {
    const button = (key, action) => {
      const made = element("button", { type: "button", class: "small" });
      say(made, key);
      made.addEventListener("click", () => action(entry));
      return made;
    };
    const row = {
      about: element("p", { class: "upload-state" }),
      bar: element("progress", { max: "100" }),
      why: element("p", { class: "upload-why" }),
      detail: element("p", { class: "upload-why" }),
      go: button("upload.go_on", this.actions.resume),
      pause: button("upload.pause", this.actions.pause),
      drop: button("jobs.discard", this.actions.remove),
    };
    const buttons = element("div", { class: "upload-buttons" }, row.go, row.pause, row.drop);
    row.bar.setAttribute("aria-label", entry.name);
    row.item = element("li", {}, element("b", {}, entry.name), row.bar, row.about, row.why, row.detail, buttons);
    this.nodes.set(entry, row);
    return row;
  }
}
