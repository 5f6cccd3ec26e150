/** The transcript on the page. Everything that was said is put in as text, never as markup. */

import { byId, element } from "./dom.js";
import { clock } from "./times.js";
import { pieces } from "./words.js";

const NEAR_END = 64;
const COLOURS = 6;
/** Signs of scripts without italics. */
const UPRIGHT = /[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff]/;

export class View {
  /** @param {import("./transcript.js").Transcript} transcript */
  constructor(transcript) {
    this.transcript = transcript;
    this.scroller = byId("scroller");
    this.list = byId("sentences");
    this.latest = byId("latest");
    this.announcer = byId("announcer");
    this.nodes = new Map();
    this.speakers = new Map();
    this.following = true;
    this.top = 0;
    transcript.addEventListener("changed", ({ detail }) => this.show(detail));
    transcript.addEventListener("removed", ({ detail }) => this.drop(detail));
    transcript.addEventListener("cleared", () => this.clear());
    this.scroller.addEventListener("scroll", () => this.scrolled());
    this.latest.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.keepUp()).observe(this.list);
  }

  /** The view was hidden and is seen again: where it was at the end, it is there now. */
  seen() {
    if (this.following) this.follow();
  }

  /** Go to the end and stay there. */
  follow() {
    this.following = true;
    this.top = 0;
    this.keepUp();
  }

  get atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  scrolled() {
    this.following = this.atEnd;
    this.latest.hidden = this.following;
  }

  keepUp() {
    // Browsers tell of scrolling only later: who has moved up since must not be pulled down again before that.
    if (this.scroller.scrollTop < this.top && !this.atEnd) this.following = false;
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.top = this.scroller.scrollTop;
    this.latest.hidden = this.following;
  }

  show(sentence) {
    let node = this.nodes.get(sentence.key);
    if (!node) {
      node = this.row(sentence);
      this.nodes.set(sentence.key, node);
      this.list.append(node.row);
    }
    node.time.textContent = clock(sentence.start);
    if (sentence.final) this.settle(node, sentence);
    else this.grow(node, sentence.text);
    this.keepUp();
  }

  row(sentence) {
    const time = element("time", { class: "moment" });
    const speaker = element("span", { class: "speaker", hidden: "" });
    const text = element("p", { class: "said" });
    const row = element("li", { class: "sentence pending" }, time, element("div", { class: "column" }, speaker, text));
    const isFirst =
      !this.list.lastElementChild || this.list.lastElementChild.dataset.take !== String(sentence.take.number);
    row.dataset.take = String(sentence.take.number);
    if (isFirst && this.list.childElementCount > 0) row.classList.add("opens");
    return { row, time, speaker, text, shown: "" };
  }

  /** Of a text that still changes, what is new comes in softly. */
  grow(node, text) {
    let same = 0;
    while (same < Math.min(text.length, node.shown.length) && text[same] === node.shown[same]) same += 1;
    node.text.replaceChildren(text.slice(0, same), element("span", { class: "fresh" }, text.slice(same)));
    node.row.classList.toggle("upright", UPRIGHT.test(text));
    node.shown = text;
  }

  settle(node, sentence) {
    node.row.classList.remove("pending");
    node.text.replaceChildren(...pieces(sentence.text, sentence.words).map(spoken));
    if (sentence.speaker) {
      node.speaker.hidden = false;
      node.speaker.textContent = sentence.speaker;
      node.speaker.dataset.colour = String(this.colour(sentence.speaker));
    }
    this.announcer.textContent = sentence.text;
  }

  colour(speaker) {
    if (!this.speakers.has(speaker)) this.speakers.set(speaker, this.speakers.size % COLOURS);
    return this.speakers.get(speaker);
  }

  drop(sentence) {
    this.nodes.get(sentence.key)?.row.remove();
    this.nodes.delete(sentence.key);
  }

  clear() {
    this.list.replaceChildren();
    this.announcer.textContent = "";
    this.nodes.clear();
    this.speakers.clear();
    this.follow();
  }
}

function spoken({ text, start, end }) {
  if (start === undefined) return text;
  const word = element("span", { class: "word" }, text);
  word.dataset.times = `${start.toFixed(2)} – ${end.toFixed(2)} s`;
  return word;
}
