/** The visitor's clipboard. */

import { element } from "./dom.js";
import { say } from "./i18n.js";

const TOLD_MILLISECONDS = 1800;

/** Put a text there, and tell on `label` for a moment whether it is. */
export async function copy(text, label) {
  const done = await copyText(text);
  say(label, done ? "action.copied" : "action.copy_failed");
  setTimeout(() => say(label, "action.copy"), TOLD_MILLISECONDS);
}

/** Pages that are not secure have no clipboard; what they select can still be copied. */
async function copyText(text) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const area = element("textarea", { class: "out-of-sight" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
