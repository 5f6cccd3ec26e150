/** The server's jobs, asked with the visitor's token. */

import { Failure, jobFailure, submissionFailure } from "./failures.js";

const PATH = "/v1/jobs";
const PATIENCE_MILLISECONDS = 60_000;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/**
 * @typedef {object} Job times are epoch seconds
 * @property {string} id
 * @property {"queued" | "running" | "succeeded" | "failed" | "cancelled"} state
 * @property {number} created_at
 * @property {number | null} ended_at
 * @property {number | null} expires_at
 * @property {string} model
 * @property {string} name
 * @property {string} waits_for
 * @property {{code: string, message: string} | null} error
 * @property {{percent: number, seconds_done: number, seconds_total: number | null, pieces_done: number,
 *   step: string | null, seconds_left: number | null}} progress
 */

/** Whether nothing more will happen to it. */
export const ended = (job) => ENDED.has(job.state);

/** Where a job is. */
export const jobPath = (id) => `${PATH}/${encodeURIComponent(id)}`;

/** What a request with this token says of itself. */
export const authorised = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

export class JobsApi {
  /** @param {() => string} token */
  constructor(token) {
    this.token = token;
  }

  /** @returns {Promise<{data: Job[], has_more: boolean}>} newest first */
  async list(limit) {
    return JSON.parse(await this.ask("GET", `${PATH}?limit=${limit}`));
  }

  /**
   * @param {Record<string, string | string[]>} fields
   * @param {string} key the same again is the same job
   * @returns {Promise<Job>}
   * @throws {Failure} "error.upload_gone": the server does not have the upload, "error.upload_done": the key has another job
   */
  async submit(fields, key) {
    const form = new FormData();
    for (const [name, values] of Object.entries(fields)) for (const value of [values].flat()) form.append(name, value);
    return JSON.parse(await this.ask("POST", PATH, { "Idempotency-Key": key }, form, submissionFailure));
  }

  /** @returns {Promise<Job>} */
  async cancel(id) {
    return JSON.parse(await this.ask("POST", `${jobPath(id)}/cancel`));
  }

  async remove(id) {
    await this.ask("DELETE", jobPath(id));
  }

  /** What is recognised so far: verbose_json. */
  async partial(id) {
    return JSON.parse(await this.ask("GET", `${jobPath(id)}/partial?response_format=verbose_json`));
  }

  /** What came of it, as text in this format. */
  async result(id, format) {
    return this.ask("GET", `${jobPath(id)}/result?response_format=${format}`);
  }

  /** @throws {Failure} */
  async ask(method, path, more = {}, body = undefined, failureFor = jobFailure) {
    const token = this.token();
    let answer;
    let text;
    try {
      answer = await fetch(path, {
        method,
        headers: { ...authorised(token), ...more },
        body,
        signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
      });
      text = await answer.text();
    } catch (error) {
      // A token with signs that no header can have is not the server's.
      if (error instanceof TypeError && /[^\x20-\x7e]/.test(token)) throw new Failure("error.token");
      throw new Failure("error.jobs_unreachable");
    }
    if (!answer.ok) throw failureFor(answer.status, text);
    return text;
  }
}
