/** A tab with stored lists of words: all of them on one side, the one in hand on the other. */

import { byId, element } from "./dom.js";
import { failureOf } from "./failures.js";
import { dateName, language, numberName, onLanguage, say, t } from "./i18n.js";
import { ListEditor } from "./list_editor.js";
import { ListsApi } from "./lists_api.js";
import { Notice } from "./notice.js";
import { readText } from "./textfile.js";

/** Says "listed" with the lists, "changed" (whether something is unsaved), and "token" (one is needed). */
export class WordLists extends EventTarget {
  /**
   * @param {HTMLElement} root where they are shown
   * @param {import("./lists_api.js").Kind} kind
   * @param {() => string} token
   */
  constructor(root, kind, token) {
    super();
    root.append(byId("lists-template").content.cloneNode(true));
    for (const [position, box] of root.querySelectorAll(".notice").entries())
      box.id = `${kind.name}-${position === 0 ? "notice" : "editor-notice"}`;
    this.root = root;
    this.api = new ListsApi(kind, token);
    this.notice = new Notice(root.querySelector(".notice"));
    this.editor = new ListEditor(root.querySelector(".editor"), this.api);
    this.rows = root.querySelector(".rows");
    this.state = root.querySelector(".shelf-state");
    this.filter = root.querySelector(".filter");
    /** @type {import("./lists_api.js").Summary[]} */
    this.summaries = [];
    this.opening = 0;
    this.asked = 0;
    this.unlisted = false; // whether the server would not tell
    say(root.querySelector(".shelf-title"), kind.title);
    say(root.querySelector(".shelf-hint"), kind.hint);
    this.follow();
  }

  follow() {
    this.root.querySelector(".new").addEventListener("click", () => void this.begin());
    this.root.querySelector(".import").addEventListener("click", () => byId("text-file").click());
    this.filter.addEventListener("input", () => this.draw());
    onLanguage(() => this.draw());
    const on = (type, action) => this.editor.addEventListener(type, ({ detail }) => action(detail));
    on("saved", ({ terms, ...summary }) => {
      this.put([...this.summaries.filter(({ id }) => id !== summary.id), summary]);
    });
    on("gone", (gone) => this.put(this.summaries.filter(({ id }) => id !== gone)));
    on("closed", () => this.closed());
    on("changed", (unsaved) => this.tell("changed", unsaved));
    on("token", () => this.tell("token"));
  }

  get unsaved() {
    return this.editor.unsaved;
  }

  /** Ask the server which there are. */
  async reload() {
    const number = (this.asked += 1);
    if (this.summaries.length === 0) say(this.state, "lists.loading");
    let failure = null;
    let found = [];
    try {
      found = await this.api.all();
    } catch (error) {
      failure = failureOf(error);
    }
    if (number !== this.asked) return; // somebody asked since, with another token
    if (failure) this.failed(failure, () => void this.reload());
    else if (this.unlisted) this.notice.close(); // but not what it says of something else
    this.unlisted = failure !== null;
    // Where the server was not reached, those that are known are still there.
    if (!failure || failure.key === "error.token") this.put(found);
    else this.draw();
    const { base } = this.editor;
    if (base?.id && !this.unsaved && !failure && !found.some(({ id }) => id === base.id)) this.editor.shut();
  }

  put(summaries) {
    this.asked += 1; // an answer that is still to come is older
    this.summaries = summaries;
    this.draw();
    this.tell("listed", summaries);
  }

  draw() {
    const wanted = this.filter.value.trim().toLowerCase();
    const order = new Intl.Collator(language(), { numeric: true });
    const shown = this.summaries
      .filter(({ name }) => name.toLowerCase().includes(wanted))
      .toSorted((one, other) => order.compare(one.name, other.name));
    this.rows.replaceChildren(...shown.map((summary) => this.row(summary)));
    const none = wanted ? "lists.none_found" : "lists.none";
    say(this.state, shown.length > 0 || !this.notice.box.hidden ? null : none);
  }

  row({ id, name, count, updated_at: updated }) {
    const about = t("lists.row", { count: numberName(count), date: dateName(updated) });
    const texts = [element("b", {}, name), element("span", {}, about)];
    const button = element("button", { type: "button", class: "row" }, ...texts);
    button.dataset.id = id;
    if (id === this.editor.base?.id) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => void this.open(id));
    return element("li", {}, button);
  }

  async open(id) {
    if (id === this.editor.base?.id || !(await this.editor.leave())) return;
    const number = (this.opening += 1);
    try {
      const list = await this.api.get(id);
      if (number === this.opening && !this.unsaved) this.edit(list);
    } catch (error) {
      const failure = failureOf(error);
      if (failure.key === "error.list_gone") this.put(this.summaries.filter((one) => one.id !== id));
      this.failed(failure, () => void this.open(id));
    }
  }

  /** A new list, in the editor only. Whether there is one: the visitor may rather stay. */
  async begin() {
    if (!(await this.editor.leave())) return false;
    this.edit(null);
    return true;
  }

  edit(list) {
    this.opening += 1; // what is still being fetched comes too late
    this.notice.close();
    this.root.toggleAttribute("data-editing", true);
    this.editor.show(list);
    this.draw();
  }

  closed() {
    const { id } = this.rows.querySelector("[aria-current]")?.dataset ?? {};
    this.root.toggleAttribute("data-editing", false);
    this.draw();
    const row = [...this.rows.querySelectorAll("button")].find((one) => one.dataset.id === id);
    (row ?? this.root.querySelector(".new")).focus();
  }

  /** Lines of files: into the list in hand, into a new one where there is none. */
  async import(files) {
    for (const file of files) {
      try {
        const text = await readText(file);
        await this.editor.busy;
        if (!this.editor.open) this.edit(null);
        this.editor.import(text, file.name);
      } catch (error) {
        if (this.editor.open) this.editor.failed(failureOf(error));
        else this.failed(failureOf(error));
      }
    }
  }

  failed(failure, again = null) {
    if (failure.key === "error.token") this.notice.show(failure, () => this.tell("token"), "lists.to_token");
    else this.notice.show(failure, failure.key === "error.list_gone" ? null : again);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
