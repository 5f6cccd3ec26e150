/** A recording of the visitor's: chosen or dropped, then streamed live or uploaded. */

import { byId } from "./dom.js";
import { say } from "./i18n.js";
import { size } from "./times.js";

/** Says "live" and "upload", each with the file. */
export class Files extends EventTarget {
  constructor() {
    super();
    this.file = null;
    byId("file").addEventListener("change", ({ target }) => {
      if (target.files.length > 0) this.take(target.files[0]);
      target.value = ""; // so that the same one can be chosen again
    });
    for (const id of ["choose", "choose-empty"]) byId(id).addEventListener("click", () => byId("file").click());
    byId("file-live").addEventListener("click", () => this.tell("live"));
    byId("file-upload").addEventListener("click", () => this.tell("upload"));
    byId("file-close").addEventListener("click", () => this.close());
  }

  take(file) {
    this.file = file;
    byId("file-name").textContent = file.name;
    byId("file-size").textContent = size(file.size);
    this.progress(null);
    byId("file-card").hidden = false;
    byId("file-live").focus();
  }

  close() {
    this.file = null;
    byId("file-card").hidden = true;
  }

  /** While something goes on, nothing else can be begun. */
  lock(locked) {
    for (const id of ["file-live", "file-upload", "file-close", "choose", "choose-empty"]) byId(id).disabled = locked;
  }

  /** How far an upload has come: 0 to 1, 1 is sent and being recognised; null is none. */
  progress(share) {
    const bar = byId("file-progress");
    byId("file-doing").hidden = share === null;
    if (share === null) return;
    if (share < 1) bar.value = share;
    else bar.removeAttribute("value"); // nobody knows how long
    say(byId("file-state"), share < 1 ? "upload.sending" : "upload.recognising", { percent: Math.round(share * 100) });
  }

  tell(type) {
    if (this.file) this.dispatchEvent(new CustomEvent(type, { detail: this.file }));
  }
}
