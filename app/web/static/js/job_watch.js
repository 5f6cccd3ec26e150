/** A job, told again whenever something of it changes, until it has ended. */

import { failureOf, jobFailure } from "./failures.js";
import { authorised, ended, jobPath } from "./jobs_api.js";

const AGAIN_MILLISECONDS = 2000;
/** What may be over in a moment: too many follow, a server that starts again behind a proxy, a database that is locked. */
const PASSING = new Set([429, 502, 503, 504]);

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

/** An EventSource comes back by itself after a lost line, but never after an answer that is no success. */
function subscribed(path, onJob, onLost) {
  let over = false;
  let source;
  let timer;
  const end = () => {
    over = true;
    source.close();
    clearTimeout(timer);
  };
  const open = () => {
    source = new EventSource(path);
    source.addEventListener("job", ({ data }) => {
      const job = JSON.parse(data);
      if (ended(job)) end(); // it would ask again
      onJob(job);
    });
    source.addEventListener("message", () => void lost()); // what has gone wrong: its last event
    source.addEventListener("error", () => source.readyState === EventSource.CLOSED && void lost());
  };
  const lost = async () => {
    source.close();
    const failure = await whyNot(path);
    if (over) return;
    if (failure) onLost(failure);
    else timer = setTimeout(open, AGAIN_MILLISECONDS);
  };
  open();
  return end;
}

/** An EventSource does not say what it was answered. Null: it may ask again. */
async function whyNot(path) {
  try {
    const answer = await fetch(path.replace(/\/events$/, ""));
    return answer.ok ? null : await refusal(answer);
  } catch {
    return null; // a lost line
  }
}

/** What an answer that is no success means; null: it may be over in a moment. */
async function refusal(answer) {
  return PASSING.has(answer.status) ? null : jobFailure(answer.status, await answer.text());
}

/** With the token in a header, where no EventSource can put one: in an address it would end up in logs. */
function streamed(path, token, onJob, onLost) {
  const giveUp = new AbortController();
  void (async () => {
    while (!giveUp.signal.aborted) {
      try {
        const headers = { ...authorised(token), Accept: "text/event-stream" };
        const answer = await fetch(path, { headers, signal: giveUp.signal });
        const failure = answer.ok ? null : await refusal(answer);
        if (failure) return giveUp.signal.aborted ? undefined : void onLost(failure);
        for await (const { event, data } of answer.ok ? events(answer.body) : []) {
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
