/** What went wrong, with what to do, above what it is about; it stays until somebody closes it. */

import { element, icon } from "./dom.js";
import { say } from "./i18n.js";

export class Notice {
  /** @param {HTMLElement} box empty; its parts are named after it */
  constructor(box) {
    const part = (tag, name, more = {}) => element(tag, { id: `${box.id}-${name}`, ...more });
    this.box = box;
    this.title = part("h2", "title");
    this.steps = part("ul", "steps");
    this.detail = part("p", "detail", { class: "detail" });
    this.again = part("button", "again", { type: "button", class: "small" });
    say(this.again, "action.again");
    const shut = part("button", "close", { type: "button", class: "round", "data-i18n-label": "action.close" });
    shut.append(icon("close"));
    box.append(icon("warning"), element("div", {}, this.title, this.steps, this.detail, this.again), shut);
    this.again.addEventListener("click", () => {
      const { retry } = this;
      this.close();
      retry?.();
    });
    shut.addEventListener("click", () => this.close());
  }

  /**
   * @param {import("./failures.js").Failure} failure
   * @param {(() => void) | null} retry what to do if the visitor wants to try again
   * @param {string} wish key of what that is called
   */
  show(failure, retry = null, wish = "action.again") {
    this.retry = retry;
    this.again.hidden = retry === null;
    say(this.again, wish);
    say(this.title, failure.key);
    this.steps.replaceChildren(
      ...failure.help.map((key) => {
        const step = element("li");
        say(step, key);
        return step;
      }),
    );
    this.detail.textContent = failure.detail;
    this.detail.hidden = failure.detail === "";
    this.box.hidden = false;
  }

  close() {
    this.box.hidden = true;
  }
}
