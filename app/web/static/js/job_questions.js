/** What is asked before a job is ended or lost. Each resolves with the answer; null is none. */

import { ask } from "./dialog.js";

/** cancel or stay. */
export const askToCancel = (name) =>
  ask("jobs.cancel_title", "jobs.cancel_text", { name }, [
    ["cancel", "jobs.cancel"],
    ["stay", "jobs.stay"],
  ]);

/** delete or stay. */
export const askToDeleteJob = (name) =>
  ask("jobs.delete_title", "jobs.delete_text", { name }, [
    ["delete", "jobs.delete"],
    ["stay", "jobs.stay"],
  ]);

/** discard or stay. */
export const askToDiscard = (name) =>
  ask("jobs.discard_title", "jobs.discard_text", { name }, [
    ["discard", "jobs.discard"],
    ["stay", "jobs.stay"],
  ]);
