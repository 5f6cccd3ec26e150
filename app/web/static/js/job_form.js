/** What is asked for: recordings, or the address of one, and how they are to be recognised. */

import { byId, element, icon } from "./dom.js";
import { Failure } from "./failures.js";
import { onLanguage, t } from "./i18n.js";
import { lasting } from "./storage.js";
import { size } from "./times.js";

const CHOICES = ["model", "language", "vocabulary"];
const SWITCHES = ["punctuation", "itn", "words", "speakers"];
const REMEMBERED = [...SWITCHES, "language", "hotwords"];

/** Says "asked" with {files, address, fields}, "refused" with a Failure. */
export class JobForm extends EventTarget {
  constructor() {
    super();
    this.files = [];
    this.form = byId("job-form");
    this.fields = Object.fromEntries([...CHOICES, ...SWITCHES, "hotwords"].map((name) => [name, byId(`job-${name}`)]));
    this.restore();
    byId("job-choose").addEventListener("click", () => byId("job-file").click());
    byId("job-file").addEventListener("change", ({ target }) => {
      this.take([...target.files]);
      target.value = ""; // so that the same one can be chosen again
    });
    this.form.addEventListener("change", () => this.keep());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    onLanguage(() => this.fill()); // the settings have done so before
  }

  /** Offer what the settings offer, which know what the server has. */
  fill() {
    for (const name of CHOICES) {
      const select = this.fields[name];
      const wanted = select.value || this.kept?.[name] || "";
      select.replaceChildren(...[...byId(name).options].map(({ value, text }) => element("option", { value }, text)));
      if ([...select.options].some(({ value }) => value === wanted)) select.value = wanted;
    }
  }

  /** @param {boolean} can whether the server tells speakers apart */
  offerSpeakers(can) {
    this.fields.speakers.disabled = !can;
  }

  take(files) {
    this.files.push(...files.filter((file) => !this.files.some((one) => one.name === file.name && one.size === file.size)));
    this.draw();
    byId("job-send").focus();
  }

  draw() {
    byId("job-files").replaceChildren(...this.files.map((file) => this.row(file)));
  }

  row(file) {
    const label = t("jobs.unchoose", { name: file.name });
    const drop = element("button", { type: "button", class: "round", "aria-label": label, title: label }, icon("close"));
    drop.addEventListener("click", () => {
      this.files = this.files.filter((one) => one !== file);
      this.draw();
      byId("job-choose").focus();
    });
    return element("li", {}, element("b", {}, file.name), element("span", {}, size(file.size)), drop);
  }

  ask() {
    const address = byId("job-address").value.trim();
    if (this.files.length === 0 && !address) {
      this.tell("refused", new Failure("error.recording_needed"));
      return;
    }
    const { files } = this;
    this.files = [];
    this.draw();
    this.tell("asked", { files, address, fields: this.wishes() });
  }

  /** It was taken: what was typed is not wanted again. */
  taken() {
    byId("job-address").value = "";
  }

  /** As /v1/jobs takes them. */
  wishes() {
    const { model, language, vocabulary, hotwords, punctuation, itn, words, speakers } = this.fields;
    const terms = hotwords.value
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
    const named = { model: model.value, language: language.value, vocabulary_id: vocabulary.value };
    return {
      ...Object.fromEntries(Object.entries(named).filter(([, value]) => value)),
      ...(terms.length > 0 && { hotwords: terms.join("\n") }),
      response_format: "verbose_json",
      punctuation: String(punctuation.checked),
      itn: String(itn.checked),
      enable_speaker_diarization: String(speakers.checked && !speakers.disabled),
      "timestamp_granularities[]": words.checked ? ["segment", "word"] : ["segment"],
    };
  }

  restore() {
    this.kept = JSON.parse(lasting.read("job-settings") ?? "{}");
    for (const name of SWITCHES) if (name in this.kept) this.fields[name].checked = this.kept[name];
    this.fields.hotwords.value = this.kept.hotwords ?? "";
  }

  keep() {
    const valueOf = (field) => (field.type === "checkbox" ? field.checked : field.value);
    const values = REMEMBERED.map((name) => [name, valueOf(this.fields[name])]);
    lasting.write("job-settings", JSON.stringify(Object.fromEntries(values)));
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
