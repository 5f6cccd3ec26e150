/** The tab of jobs: those there are on one side, the one in hand, or what a new one is to be, on the other. */

import { byId } from "./dom.js";
import { failureOf } from "./failures.js";
import { say } from "./i18n.js";
import { JobForm } from "./job_form.js";
import { askToDiscard } from "./job_questions.js";
import { JobRows, UploadRows } from "./job_rows.js";
import { JobUploads } from "./job_uploads.js";
import { JobView } from "./job_view.js";
import { JobsApi, ended } from "./jobs_api.js";
import { Notice } from "./notice.js";

const ASK_AGAIN_MILLISECONDS = 3000;
const IDLE_MILLISECONDS = 15_000;
const MORE = 100;
const MOST = 1000;

/** Says "changed" (whether recordings are on their way), and "token" (one is needed). */
export class Jobs extends EventTarget {
  /** @param {() => string} token */
  constructor(token) {
    super();
    this.root = byId("view-jobs");
    this.api = new JobsApi(token);
    this.notice = new Notice(byId("jobs-notice"));
    this.formNotice = new Notice(byId("job-form-notice"));
    this.form = new JobForm();
    this.view = new JobView(this.api);
    this.uploads = new JobUploads(this.api);
    this.rows = new JobRows(byId("jobs-rows"), (id) => this.open(id));
    this.uploadRows = new UploadRows(byId("job-uploads"), {
      pause: (entry) => this.uploads.pause(entry),
      resume: (entry) => this.resume(entry),
      remove: (entry) => void this.discard(entry),
    });
    /** @type {import("./jobs_api.js").Job[]} */
    this.jobs = [];
    this.limit = MORE;
    this.asked = 0;
    this.seen = false;
    this.unlisted = false; // whether the server would not tell
    this.follow();
    this.uploadRows.show(this.uploads.entries);
  }

  follow() {
    byId("job-new").addEventListener("click", () => this.begin());
    for (const back of this.root.querySelectorAll(".back")) back.addEventListener("click", () => this.close());
    byId("jobs-more").addEventListener("click", () => {
      this.limit = Math.min(MOST, this.limit + MORE);
      void this.reload();
    });
    byId("job-file-again").addEventListener("change", ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file && this.wanting) this.goOn(this.wanting, file);
    });
    const on = (from, type, action) => from.addEventListener(type, ({ detail }) => action(detail));
    on(this.form, "asked", (wish) => void this.submit(wish));
    on(this.form, "refused", (failure) => this.formNotice.show(failure));
    on(this.view, "changed", (job) => this.put(job));
    on(this.view, "gone", (id) => this.gone(id));
    on(this.view, "token", () => this.tell("token"));
    on(this.uploads, "submitted", (job) => this.put(job));
    on(this.uploads, "changed", (entry) => {
      if (entry && this.uploads.entries.includes(entry)) this.uploadRows.draw(entry);
      this.uploadRows.show(this.uploads.entries);
      this.tell("changed", this.uploads.entries.length > 0);
    });
    document.addEventListener("visibilitychange", () => this.show(this.seen));
  }

  /** The tab is seen, or not any more: only then it asks, again and again; seldom, while nothing goes on: somebody else
   * with the same key, or a program, may hand a job over. */
  show(seen) {
    this.seen = seen;
    clearTimeout(this.timer);
    if (!seen || document.visibilityState === "hidden") return;
    void this.reload();
    void this.uploads.restore();
    if (this.view.job) this.view.stay();
    else if (!this.root.hasAttribute("data-editing")) byId("job-form").hidden = false;
  }

  /** Ask the server which there are. */
  async reload() {
    clearTimeout(this.timer);
    const number = (this.asked += 1);
    if (number === 1) say(byId("jobs-state"), "lists.loading");
    try {
      const { data, has_more: more } = await this.api.list(this.limit);
      if (number !== this.asked) return;
      if (this.unlisted) this.notice.close(); // but not what it says of something else
      this.unlisted = false;
      this.jobs = data;
      byId("jobs-more").hidden = !more || this.limit >= MOST;
      this.draw();
      for (const job of data) this.view.listed(job);
    } catch (error) {
      if (number !== this.asked) return;
      this.failed(failureOf(error));
    }
    if (!this.seen || document.visibilityState === "hidden") return;
    const busy = this.unlisted || this.jobs.some((job) => !ended(job));
    this.timer = setTimeout(() => void this.reload(), busy ? ASK_AGAIN_MILLISECONDS : IDLE_MILLISECONDS);
  }

  failed(failure) {
    this.unlisted = true;
    if (failure.key === "error.token") {
      this.jobs = [];
      this.notice.show(failure, () => this.tell("token"), "lists.to_token");
    } else this.notice.show(failure, () => void this.reload());
    this.draw();
  }

  draw() {
    this.rows.show(this.jobs, this.view.job?.id ?? null);
    say(byId("jobs-state"), this.jobs.length > 0 || !this.notice.box.hidden ? null : "jobs.none");
  }

  /** A job as it is now; one that was not known is the newest. */
  put(job) {
    const at = this.jobs.findIndex(({ id }) => id === job.id);
    if (at >= 0) this.jobs[at] = job;
    else {
      this.jobs.unshift(job);
      if (this.seen) void this.reload();
    }
    this.draw();
  }

  gone(id) {
    this.asked += 1; // an answer that is still to come is older
    this.jobs = this.jobs.filter((job) => job.id !== id);
    if (this.view.job?.id === id) this.close();
    else this.draw();
    void this.reload();
  }

  open(id) {
    const job = this.jobs.find((one) => one.id === id);
    byId("job-form").hidden = true;
    this.root.toggleAttribute("data-editing", true);
    this.view.open(job);
    this.draw();
    byId("job-title").focus();
  }

  /** The form for another one. */
  begin() {
    this.view.shut();
    this.formNotice.close();
    this.root.toggleAttribute("data-editing", true);
    byId("job-form").hidden = false;
    this.draw();
    byId("job-choose").focus();
  }

  /** Back to the list; beside it stands the form. */
  close() {
    const { id } = this.view.job ?? {};
    this.view.shut();
    this.root.toggleAttribute("data-editing", false);
    byId("job-form").hidden = false;
    this.draw();
    if (id && this.jobs.some((job) => job.id === id)) this.rows.focus(id);
    else byId("job-new").focus();
  }

  /** Files that were dropped on the tab. */
  take(files) {
    this.begin();
    this.form.take(files);
  }

  async submit({ files, address, fields }) {
    this.formNotice.close();
    for (const file of files) this.uploads.add(file, fields);
    if (address) {
      byId("job-send").disabled = true;
      try {
        this.put(await this.api.submit({ ...fields, audio_address: address }, this.addressKey(address, fields)));
        this.form.taken();
        this.key = null;
      } catch (error) {
        this.formNotice.show(failureOf(error));
        return;
      } finally {
        byId("job-send").disabled = false;
      }
    }
    this.close();
  }

  /** The same as long as the same is asked for in vain: an answer may be lost on its way. */
  addressKey(address, fields) {
    const asked = JSON.stringify([address, fields]);
    if (this.key?.asked !== asked) this.key = { asked, key: `${Date.now()}-${Math.random().toString(36).slice(2)}` };
    return this.key.key;
  }

  resume(entry) {
    if (entry.state !== "fileless") {
      this.goOn(entry, entry.file);
      return;
    }
    this.wanting = entry;
    byId("job-file-again").click();
  }

  goOn(entry, file) {
    this.notice.close();
    // There is no job of it: what was wrong with the wishes can be put right in the form.
    if (entry.failure?.key === "error.refused") entry.fields = this.form.wishes();
    try {
      this.uploads.resume(entry, file);
    } catch (error) {
      this.notice.show(failureOf(error), () => this.resume(entry), "upload.choose_again");
    }
  }

  async discard(entry) {
    if ((await askToDiscard(entry.name)) === "discard") await this.uploads.remove(entry);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
