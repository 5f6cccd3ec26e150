/** Recordings on their way to become jobs: sent one after the other, remembered in this browser until they are. */

import { Failure, failureOf } from "./failures.js";
import { lasting } from "./storage.js";
import { ResumableUpload, forget, offsetOf, uploadId } from "./tus.js";

const REMEMBERED = "uploads";

/**
 * @typedef {object} Entry what is remembered is above the line
 * @property {string} key       its own, and its job's idempotency key
 * @property {string} name
 * @property {number} size      bytes
 * @property {number} modified  as the file says it
 * @property {string | null} location of the upload, once it has one
 * @property {Record<string, string | string[]>} fields of the job
 * ---
 * @property {File | null} file browsers do not keep it when the page is closed
 * @property {number} arrived   bytes
 * @property {"waiting" | "sending" | "paused" | "fileless" | "failed"} state
 * @property {Failure | null} failure
 */

/** Says "changed" (an entry, or null: which there are), "submitted" (a job). */
export class JobUploads extends EventTarget {
  /** @param {import("./jobs_api.js").JobsApi} api */
  constructor(api) {
    super();
    this.api = api;
    /** @type {Entry | null} */
    this.sending = null;
    this.upload = null;
    /** @type {Entry[]} */
    this.entries = remembered().map((kept) => ({ ...kept, file: null, arrived: 0, state: "fileless", failure: null }));
  }

  /** Find out how far those are that were begun before the page was opened; what is all there, or gone, becomes a job. */
  async restore() {
    for (const entry of this.entries.filter(({ state, location }) => state === "fileless" && location)) {
      let offset;
      try {
        offset = await offsetOf(entry.location, this.api.token());
        Object.assign(entry, { arrived: offset ?? 0, failure: null });
      } catch (error) {
        entry.failure = failureOf(error);
      }
      if (!this.entries.includes(entry) || entry.state !== "fileless") continue;
      // Gone: it may have become a job whose answer was lost.
      if (offset === null || (offset === entry.size && offset > 0)) entry.state = "waiting";
      this.tell("changed", entry);
    }
    void this.next();
  }

  /** Send it; one that was begun before and is the same file goes on. */
  add(file, fields) {
    const same = this.entries.find((entry) => entry.state === "fileless" && isOf(entry, file));
    if (same) {
      this.resume(same, file);
      return;
    }
    const { name, size, lastModified: modified } = file;
    const kept = { key: randomKey(), name, size, modified, location: null, fields };
    this.entries.push({ ...kept, file, arrived: 0, state: "waiting", failure: null });
    this.changed(null);
    void this.next();
  }

  /**
   * Go on with it. `file` is needed where the page was closed since.
   * @throws {Failure} it is another file
   */
  resume(entry, file = entry.file) {
    if (file && !isOf(entry, file)) throw new Failure("error.other_file", file.name);
    if (entry.failure?.key === "error.upload_done") entry.key = randomKey();
    Object.assign(entry, { file, state: "waiting", failure: null });
    this.changed(entry);
    void this.next();
  }

  pause(entry) {
    entry.state = "paused";
    if (entry === this.sending) this.upload?.pause();
    this.changed(entry);
  }

  /** Forget it, here and on the server. */
  async remove(entry) {
    entry.state = "paused";
    if (entry === this.sending) this.upload?.pause();
    this.entries = this.entries.filter((one) => one !== entry);
    this.changed(null);
    if (entry.location) await forget(entry.location, this.api.token()).catch(() => {}); // it expires by itself
  }

  /** Send the next one that waits. */
  async next() {
    const entry = this.sending ? null : this.entries.find(({ state }) => state === "waiting");
    if (!entry) return;
    this.sending = entry;
    entry.state = "sending";
    this.changed(entry);
    try {
      await this.send(entry);
    } catch (error) {
      if (entry.state === "sending") Object.assign(entry, { state: "failed", failure: failureOf(error) });
    }
    this.sending = null;
    this.upload = null;
    this.changed(entry);
    void this.next();
  }

  /**
   * Have it become a job. The server does not have an upload any more that is one already: the same key is answered with
   * that job. One that is gone without a job has expired, and is sent anew.
   */
  async send(entry) {
    for (let last = false; ; last = true) {
      const location = entry.file ? await this.sent(entry) : entry.location;
      if (location === null || entry.state !== "sending") return; // paused, or removed
      try {
        this.became(entry, await this.api.submit({ ...entry.fields, upload: uploadId(location) }, entry.key));
        return;
      } catch (error) {
        if (last || entry.state !== "sending" || failureOf(error).key !== "error.upload_gone") throw error;
      }
      Object.assign(entry, { location: null, arrived: 0 });
      if (!entry.file) entry.state = "fileless";
      this.changed(entry);
    }
  }

  /** The address of its upload, as ResumableUpload has it. */
  async sent(entry) {
    this.upload = new ResumableUpload(entry.file, this.api.token, entry.location, {
      located: (found) => {
        entry.location = found;
        this.changed(entry);
      },
      arrived: (bytes) => {
        entry.arrived = bytes;
        this.tell("changed", entry);
      },
    });
    return this.upload.run();
  }

  became(entry, job) {
    this.entries = this.entries.filter((one) => one !== entry);
    this.changed(null);
    this.tell("submitted", job);
  }

  changed(entry) {
    this.keep();
    this.tell("changed", entry);
  }

  /** Other tabs of this page remember theirs in the same place. */
  keep() {
    const mine = new Set(this.entries.map(({ key }) => key));
    const gone = this.known ?? new Set();
    const others = remembered().filter(({ key }) => !mine.has(key) && !gone.has(key));
    this.known = new Set([...gone, ...mine]);
    const kept = this.entries.map(({ key, name, size, modified, location, fields }) => ({
      key,
      name,
      size,
      modified,
      location,
      fields,
    }));
    lasting.write(REMEMBERED, JSON.stringify([...others, ...kept]));
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @returns {Entry[]} */
function remembered() {
  try {
    return JSON.parse(lasting.read(REMEMBERED) ?? "[]");
  } catch {
    return [];
  }
}

const isOf = (entry, file) =>
  entry.name === file.name && entry.size === file.size && entry.modified === file.lastModified;

/** crypto.randomUUID is there on secure pages only. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
