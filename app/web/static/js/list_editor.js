/** A list of words in hand: shown, changed, saved, deleted. What was typed is only lost if the visitor says so. */

import { save } from "./dom.js";
import { Failure, failureOf } from "./failures.js";
import { Finder } from "./finder.js";
import { say } from "./i18n.js";
import { askToDelete, askToLeave, askToOverwrite } from "./list_questions.js";
import { Notice } from "./notice.js";
import { TermField } from "./termfield.js";

const UNNAMEABLE = /[\\/:*?"<>|\p{Cc}]/gu;

/** Says "saved" with the list, "gone" with an id that is no more, "closed", "changed", and "token" (one is needed). */
export class ListEditor extends EventTarget {
  /**
   * @param {HTMLElement} root
   * @param {import("./lists_api.js").ListsApi} api
   */
  constructor(root, api) {
    super();
    const part = (name) => root.querySelector(`.${name}`);
    this.api = api;
    this.form = part("editor-form");
    this.title = part("editor-title");
    this.name = part("name");
    this.id = part("id");
    this.state = part("editor-state");
    this.buttons = Object.fromEntries(["save", "discard", "import", "export", "delete"].map((one) => [one, part(one)]));
    this.notice = new Notice(part("notice"));
    this.field = new TermField(root, api.kind);
    this.finder = new Finder(root, this.field);
    /** What the server has, as it stands in the fields; null: nothing is open. */
    this.base = null;
    /** Settles when what the server has been told is done. */
    this.busy = null;
    this.locked = false;
    this.stored = false; // whether what is shown has just been saved
    this.follow(part);
  }

  follow(part) {
    const on = (name, action) => this.buttons[name].addEventListener("click", action);
    on("discard", () => this.discard());
    on("export", () => this.export());
    on("delete", () => void this.remove());
    part("back").addEventListener("click", () => void this.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      event.preventDefault();
      void this.save();
    });
    this.name.addEventListener("input", () => this.changed());
    for (const type of ["typed", "changed"]) this.field.addEventListener(type, () => this.changed());
  }

  get open() {
    return this.base !== null;
  }

  /** Whether there is something that the server does not have. */
  get unsaved() {
    const { base, field } = this;
    if (!base) return false;
    return this.name.value !== base.name || field.text !== base.text || field.weighted !== base.weighted;
  }

  /** Show a list; null: a new one. @param {import("./lists_api.js").List | null} list */
  show(list) {
    this.form.hidden = false;
    this.notice.close();
    this.take(list);
    this.finder.clear();
    this.stored = false;
    say(this.state, null);
    if (list) this.title.focus();
    else this.name.focus();
  }

  /** Have the fields be what the server has. */
  take(list) {
    this.base = null; // the fields' own events are no changes of the visitor's
    this.name.value = list?.name ?? "";
    this.field.show(list?.terms ?? []);
    const { text, weighted } = this.field;
    this.base = { id: list?.id ?? null, name: this.name.value, text, weighted, updated: list?.updated_at };
    this.id.textContent = list?.id ?? "";
    this.id.parentElement.hidden = !list;
    this.buttons.delete.hidden = !list;
    if (list) {
      say(this.title, null);
      this.title.textContent = list.name;
    } else say(this.title, "lists.new");
    this.changed();
  }

  changed() {
    const { unsaved, locked } = this;
    this.stored &&= !unsaved;
    this.buttons.save.disabled = !unsaved || locked;
    this.buttons.discard.disabled = (!unsaved && Boolean(this.base?.id)) || locked;
    if (unsaved) say(this.state, locked ? "lists.saving" : "lists.unsaved");
    else say(this.state, this.stored ? "lists.saved" : null);
    this.tell("changed", unsaved);
  }

  /** Put a file's lines below those that are there. */
  import(text, fileName) {
    if (!this.name.value.trim() && !this.base.id) this.name.value = fileName.replace(/\.[^.]*$/, "").trim();
    this.field.append(text);
    this.field.settle();
  }

  export() {
    const name = this.name.value.trim().replace(UNNAMEABLE, "_") || this.api.kind.name;
    save(new Blob([this.field.exported()], { type: "text/plain;charset=utf-8" }), `${name}.txt`);
  }

  /** Back to what the server has; a new list is given up. */
  discard() {
    this.notice.close();
    if (!this.base.id) {
      this.shut();
      return;
    }
    this.restore();
  }

  restore() {
    this.name.value = this.base.name;
    this.field.restore(this.base);
  }

  /** Whether the visitor lets go of what is here. */
  async leave() {
    await this.busy;
    this.field.settle();
    if (!this.unsaved) return true;
    const answer = await askToLeave(this.name.value);
    if (answer === "save") return this.save();
    if (answer === "discard") this.restore();
    return answer === "discard";
  }

  async close() {
    if (await this.leave()) this.shut();
  }

  shut() {
    this.base = null;
    this.form.hidden = true;
    this.tell("changed", false);
    this.tell("closed");
  }

  /** Whether it was saved. */
  async save() {
    while (this.busy) await this.busy;
    return this.alone(() => this.store());
  }

  /** One thing after another: while it goes on, nothing is changed. */
  alone(action) {
    this.lock(true);
    this.busy = action().finally(() => {
      this.busy = null;
      this.lock(false);
      // A button that can be pressed no more has lost the focus to nothing.
      if (this.open && document.activeElement === document.body) this.title.focus();
    });
    return this.busy;
  }

  async store() {
    this.field.settle();
    if (!this.base || !this.unsaved) return true;
    const { terms } = this.field;
    if (!this.name.value.trim()) return this.refuse("error.name_needed", this.name);
    if (terms.length === 0) return this.refuse("error.terms_needed", this.field.area);
    this.notice.close();
    try {
      const list = await this.send(this.name.value.trim(), terms);
      if (list === null) return false;
      this.take(list);
      this.stored = true;
      this.tell("saved", list);
      return true;
    } catch (error) {
      this.failed(failureOf(error));
      return false;
    }
  }

  /** @returns {Promise<import("./lists_api.js").List | null>} null: the visitor would rather not */
  async send(name, terms) {
    const { api, base, field } = this;
    if (!base.id) return api.create(name, terms);
    const stored = (await api.all()).find(({ id }) => id === base.id);
    const changed = stored && stored.updated_at !== base.updated;
    if (changed && (await askToOverwrite(name)) !== "overwrite") return null;
    const same = field.text === base.text && field.weighted === base.weighted;
    return api.replace(base.id, name === base.name ? undefined : name, same ? undefined : terms);
  }

  refuse(key, node) {
    this.failed(new Failure(key));
    node.focus();
    return false;
  }

  failed(failure) {
    if (failure.key === "error.list_gone" && this.base?.id) {
      // What is here is all that is left of it: to be saved anew.
      this.tell("gone", this.base.id);
      this.base = { ...this.base, id: null, text: "", weighted: false };
      this.buttons.delete.hidden = true;
      this.id.parentElement.hidden = true;
    }
    if (failure.key === "error.token") this.notice.show(failure, () => this.tell("token"), "lists.to_token");
    else this.notice.show(failure);
  }

  async remove() {
    await this.busy;
    if (!this.base?.id) return;
    const { id, name } = this.base;
    if ((await askToDelete(name)) === "delete") await this.alone(() => this.forget(id));
  }

  async forget(id) {
    try {
      await this.api.remove(id);
    } catch (error) {
      const failure = failureOf(error);
      if (failure.key !== "error.list_gone") {
        this.failed(failure);
        return;
      }
    }
    this.tell("gone", id);
    this.shut();
  }

  lock(locked) {
    this.locked = locked;
    this.name.readOnly = locked;
    this.field.lock(locked);
    for (const name of ["import", "delete"]) this.buttons[name].disabled = locked;
    this.changed();
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
