/** Files that are dropped on the page, anywhere. */

/** @param {(files: File[]) => void} take */
export function acceptDrops(take) {
  let depth = 0;
  /** Every element that is entered is left again; only 0 means that the page was. */
  const over = (change) => {
    depth = Math.max(0, depth + change);
    document.body.toggleAttribute("data-dropping", depth > 0);
  };
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  const on = (name, action) =>
    document.addEventListener(name, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      action(event);
    });
  on("dragenter", () => over(1));
  on("dragleave", () => over(-1));
  on("dragover", () => {});
  on("drop", (event) => {
    over(-depth);
    if (event.dataTransfer.files.length > 0) take([...event.dataTransfer.files]);
  });
}
