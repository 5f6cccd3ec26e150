/** One job: how far it is, what is recognised so far, what came of it, and what can be done with that. */

import { copy } from "./clipboard.js";
import { byId, save } from "./dom.js";
import { failureOf } from "./failures.js";
import { dateName, onLanguage, say } from "./i18n.js";
import { JobText } from "./job_text.js";
import { follow } from "./job_watch.js";
import { askToCancel, askToDeleteJob } from "./job_questions.js";
import { titleOf, tellNumbers, tellState } from "./job_words.js";
import { ended } from "./jobs_api.js";
import { closing } from "./menu.js";
import { Notice } from "./notice.js";

const FORMATS = {
  txt: ["text", "text/plain"],
  srt: ["srt", "application/x-subrip"],
  vtt: ["vtt", "text/vtt"],
  json: ["verbose_json", "application/json"],
};
const REST_MILLISECONDS = 2000;
const REST_SHARE = 10; // text of hours takes a while to draw: it is asked for the less often

/** Says "changed" (a job), "gone" (its id), "token" (one is needed). */
export class JobView extends EventTarget {
  /** @param {import("./jobs_api.js").JobsApi} api */
  constructor(api) {
    super();
    this.api = api;
    /** @type {import("./jobs_api.js").Job | null} */
    this.job = null;
    this.unfollow = () => {};
    this.notice = new Notice(byId("job-notice"));
    this.text = new JobText(byId("job-text"), byId("job-body"));
    closing(byId("job-save"));
    byId("job-copy").addEventListener("click", () => void this.doing(() => this.copy()));
    byId("job-cancel").addEventListener("click", () => void this.doing(() => this.cancel()));
    byId("job-delete").addEventListener("click", () => void this.doing(() => this.remove()));
    for (const name of Object.keys(FORMATS))
      byId(`job-save-${name}`).addEventListener("click", () => void this.doing(() => this.save(name)));
    onLanguage(() => this.job && this.draw());
  }

  /** Show a job and stay with it. */
  open(job) {
    this.shut();
    this.notice.close();
    this.text.clear();
    this.job = job;
    this.shown = null; // how much of its text is
    byId("job-silent").hidden = true;
    byId("job").hidden = false;
    this.draw();
    this.stay();
  }

  /** Follow it, where there is anything to come. */
  stay() {
    this.unfollow();
    const { id } = this.job;
    const heard = (job) => this.job?.id === id && this.put(job);
    if (!ended(this.job)) this.unfollow = follow(id, this.api.token(), heard, (failure) => this.failed(failure));
    void this.read();
  }

  /** Nothing is shown, and nobody asked. */
  shut() {
    this.unfollow();
    this.unfollow = () => {};
    clearTimeout(this.timer);
    this.job = null;
    byId("job").hidden = true;
  }

  /** The same job as the list has it, which asks whether or not somebody follows; what has ended stays so. */
  listed(job) {
    if (job.id === this.job?.id && (ended(job) || !ended(this.job))) this.put(job);
  }

  put(job) {
    this.job = job;
    if (ended(job)) this.unfollow();
    this.draw();
    this.tell("changed", job);
    void this.read();
  }

  draw() {
    const { job } = this;
    byId("job-title").textContent = titleOf(job);
    tellState(byId("job-state"), job);
    tellNumbers(byId("job-numbers"), job);
    const bar = byId("job-progress");
    bar.hidden = ended(job);
    if (job.state === "queued" && job.progress.percent === 0) bar.removeAttribute("value");
    else bar.value = job.progress.percent;
    byId("job-why").textContent = job.error?.message ?? job.waits_for ?? "";
    byId("job-why").hidden = byId("job-why").textContent === "";
    byId("job-id").textContent = job.id;
    byId("job-model-used").textContent = job.model;
    say(byId("job-times"), "jobs.created", { date: dateName(job.created_at) });
    const expires = job.expires_at === null ? null : "jobs.expires";
    say(byId("job-expires"), expires, { date: expires && dateName(job.expires_at) });
    const done = job.state === "succeeded";
    byId("job-cancel").hidden = ended(job);
    byId("job-copy").disabled = !done;
    byId("job-save").toggleAttribute("data-empty", !done);
    for (const name of Object.keys(FORMATS)) byId(`job-save-${name}`).disabled = !done;
  }

  /** Its text, as far as there is more of it than is shown. One asking at a time, with rests between. */
  async read() {
    const { job } = this;
    const wanted = job.state === "succeeded" ? "all" : job.progress.pieces_done;
    if (this.reading || this.shown === wanted || wanted === 0 || job.state === "failed" || job.state === "cancelled") return;
    this.reading = true;
    const began = performance.now();
    let rest = 0;
    try {
      const all = wanted === "all";
      const { segments } = all ? JSON.parse(await this.api.result(job.id, "verbose_json")) : await this.api.partial(job.id);
      if (this.job?.id === job.id) {
        this.text.show(segments ?? []);
        this.shown = wanted;
        byId("job-silent").hidden = !all || segments.length > 0;
      }
      rest = Math.max(REST_MILLISECONDS, REST_SHARE * (performance.now() - began));
    } catch (error) {
      if (this.job?.id === job.id && wanted === "all") this.failed(failureOf(error), () => void this.read());
      else rest = REST_MILLISECONDS; // it will be there the next time
    }
    this.reading = false;
    if (this.job === null || rest === 0) return;
    const hurry = this.job.id !== job.id || this.job.state === "succeeded";
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.job && void this.read(), hurry ? 0 : rest);
  }

  async copy() {
    await copy((await this.api.result(this.job.id, "text")).trim(), byId("job-copy-label"));
  }

  async save(name) {
    const [format, type] = FORMATS[name];
    const { job } = this;
    const text = await this.api.result(job.id, format);
    const stem = titleOf(job).replace(/\.\w{1,5}$/, "").replace(/[/\\:]/g, "_");
    save(new Blob([text], { type: `${type};charset=utf-8` }), `${stem}.${name}`);
  }

  async cancel() {
    const { job } = this;
    if ((await askToCancel(titleOf(job))) !== "cancel") return;
    const after = await this.api.cancel(job.id);
    if (this.job?.id === job.id) this.put(after);
    else this.tell("changed", after);
  }

  async remove() {
    const { job } = this;
    if ((await askToDeleteJob(titleOf(job))) !== "delete") return;
    await this.api.remove(job.id);
    this.tell("gone", job.id);
  }

  /** What goes wrong is told here, if it is still about the same job. */
  async doing(what) {
    const { id } = this.job;
    this.notice.close();
    try {
      await what();
    } catch (error) {
      if (this.job?.id === id) this.failed(failureOf(error), () => void this.doing(what));
    }
  }

  failed(failure, again = () => this.stay()) {
    if (failure.key === "error.token") this.notice.show(failure, () => this.tell("token"), "lists.to_token");
    else this.notice.show(failure, failure.key === "error.job_gone" ? null : again);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
