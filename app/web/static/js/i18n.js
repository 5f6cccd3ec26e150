/** The page's two languages. Whatever was said by `say` is said again when the language changes. */

import en from "../i18n/en.js";
import zh from "../i18n/zh.js";
import { lasting } from "./storage.js";

const TABLES = { en, zh };
/** What any text may name: where this page came from. */
const HERE = { host: location.host, port: location.port || (location.protocol === "https:" ? "443" : "80") };
const LOCALES = { en: "en", zh: "zh-CN" };
/** What elements say that code has given a text, so that it can be said anew. */
const said = new WeakMap();
const listeners = [];
let current = initial();

function initial() {
  const remembered = lasting.read("language");
  if (remembered in TABLES) return remembered;
  return (navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** The language shown: "en" or "zh". */
export const language = () => current;

/** The text of a key, with {names} replaced by `values`. */
export function t(key, values = {}) {
  const text = TABLES[current][key];
  if (text === undefined) throw new Error(`no text is called ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String({ ...HERE, ...values }[name]));
}

/** Have an element show a text, also after the language has changed. `key` null: nothing. */
export function say(node, key, values = {}) {
  said.set(node, { key, values });
  node.toggleAttribute("data-said", key !== null);
  node.textContent = key === null ? "" : t(key, values);
}

/** Show the page in a language and remember it. */
export function choose(name) {
  current = name;
  lasting.write("language", name);
  translate();
  for (const listener of listeners) listener();
}

/** Call `listener` after each change of language. */
export const onLanguage = (listener) => listeners.push(listener);

/** What index.html and `say` have named, in the current language. */
export function translate() {
  document.documentElement.lang = LOCALES[current];
  document.title = t("page.title");
  for (const node of document.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
  for (const node of document.querySelectorAll("[data-i18n-label]")) {
    node.setAttribute("aria-label", t(node.dataset.i18nLabel));
    if (node.matches("button, a")) node.title = t(node.dataset.i18nLabel);
  }
  for (const node of document.querySelectorAll("[data-i18n-title]")) node.title = t(node.dataset.i18nTitle);
  for (const node of document.querySelectorAll("[data-i18n-placeholder]")) {
    node.placeholder = t(node.dataset.i18nPlaceholder);
  }
  for (const node of document.querySelectorAll("[data-said]")) {
    const { key, values } = said.get(node);
    node.textContent = t(key, values);
  }
}

/** A moment (epoch seconds) as people of the page's language write it. */
export const dateName = (seconds) =>
  new Intl.DateTimeFormat(LOCALES[current], { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

/** A whole number, likewise. */
export const numberName = (number) => new Intl.NumberFormat(LOCALES[current]).format(number);

/** The name of a language (ISO-639 code), as speakers of the page's language call it. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames([LOCALES[current]], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}
