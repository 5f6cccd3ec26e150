/** What the server says about itself: whether it is ready, and which models it has. */

import { answerFailure } from "./failures.js";

/**
 * @typedef {{state: "ready" | "loading" | "locked" | "away", models: string[], reason: string}} Models
 * @typedef {Models & {speakers: boolean}} ServerState speakers: whether it tells them apart
 * @returns {Promise<ServerState>}
 */
export async function serverState(token) {
  const [models, speakers] = await Promise.all([served(token), tellsSpeakers()]);
  return { ...models, speakers };
}

async function tellsSpeakers() {
  try {
    const { speakers } = await (await fetch("/health")).json();
    return speakers === true;
  } catch {
    return false;
  }
}

/** @returns {Promise<Models>} */
async function served(token) {
  try {
    const health = await fetch("/health/ready");
    const { status, reason } = await health.json();
    if (status !== "ready") return { state: "loading", models: [], reason: reason ?? "" };
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch("/v1/models", { headers });
    if (answer.ok) return { state: "ready", models: (await answer.json()).data.map(({ id }) => id), reason: "" };
    const failure = answerFailure(answer.status, await answer.text());
    return { state: failure.key === "error.token" ? "locked" : "away", models: [], reason: failure.detail };
  } catch {
    return { state: "away", models: [], reason: "" };
  }
}
