/** Questions that have to be answered before anything else. */

import { element } from "./dom.js";
import { say } from "./i18n.js";

/** Whether a question waits for its answer. */
export const asking = () => document.querySelector("dialog[open]") !== null;

/**
 * Ask. The last answer is the safe one: it has the focus.
 * @param {string} title key of the question
 * @param {string} text key of what is to be known about it
 * @param {Record<string, string>} values what both may name
 * @param {[string, string][]} answers what is resolved to, and the key of the button's text
 * @returns {Promise<string | null>} null: nothing was chosen (Escape)
 */
export function ask(title, text, values, answers) {
  if (asking()) return Promise.resolve(null);
  const dialog = shown(title, text, values);
  const buttons = answers.map(([answer, key]) => {
    const button = element("button", { type: "button", class: "small", "data-answer": answer });
    say(button, key);
    button.addEventListener("click", () => dialog.close(answer));
    return button;
  });
  dialog.append(element("div", { class: "dialog-answers" }, ...buttons));
  dialog.showModal();
  buttons.at(-1).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
  });
}

/** Each question has a dialog of its own: that one has closed is told late, when the next may be open. */
function shown(title, text, values) {
  for (const closed of document.querySelectorAll("dialog")) closed.remove();
  const head = element("h2", { id: "dialog-title" });
  const body = element("p", { id: "dialog-text" });
  say(head, title, values);
  say(body, text, values);
  const names = { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-text" };
  const dialog = element("dialog", { class: "dialog", ...names }, head, body);
  document.body.append(dialog);
  return dialog;
}
