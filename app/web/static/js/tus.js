/** A recording sent in chunks, gone on with where it broke off: after a lost line, and after the page was closed (tus). */

import { Failure, failureOf, uploadFailure } from "./failures.js";

const PATH = "/v1/jobs/uploads";
const VERSION = { "Tus-Resumable": "1.0.0" };
const CHUNK_BYTES = 8 * 1024 * 1024;
const MOST_TRIES = 8; // in a row, without a byte that arrives
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
const HEAD_MILLISECONDS = 60_000;
/** What may be over in a moment. */
const PASSING = new Set(["error.not_sent", "error.busy"]);

/** What an upload is called where it is wanted: the last part of its address. */
export const uploadId = (location) => location.split("/").at(-1);

/** How many bytes of an upload have arrived; null: the server does not have it. */
export async function offsetOf(location, token) {
  const answer = await asked("HEAD", location, token);
  if (answer.status === 404 || answer.status === 410) return null;
  if (!answer.ok) throw uploadFailure(answer.status, "");
  return Number(answer.headers.get("Upload-Offset"));
}

/** Have the server forget an upload. */
export async function forget(location, token) {
  await asked("DELETE", location, token);
}

async function asked(method, path, token, more = {}) {
  const headers = { ...VERSION, ...(token && { Authorization: `Bearer ${token}` }), ...more };
  try {
    return await fetch(path, { method, headers, signal: AbortSignal.timeout(HEAD_MILLISECONDS) });
  } catch (error) {
    // A token with signs that no header can have is not the server's.
    if (error instanceof TypeError && /[^\x20-\x7e]/.test(token)) throw new Failure("error.token");
    throw new Failure("error.not_sent");
  }
}

export class ResumableUpload {
  /**
   * @param {File} file
   * @param {() => string} token
   * @param {string | null} location of one that was begun before
   * @param {{located: (location: string) => void, arrived: (bytes: number) => void}} tell
   */
  constructor(file, token, location, tell) {
    this.file = file;
    this.token = token;
    this.location = location;
    this.tell = tell;
    this.paused = false;
    this.request = null;
    this.wake = () => {};
  }

  /**
   * Its address once all of it has arrived, or the server does not have it any more: it may be a job by now.
   * null: it was paused.
   * @throws {Failure}
   */
  async run() {
    let offset = null; // not known
    let best = -1;
    let tries = 0;
    while (!this.paused) {
      try {
        offset ??= await this.found();
        if (offset === null) return this.location;
        if (offset > best) tries = 0;
        best = Math.max(best, offset);
        this.tell.arrived(offset);
        if (offset >= this.file.size) return this.location;
        offset = await this.send(offset);
      } catch (error) {
        if (this.paused) break;
        const failure = failureOf(error);
        tries += 1;
        if (!PASSING.has(failure.key) || tries >= MOST_TRIES) throw failure;
        offset = null;
        await this.rest(Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE));
      }
    }
    return null;
  }

  /** Stop; what has arrived stays where it is. */
  pause() {
    this.paused = true;
    this.request?.abort();
    this.wake();
  }

  /** From which byte to go on; null: the server does not have it any more. */
  async found() {
    return this.location === null ? await this.create() : await offsetOf(this.location, this.token());
  }

  async create() {
    const answer = await asked("POST", PATH, this.token(), {
      "Upload-Length": String(this.file.size),
      "Upload-Metadata": `filename ${base64(this.file.name)}`,
    });
    if (answer.status !== 201) throw uploadFailure(answer.status, await answer.text());
    // A proxy may have told the server another name for itself: only the path counts.
    this.location = new URL(answer.headers.get("Location"), new URL(PATH, location.href)).pathname;
    this.tell.located(this.location);
    return 0;
  }

  /** A chunk; the offset after it, or null where it has to be asked for. */
  async send(offset) {
    let chunk;
    try {
      chunk = await this.file.slice(offset, offset + CHUNK_BYTES).arrayBuffer();
    } catch {
      throw new Failure("error.file_changed", this.file.name);
    }
    if (this.paused) return null;
    const request = (this.request = new XMLHttpRequest()); // fetch tells nothing about what has been sent
    request.open("PATCH", this.location);
    const token = this.token();
    const headers = {
      ...VERSION,
      ...(token && { Authorization: `Bearer ${token}` }),
      "Content-Type": "application/offset+octet-stream",
      "Upload-Offset": String(offset),
    };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const status = await new Promise((resolve) => {
      request.upload.addEventListener("progress", ({ loaded }) => this.tell.arrived(offset + loaded));
      for (const type of ["load", "error", "abort"]) request.addEventListener(type, () => resolve(request.status));
      request.send(chunk);
    });
    if (status === 204 || status === 200) return Number(request.getResponseHeader("Upload-Offset"));
    if (status === 409 || status === 404 || status === 410) return null; // another part of it is there, or none
    throw uploadFailure(status, request.responseText);
  }

  rest(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** UTF-8 bytes in base64. */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
