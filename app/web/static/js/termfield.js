/** The field with a list's terms: how many there are, and whether the numbers in it are weights. */

import { say } from "./i18n.js";
import { counted, drawn, importedLines, termsOf } from "./termtext.js";

const PAUSE_MILLISECONDS = 150; // ten thousand lines are not counted at every key

/** Says "changed". */
export class TermField extends EventTarget {
  /**
   * @param {HTMLElement} root
   * @param {import("./lists_api.js").Kind} kind
   */
  constructor(root, kind) {
    super();
    this.kind = kind;
    this.area = root.querySelector(".terms");
    this.switch = root.querySelector(".weighted");
    this.told = root.querySelector(".count");
    root.querySelector(".weighted-switch").hidden = !kind.weights;
    say(root.querySelector(".terms-label"), kind.terms);
    this.area.addEventListener("input", () => this.typed());
    this.switch.addEventListener("change", () => {
      this.decided = true;
      this.changed();
    });
  }

  get text() {
    return this.area.value;
  }

  get weighted() {
    return this.switch.checked;
  }

  /** @returns {import("./termtext.js").Term[]} */
  get terms() {
    return termsOf(this.text, this.weighted);
  }

  /** Show a stored list's terms. @param {import("./termtext.js").Term[]} terms */
  show(terms) {
    const { text, weighted } = drawn(terms, this.kind.weights);
    if (text !== this.text) this.area.value = text;
    this.switch.checked = weighted;
    this.decided = weighted; // who adds a line to weights without one does not turn them into terms
    this.changed();
  }

  /** Back to what was shown once. */
  restore({ text, weighted }) {
    this.area.value = text;
    this.switch.checked = weighted;
    this.decided = weighted;
    this.changed();
  }

  /** Add a file's lines below those that are there. */
  append(text) {
    const lines = importedLines(text);
    const before = this.text.trimEnd();
    this.area.value = (before ? [before, ...lines] : lines).join("\n");
    this.typed();
  }

  /** As a file that the server and this page read as what it is. */
  exported() {
    return `${drawn(this.terms, this.kind.weights).text}\n`;
  }

  lock(locked) {
    this.area.readOnly = locked;
    this.switch.disabled = locked;
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.changed(), PAUSE_MILLISECONDS);
    this.dispatchEvent(new CustomEvent("typed"));
  }

  /** Count what is there, if that was put off. */
  settle() {
    this.changed();
  }

  changed() {
    clearTimeout(this.timer);
    const { lines, numbered } = counted(this.text);
    // As the server reads files: weights, if every line has one. Unless the visitor has decided.
    if (this.kind.weights && !this.decided) this.switch.checked = lines > 0 && lines === numbered;
    const unclear = this.kind.weights && !this.weighted && !this.decided && numbered > 0;
    say(this.told, unclear ? "lists.count_unclear" : "lists.count", { count: lines, numbered });
    this.dispatchEvent(new CustomEvent("changed"));
  }
}
