/** Finding a term among thousands: the lines that have it, each a button that goes there. */

import { element } from "./dom.js";
import { say } from "./i18n.js";

const PAUSE_MILLISECONDS = 120;
const MOST_SHOWN = 50;

export class Finder {
  /**
   * @param {HTMLElement} root
   * @param {import("./termfield.js").TermField} field
   */
  constructor(root, field) {
    this.field = field;
    this.input = root.querySelector(".find");
    this.told = root.querySelector(".found-count");
    this.list = root.querySelector(".found");
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.find(), PAUSE_MILLISECONDS);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // it is no wish to save
      this.find();
      this.list.querySelector("button")?.click();
    });
    field.addEventListener("changed", () => this.find());
  }

  clear() {
    this.input.value = "";
    this.find();
  }

  find() {
    clearTimeout(this.timer);
    const wanted = this.input.value.trim().toLowerCase();
    const lines = wanted ? this.field.text.split("\n") : [];
    const found = lines.flatMap((line, number) => (line.toLowerCase().includes(wanted) ? [{ line, number }] : []));
    this.list.replaceChildren(...found.slice(0, MOST_SHOWN).map(({ line, number }) => this.row(line, number)));
    say(this.told, wanted ? "lists.found" : null, { count: found.length });
  }

  row(line, number) {
    const button = element("button", { type: "button" }, line.trim());
    button.addEventListener("click", () => this.go(number));
    return element("li", {}, button);
  }

  /** Select a line, and have it in view. */
  go(number) {
    const { area } = this.field;
    const lines = area.value.split("\n");
    if (number >= lines.length) return;
    const start = lines.slice(0, number).reduce((sum, line) => sum + line.length + 1, 0);
    area.focus({ preventScroll: true });
    area.setSelectionRange(start, start + lines[number].length);
    const height = Number.parseFloat(getComputedStyle(area).lineHeight);
    area.scrollTop = number * height - area.clientHeight / 3;
    area.scrollLeft = 0;
    area.scrollIntoView({ block: "nearest" });
  }
}
