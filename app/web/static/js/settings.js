/** The settings beside the transcript: read as options, remembered, and greyed where a protocol has no use for them. */

import { byId, element } from "./dom.js";
import { languageName, onLanguage, say, t } from "./i18n.js";
import { microphones } from "./microphone.js";
import { protocols } from "./protocols/index.js";
import { lasting, session } from "./storage.js";

/**
 * @typedef {object} Options
 * @property {string} model "" is the server's default
 * @property {string} language ISO-639 code; "" lets the model find out
 * @property {string[]} hotwords
 * @property {string} vocabulary id of a stored one; "" is none
 * @property {boolean} punctuation
 * @property {boolean} itn numbers in digits
 * @property {boolean} words word times
 * @property {boolean} speakers for uploads
 * @property {boolean} liveSpeakers for everything else, where protocol and server can
 * @property {number} silence milliseconds that end a sentence
 * @property {string} token
 */

const LANGUAGES = [
  "zh",
  "yue",
  "en",
  "ja",
  "ko",
  "de",
  "fr",
  "es",
  "pt",
  "it",
  "nl",
  "ru",
  "ar",
  "hi",
  "id",
  "ms",
  "th",
  "vi",
  "tr",
  "fa",
  "pl",
  "cs",
  "sv",
  "da",
  "fi",
  "hu",
  "ro",
  "el",
  "uk",
  "he",
];
const REMEMBERED = [
  "protocol",
  "language",
  "hotwords",
  "punctuation",
  "itn",
  "words",
  "speakers",
  "live-speakers",
  "silence",
  "echo",
  "noise",
  "speed",
  "heard",
];
const valueOf = (field) => (field.type === "checkbox" ? field.checked : field.value);

export class Settings extends EventTarget {
  constructor() {
    super();
    this.tellsSpeakers = false; // until the server says so
    this.vocabularies = [];
    this.fields = Object.fromEntries(
      [...REMEMBERED, "model", "vocabulary", "device", "token", "keep-token"].map((id) => [id, byId(id)]),
    );
    this.fillProtocols();
    this.fillLanguages();
    this.fillVocabularies([]);
    this.restore();
    this.follow();
    onLanguage(() => {
      this.fillProtocols();
      this.fillLanguages();
      this.fillVocabularies(this.vocabularies);
      this.showSilence();
      void this.fillMicrophones();
    });
    void this.fillMicrophones();
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.fillMicrophones());
  }

  get protocol() {
    return protocols.find((one) => one.id === this.fields.protocol.value) ?? protocols[0];
  }

  get token() {
    return this.fields.token.value.trim();
  }

  /** @returns {Options} */
  get options() {
    const { model, language, hotwords, vocabulary, punctuation, itn, words, speakers, silence } = this.fields;
    const liveSpeakers = this.fields["live-speakers"];
    return {
      model: model.value,
      language: language.value,
      hotwords: hotwords.value
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean),
      vocabulary: vocabulary.disabled ? "" : vocabulary.value,
      punctuation: punctuation.checked,
      itn: itn.checked,
      words: words.checked,
      speakers: speakers.checked,
      liveSpeakers: liveSpeakers.checked && !liveSpeakers.disabled,
      silence: Number(silence.value),
      token: this.token,
    };
  }

  get microphone() {
    return { device: this.fields.device.value, echo: this.fields.echo.checked, noise: this.fields.noise.checked };
  }

  get playback() {
    return { speed: Number(this.fields.speed.value), heard: this.fields.heard.checked };
  }

  fillProtocols() {
    refill(
      this.fields.protocol,
      protocols.map(({ id, title }) => [id, t(title)]),
    );
  }

  fillLanguages() {
    const named = LANGUAGES.map((code) => [code, languageName(code)]);
    refill(this.fields.language, [["", t("language.any")], ...named]);
  }

  /** @param {string[]} ids what the server serves, its default first */
  fillModels(ids) {
    refill(this.fields.model, ids.length > 0 ? ids.map((id) => [id, id]) : [["", t("model.default")]]);
  }

  /** @param {import("./lists_api.js").Summary[]} stored */
  fillVocabularies(stored) {
    this.vocabularies = stored;
    refill(this.fields.vocabulary, [["", t("vocabulary.none")], ...stored.map(({ id, name }) => [id, name])]);
  }

  /** @param {boolean} can whether the server tells speakers apart */
  offerSpeakers(can) {
    this.tellsSpeakers = can;
    this.showOffers();
  }

  /** Name the microphones, as far as the browser tells. */
  async fillMicrophones() {
    const named = (await microphones()).map(({ deviceId, label }, position) => [
      deviceId,
      label || t("device.numbered", { number: position + 1 }),
    ]);
    refill(this.fields.device, [["", t("device.default")], ...named.filter(([id]) => id !== "default")]);
  }

  restore() {
    const kept = JSON.parse(lasting.read("settings") ?? "{}");
    for (const name of REMEMBERED) {
      const field = this.fields[name];
      if (!(name in kept)) continue;
      if (field.type === "checkbox") field.checked = kept[name];
      else if (field.tagName !== "SELECT" || [...field.options].some(({ value }) => value === kept[name]))
        field.value = kept[name];
    }
    const token = session.read("token");
    this.fields.token.value = token ?? "";
    this.fields["keep-token"].checked = token !== null;
    this.showSilence();
    this.showOffers();
  }

  follow() {
    byId("settings").addEventListener("submit", (event) => event.preventDefault());
    byId("settings").addEventListener("change", () => this.keep());
    for (const id of ["speed", "heard"]) this.fields[id].addEventListener("change", () => this.keep());
    this.fields.protocol.addEventListener("change", () => this.showOffers());
    this.fields.silence.addEventListener("input", () => this.showSilence());
    this.fields.token.addEventListener("change", () => this.dispatchEvent(new CustomEvent("token")));
  }

  keep() {
    const values = Object.fromEntries(REMEMBERED.map((name) => [name, valueOf(this.fields[name])]));
    lasting.write("settings", JSON.stringify(values));
    session.write("token", this.fields["keep-token"].checked && this.token ? this.token : null);
  }

  showSilence() {
    say(byId("silence-value"), "silence.value", { seconds: (Number(this.fields.silence.value) / 1000).toFixed(1) });
  }

  /**
   * Grey out what the protocol cannot pass on, or the server cannot do. What goes with uploads, too, stays; not a
   * vocabulary: who has chosen one and then speaks must not speak without it.
   */
  showOffers() {
    this.fields["live-speakers"].disabled = !(this.tellsSpeakers && this.protocol.offers.has("speakers"));
    this.fields.vocabulary.disabled = !this.protocol.offers.has("vocabulary");
    this.fields.silence.disabled = !this.protocol.offers.has("silence");
  }
}

/** New choices, the chosen one kept where it is still there. */
function refill(select, choices) {
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, title]) => element("option", { value }, title)));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}
