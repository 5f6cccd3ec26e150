/** The page put together. */

import { Actions } from "./actions.js";
import { asking as questioned } from "./dialog.js";
import { Dock } from "./dock.js";
import { byId } from "./dom.js";
import { acceptDrops } from "./drops.js";
import { Failure, failureOf } from "./failures.js";
import { Files } from "./files.js";
import { choose, language, say, translate } from "./i18n.js";
import { Jobs } from "./jobs.js";
import { WordLists } from "./lists.js";
import { SENSITIVE, VOCABULARIES } from "./lists_api.js";
import { Live } from "./live.js";
import { Microphone, mayListen } from "./microphone.js";
import { Notice } from "./notice.js";
import { Playback } from "./playback.js";
import { Recording } from "./recording.js";
import { serverState } from "./server.js";
import { Settings } from "./settings.js";
import { Tabs } from "./tabs.js";
import { Transcript } from "./transcript.js";
import { Upload, sentences } from "./upload.js";
import { View } from "./view.js";

const ASK_AGAIN_MILLISECONDS = 3000;
const SERVER_STATES = {
  ready: "server.ready",
  loading: "server.loading",
  locked: "server.locked",
  away: "server.away",
};

const transcript = new Transcript();
const recording = new Recording();
const live = new Live(transcript, recording);
const view = new View(transcript);
const notice = new Notice(byId("notice"));
const files = new Files();
const dock = new Dock(() => live.seconds);
const settings = new Settings();
const tabs = new Tabs(byId("tabs"));
const lists = Object.fromEntries(
  [VOCABULARIES, SENSITIVE].map((kind) => [
    kind.name,
    new WordLists(byId(`view-${kind.name}`), kind, () => settings.token),
  ]),
);
const jobs = new Jobs(() => settings.token);
let upload = null;

new Actions(transcript, recording, () => {
  if (live.busy || upload) return;
  recording.clear();
  transcript.clear();
  dock.clear();
  notice.close();
});

/** Begin a take; `again` makes a source like this one. */
async function listen(again) {
  if (live.busy || upload) return;
  notice.close();
  view.follow();
  const source = again();
  let failure = null;
  const remember = ({ detail }) => (failure ??= detail);
  live.addEventListener("failure", remember);
  await live.run(settings.protocol, settings.options, source);
  live.removeEventListener("failure", remember);
  if (failure) notice.show(failure, () => void listen(again));
  if (source.kind === "microphone") void settings.fillMicrophones(); // now they have names
}

async function send(file) {
  if (live.busy || upload) return;
  notice.close();
  view.follow();
  enter("uploading");
  files.progress(0);
  upload = new Upload(file, settings.options, ({ sent, total }) => files.progress(sent / total));
  try {
    const answer = await upload.run();
    if (answer) put(file, answer);
  } catch (error) {
    notice.show(failureOf(error), () => void send(file));
  } finally {
    upload = null;
    files.progress(null);
    enter("idle");
  }
}

function put(file, answer) {
  const take = transcript.begin({ kind: "upload", name: file.name, protocol: null, model: answer.model });
  for (const sentence of sentences(answer)) transcript.final(take, sentence);
  transcript.end(take, answer.duration);
  files.close();
  if (transcript.finals().every((one) => one.take !== take)) notice.show(new Failure("error.no_speech"));
}

function enter(state) {
  dock.enter(state);
  files.lock(state !== "idle");
  keepAwake(state === "listening");
}

/** The record button, and the space bar: begin, or end what is going on. */
function toggle() {
  if (upload) upload.abort();
  else if (live.busy) void live.stop();
  else void listen(() => new Microphone(settings.microphone));
}

live.addEventListener("state", ({ detail }) => enter(detail));
live.addEventListener("frame", ({ detail }) => dock.frame(detail, detail.length / live.rate));
live.addEventListener("delay", ({ detail }) => dock.delay(detail));
byId("record").addEventListener("click", toggle);
files.addEventListener("live", ({ detail }) => void listen(() => new Playback(detail, settings.playback)));
files.addEventListener("upload", ({ detail }) => void send(detail));

document.addEventListener("keydown", (event) => {
  if (tabs.current !== "live" || questioned()) return;
  const typing = event.target.closest("input, select, textarea, button, summary, a");
  if (event.code !== "Space" || typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  toggle();
});

/** A phone that darkens its screen stops the microphone, too. One wish after another, as each takes its time. */
let awake = Promise.resolve(null);
function keepAwake(wanted) {
  awake = awake.then(async (lock) => {
    if (wanted) return (lock?.released ? null : lock) ?? (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    await lock?.release().catch(() => {});
    return null;
  });
}

/** A page that is not seen loses its wish. */
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && live.busy) keepAwake(true);
});

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    choose(button.dataset.language);
    showLanguage();
  });
}

function showLanguage() {
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language()));
  }
}

/** Where there is no room beside the transcript, the settings are in front of it. */
function showSettings(open) {
  document.body.toggleAttribute("data-settings", open);
  byId("open-settings").setAttribute("aria-expanded", String(open));
}

for (const id of ["open-settings", "close-settings"]) {
  byId(id).addEventListener("click", () => {
    const open = id === "open-settings";
    showSettings(open);
    byId(open ? "close-settings" : "open-settings").focus();
  });
}

// --- the other tabs

/** To where the token is typed. */
function toToken() {
  tabs.show("live");
  showSettings(true);
  byId("token").focus();
}

for (const [name, one] of Object.entries(lists)) {
  one.addEventListener("changed", ({ detail }) => tabs.mark(name, detail));
  one.addEventListener("token", toToken);
}
jobs.addEventListener("changed", ({ detail }) => tabs.mark("jobs", detail));
jobs.addEventListener("token", toToken);
lists.vocabularies.addEventListener("listed", ({ detail }) => {
  settings.fillVocabularies(detail);
  jobs.form.fill();
});
tabs.addEventListener("shown", ({ detail: name }) => {
  say(byId("drop-text"), name in lists ? "lists.drop" : "file.drop");
  jobs.show(name === "jobs");
  if (name === "live") view.seen();
  else if (name in lists) void lists[name].reload();
});
acceptDrops((dropped) => {
  if (questioned()) return;
  if (tabs.current === "live") files.take(dropped[0]);
  else if (tabs.current === "jobs") jobs.take(dropped);
  else void lists[tabs.current].import(dropped);
});
byId("text-file").addEventListener("change", ({ target }) => {
  void lists[tabs.current]?.import([...target.files]);
  target.value = ""; // so that the same one can be chosen again
});
window.addEventListener("beforeunload", (event) => {
  if (Object.values(lists).some(({ unsaved }) => unsaved)) event.preventDefault();
});

/** Ask the server how it is, again and again until it is ready. */
let asking = 0;
async function ask() {
  const number = (asking += 1);
  const { state, models, reason, speakers } = await serverState(settings.token);
  if (number !== asking) return; // somebody asked since, with another token
  byId("server").dataset.state = state;
  byId("server").title = reason;
  say(byId("server-state"), SERVER_STATES[state]);
  settings.fillModels(models);
  jobs.form.fill();
  settings.offerSpeakers(speakers);
  jobs.form.offerSpeakers(speakers);
  if (state === "ready" || state === "locked") void lists.vocabularies.reload();
  if (state === "loading" || state === "away") setTimeout(() => void ask(), ASK_AGAIN_MILLISECONDS);
}

settings.addEventListener("token", () => void ask());
translate();
tabs.start();
showLanguage();
byId("insecure").hidden = mayListen();
void ask();
document.body.dataset.ready = "";
