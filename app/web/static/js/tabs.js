/** The page's tabs: one view is shown, the others keep what is in them. */

/** Says "shown" with the name of the tab. */
export class Tabs extends EventTarget {
  /** @param {HTMLElement} list has the tabs; `tab-NAME` shows what `view-NAME` is */
  constructor(list) {
    super();
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    list.addEventListener("click", ({ target }) => {
      const tab = target.closest("[role=tab]");
      if (tab) this.show(nameOf(tab));
    });
    list.addEventListener("keydown", (event) => this.pressed(event));
    window.addEventListener("hashchange", () => this.show(this.addressed()));
  }

  /** Show the tab that the page's address names. */
  start() {
    this.show(this.addressed());
  }

  addressed() {
    const named = location.hash.slice(1);
    return this.tabs.map(nameOf).find((name) => name === named) ?? nameOf(this.tabs[0]);
  }

  show(name) {
    for (const tab of this.tabs) {
      const chosen = nameOf(tab) === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (this.current === name) return;
    this.current = name;
    document.body.dataset.tab = name;
    const first = name === nameOf(this.tabs[0]);
    history.replaceState(null, "", first ? location.pathname + location.search : `#${name}`);
    this.dispatchEvent(new CustomEvent("shown", { detail: name }));
  }

  /** The tab key goes into the view; arrows go from tab to tab. */
  pressed(event) {
    const at = this.tabs.findIndex((tab) => tab === event.target);
    const last = this.tabs.length - 1;
    const to = { ArrowLeft: at > 0 ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.tabs[to].focus();
    this.show(nameOf(this.tabs[to]));
  }

  /** Mark a tab in which something is not saved. */
  mark(name, unsaved) {
    this.tabs.find((tab) => nameOf(tab) === name).toggleAttribute("data-unsaved", unsaved);
  }
}

const nameOf = (tab) => tab.id.replace("tab-", "");
