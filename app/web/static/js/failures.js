/** What can go wrong, in plain words, with what to do about it. */

/** How to open the page so that a browser hands out the microphone. */
const SECURE_STEPS = ["secure.local", "secure.tunnel", "secure.nginx", "secure.certificate"];

const HELP = {
  "error.insecure": SECURE_STEPS,
  "error.denied": ["help.denied", "help.denied_system"],
  "error.no_microphone": ["help.no_microphone"],
  "error.microphone_busy": ["help.microphone_busy"],
  "error.no_output": ["help.no_output"],
  "error.microphone_lost": ["help.no_microphone"],
  "error.browser_old": ["help.browser_old"],
  "error.unreachable": ["help.unreachable", "help.proxy"],
  "error.loading": ["help.loading"],
  "error.closed": ["help.closed"],
  "error.silent_server": ["help.closed"],
  "error.token": ["help.token"],
  "error.busy": ["help.busy"],
  "error.refused": [],
  "error.undecodable": ["help.undecodable"],
  "error.too_large": ["help.too_large"],
  "error.not_sent": ["help.unreachable"],
  "error.no_speech": [],
  "error.lists_unreachable": ["help.unreachable", "help.typed"],
  "error.lists_unavailable": ["help.typed"],
  "error.list_gone": ["help.list_gone"],
  "error.name_taken": ["help.name_taken"],
  "error.name_needed": [],
  "error.terms_needed": [],
  "error.list_too_large": ["help.list_too_large"],
  "error.no_text": ["help.no_text"],
  "error.jobs_unreachable": ["help.unreachable"],
  "error.jobs_unavailable": ["help.busy"],
  "error.job_gone": ["help.job_gone"],
  "error.no_room": ["help.no_room"],
  "error.upload_too_large": ["help.upload_too_large"],
  "error.file_changed": ["help.file_changed"],
  "error.other_file": ["help.other_file"],
  "error.upload_gone": [],
  "error.upload_done": [],
  "error.recording_needed": [],
  "error.unexpected": ["help.unexpected"],
};

/** A failure that is shown to the visitor. `detail` is what the server or the browser said about it, in its words. */
export class Failure extends Error {
  constructor(key, detail = "") {
    super(key);
    this.key = key;
    this.detail = detail;
  }

  /** Keys of what to do. */
  get help() {
    return HELP[this.key] ?? [];
  }
}

/** A failure for anything that was thrown. */
export function failureOf(error) {
  return error instanceof Failure ? error : new Failure("error.unexpected", String(error?.message ?? error));
}

const MICROPHONE_ERRORS = {
  NotAllowedError: "error.denied",
  SecurityError: "error.denied",
  NotFoundError: "error.no_microphone",
  OverconstrainedError: "error.no_microphone",
  NotReadableError: "error.microphone_busy",
  AbortError: "error.microphone_busy",
};

/** What getUserMedia rejected with, as a failure. */
export function microphoneFailure(error) {
  return new Failure(MICROPHONE_ERRORS[error.name] ?? "error.unexpected", error.message);
}

const STATUS_ERRORS = { 0: "error.not_sent", 401: "error.token", 403: "error.token", 413: "error.too_large" };

/** What an answer that is no success says for itself. */
function detailOf(status, body) {
  return errorOf(body)?.message ?? (status ? `HTTP ${status}` : "");
}

/** @returns {{message: string, code: string} | undefined} */
function errorOf(body) {
  try {
    return JSON.parse(body).error;
  } catch {
    return undefined;
  }
}

/** An answer of the HTTP interface that is no success. `body` is its text. */
export function answerFailure(status, body) {
  const detail = detailOf(status, body);
  if (status === 429 || status === 503) return new Failure("error.busy", detail);
  return new Failure(STATUS_ERRORS[status] ?? "error.refused", detail);
}

const LIST_ERRORS = {
  401: "error.token",
  403: "error.token",
  404: "error.list_gone",
  409: "error.name_taken",
  413: "error.list_too_large",
  429: "error.busy",
  503: "error.lists_unavailable",
};

/** The same of an answer about a stored list. */
export function listFailure(status, body) {
  return new Failure(LIST_ERRORS[status] ?? "error.refused", detailOf(status, body));
}

const JOB_ERRORS = {
  0: "error.jobs_unreachable",
  401: "error.token",
  403: "error.token",
  404: "error.job_gone",
  413: "error.upload_too_large",
  429: "error.busy",
  502: "error.jobs_unreachable",
  503: "error.jobs_unavailable",
  504: "error.jobs_unreachable",
  507: "error.no_room",
};

/** The same of an answer about a job. */
export function jobFailure(status, body) {
  return new Failure(JOB_ERRORS[status] ?? "error.refused", detailOf(status, body));
}

const SUBMISSION_ERRORS = {
  upload_not_found: "error.upload_gone",
  upload_locked: "error.busy",
  idempotency_conflict: "error.upload_done",
};

/** The same of an answer to a recording that is handed over. A 404 may be about what it asks for, such as a model. */
export function submissionFailure(status, body) {
  const key = SUBMISSION_ERRORS[errorOf(body)?.code] ?? (status === 404 ? "error.refused" : null);
  return key === null ? jobFailure(status, body) : new Failure(key, detailOf(status, body));
}

const UPLOAD_ERRORS = {
  0: "error.not_sent",
  401: "error.token",
  403: "error.token",
  413: "error.upload_too_large",
  423: "error.busy",
  429: "error.busy",
  502: "error.not_sent",
  503: "error.busy",
  504: "error.not_sent",
  507: "error.no_room",
};

/** The same of an answer to a part of an upload. */
export function uploadFailure(status, body) {
  return new Failure(UPLOAD_ERRORS[status] ?? "error.refused", detailOf(status, body));
}
