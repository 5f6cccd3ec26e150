/** How a job is, in words. */

import { dateName, say, t } from "./i18n.js";
import { ended } from "./jobs_api.js";
import { clock } from "./times.js";

const STATES = {
  queued: "jobs.queued",
  running: "jobs.running",
  succeeded: "jobs.succeeded",
  failed: "jobs.failed",
  cancelled: "jobs.cancelled",
};
const STEPS = {
  fetch: "jobs.fetch",
  decode: "jobs.decode",
  detect: "jobs.detect",
  recognise: "jobs.recognise",
  speakers: "jobs.tell_speakers",
};

/** What it is called. */
export const titleOf = (job) => job.name || job.id;

/** Its state, on an element. Only what changes is told, so that nobody is read the same again. */
export function tellState(node, job) {
  const key = job.state === "running" ? (STEPS[job.progress.step] ?? STATES.running) : STATES[job.state];
  if (node.dataset.key === key && node.textContent === t(key)) return;
  node.dataset.key = key;
  say(node, key);
}

/** How far it is, on an element. */
export function tellNumbers(node, job) {
  node.textContent = numbers(job);
}

function numbers({ progress, ...job }) {
  const { percent, seconds_done: done, seconds_total: total, seconds_left: left } = progress;
  if (ended(job)) return total ? clock(total) : "";
  const parts = [];
  if (job.state === "running" || percent > 0) parts.push(t("jobs.percent", { percent: Math.floor(percent) }));
  if (total) parts.push(t("jobs.sound", { done: clock(done), total: clock(total) }));
  if (left !== null && left !== undefined) parts.push(t("jobs.left", { time: clock(left) }));
  return parts.join(" · ");
}

/** A line about it among others. */
export function summary(job) {
  const { percent, seconds_left: left } = job.progress;
  const parts = [t(STATES[job.state])];
  if (job.state === "running") parts.push(t("jobs.percent", { percent: Math.floor(percent) }));
  if (job.state === "running" && left !== null && left !== undefined) parts.push(t("jobs.left", { time: clock(left) }));
  if (job.state !== "running") parts.push(dateName(job.created_at));
  return parts.join(" · ");
}
