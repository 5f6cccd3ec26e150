/** What is asked before something of a list is lost. Each resolves with the answer; null is none. */

import { ask } from "./dialog.js";
import { t } from "./i18n.js";

const STAY = ["stay", "lists.stay"];
const named = (name) => ({ name: name.trim() || t("lists.new") });

/** discard, save or stay. */
export const askToLeave = (name) =>
  ask("lists.leave_title", "lists.leave_text", named(name), [
    ["discard", "lists.discard"],
    ["save", "lists.save"],
    STAY,
  ]);

/** overwrite or stay. */
export const askToOverwrite = (name) =>
  ask("lists.changed_title", "lists.changed_text", named(name), [["overwrite", "lists.overwrite"], STAY]);

/** delete or stay. */
export const askToDelete = (name) =>
  ask("lists.delete_title", "lists.delete_text", named(name), [["delete", "lists.delete"], STAY]);
