/** A menu that closes on a choice, on Escape and on a click elsewhere. */

/** @param {HTMLDetailsElement} menu */
export function closing(menu) {
  menu.addEventListener("click", ({ target }) => {
    if (target.closest("button")) menu.open = false;
  });
  menu.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("click", ({ target }) => {
    if (!menu.contains(target)) menu.open = false;
  });
}
