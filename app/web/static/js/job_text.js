/** The text of a job: what is there so far grows at its end, and gives way to the result. As text, never as markup. */

import { element } from "./dom.js";
import { clock } from "./times.js";

const NEAR_END = 64;
const COLOURS = 6;

export class JobText {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller in which it lies
   */
  constructor(list, scroller) {
    this.list = list;
    this.scroller = scroller;
    this.clear();
  }

  /** @param {{start: number, text: string, speaker?: string}[]} segments all there are, by time */
  show(segments) {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const followed = this.grown && scrollHeight - scrollTop - clientHeight < NEAR_END;
    for (const [position, { start, text, speaker }] of segments.entries()) {
      const said = `${start}|${speaker ?? ""}|${text}`;
      if (this.said[position] === said) continue; // what stays is left alone, and what somebody has marked in it
      const row = this.row(start, text.trim(), speaker);
      if (position < this.said.length) this.list.children[position].replaceWith(row);
      else this.list.append(row);
      this.said[position] = said;
    }
    while (this.said.length > segments.length) {
      this.list.lastElementChild.remove();
      this.said.pop();
    }
    if (followed) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.grown = segments.length > 0;
  }

  row(start, text, speaker) {
    const column = element("div", { class: "column" });
    if (speaker) {
      const colour = String(this.colour(speaker));
      column.append(element("span", { class: "speaker", "data-colour": colour }, speaker));
    }
    column.append(element("p", { class: "said" }, text));
    return element("li", { class: "sentence" }, element("time", { class: "moment" }, clock(start)), column);
  }

  colour(speaker) {
    if (!this.speakers.has(speaker)) this.speakers.set(speaker, this.speakers.size % COLOURS);
    return this.speakers.get(speaker);
  }

  clear() {
    this.list.replaceChildren();
    /** @type {string[]} what each row shows */
    this.said = [];
    this.speakers = new Map();
    this.grown = false;
  }
}
