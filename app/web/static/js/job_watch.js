/** A job, told again whenever something of it changes, until it has ended. */

import { failureOf, jobFailure } from "./failures.js";
import { authorised, ended, jobPath } from "./jobs_api.js";

const AGAIN_MILLISECONDS = 2000;

/**
 * Follow a job.
 * @param {string} id
 * @param {string} token "" where none is needed
 * @param {(job: import("./jobs_api.js").Job) => void} onJob
 * @param {(failure: import("./failures.js").Failure) => void} onLost the server will not tell
 * @returns {() => void} ends it
 */
export function follow(id, token, onJob, onLost) {
  const path = `${jobPath(id)}/events`;
  return token ? streamed(path, token, onJob, onLost) : subscribed(path, onJob, onLost);
}

function subscribed(path, onJob, onLost) {
  const source = new EventSource(path);
  source.addEventListener("job", ({ data }) => {
    const job = JSON.parse(data);
    if (ended(job)) source.close(); // it would ask again
    onJob(job);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) void whyNot(path, onLost);
  });
  return () => source.close();
}

/** An EventSource does not say what it was answered. */
async function whyNot(path, onLost) {
  try {
    const answer = await fetch(path.replace(/\/events$/, ""));
    onLost(jobFailure(answer.status, await answer.text()));
  } catch {
    onLost(jobFailure(0, ""));
  }
}

/** With the token in a header, where no EventSource can put one: in an address it would end up in logs. */
function streamed(path, token, onJob, onLost) {
  const giveUp = new AbortController();
  void (async () => {
    while (!giveUp.signal.aborted) {
      try {
        const headers = { ...authorised(token), Accept: "text/event-stream" };
        const answer = await fetch(path, { headers, signal: giveUp.signal });
        if (!answer.ok) return void onLost(jobFailure(answer.status, await answer.text()));
        for await (const { event, data } of events(answer.body)) {
          if (event !== "job" || giveUp.signal.aborted) continue;
          const job = JSON.parse(data);
          onJob(job);
          if (ended(job)) return giveUp.abort();
        }
      } catch (error) {
        if (giveUp.signal.aborted) return undefined;
        if (!(error instanceof TypeError)) return void onLost(failureOf(error)); // a lost line is one
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
    }
    return undefined;
  })();
  return () => giveUp.abort();
}

/** Server-sent events of a body. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = `${rest}${value}`.replaceAll("\r\n", "\n").split("\n\n");
    rest = parts.pop();
    for (const part of parts) yield eventOf(part);
  }
}

function eventOf(part) {
  const made = { event: "message", data: "" };
  for (const line of part.split("\n")) {
    const [, name, value] = /^(\w*):? ?(.*)$/.exec(line);
    if (name === "event") made.event = value;
    else if (name === "data") made.data += made.data ? `\n${value}` : value;
  }
  return made;
}
