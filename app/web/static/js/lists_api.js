/** The server's stored lists of words, asked with the visitor's token. */

import { Failure, listFailure } from "./failures.js";

const PATIENCE_MILLISECONDS = 60_000;

/**
 * @typedef {object} Kind
 * @property {string} name    of its tab
 * @property {string} path    where the server has them
 * @property {string} field   which has the terms
 * @property {boolean} weights whether terms have some
 * @property {string} title   keys of texts
 * @property {string} terms
 * @property {string} hint
 * @property {string} delete_text
 *
 * @typedef {{id: string, name: string, count: number, created_at: number, updated_at: number}} Summary
 * @typedef {Summary & {terms: import("./termtext.js").Term[]}} List
 */

/** @type {Kind} */
export const VOCABULARIES = {
  name: "vocabularies",
  path: "/v1/vocabularies",
  field: "hotwords",
  weights: true,
  title: "tab.vocabularies",
  terms: "lists.terms_weighted",
  hint: "lists.vocabularies_hint",
};

/** @type {Kind} */
export const SENSITIVE = {
  name: "sensitive",
  path: "/v1/sensitive_words",
  field: "words",
  weights: false,
  title: "tab.sensitive",
  terms: "lists.terms",
  hint: "lists.sensitive_hint",
};

export class ListsApi {
  /**
   * @param {Kind} kind
   * @param {() => string} token
   */
  constructor(kind, token) {
    this.kind = kind;
    this.token = token;
  }

  /** @returns {Promise<Summary[]>} */
  async all() {
    return (await this.ask("GET", "")).data;
  }

  /** @returns {Promise<List>} */
  async get(id) {
    return this.list(await this.ask("GET", id));
  }

  /** @returns {Promise<List>} */
  async create(name, terms) {
    return this.list(await this.ask("POST", "", this.body(name, terms)));
  }

  /**
   * What is undefined stays.
   * @returns {Promise<List>}
   */
  async replace(id, name, terms) {
    return this.list(await this.ask("PUT", id, this.body(name, terms)));
  }

  async remove(id) {
    await this.ask("DELETE", id);
  }

  body(name, terms) {
    const { field, weights } = this.kind;
    return { name, [field]: weights ? terms : terms?.map(({ text }) => text) };
  }

  list(answer) {
    const terms = answer[this.kind.field].map((term) => (typeof term === "string" ? { text: term } : term));
    return { ...answer, terms };
  }

  /** @throws {Failure} */
  async ask(method, id, body) {
    const token = this.token();
    const path = id ? `${this.kind.path}/${encodeURIComponent(id)}` : this.kind.path;
    let answer;
    let text;
    try {
      answer = await fetch(path, {
        method,
        headers: {
          ...(token && { Authorization: `Bearer ${token}` }),
          ...(body && { "Content-Type": "application/json" }),
        },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
      });
      text = await answer.text();
    } catch (error) {
      // A token with signs that no header can have is not the server's.
      if (error instanceof TypeError && /[^\x20-\x7e]/.test(token)) throw new Failure("error.token");
      throw new Failure("error.lists_unreachable");
    }
    if (!answer.ok) throw listFailure(answer.status, text);
    return JSON.parse(text);
  }
}
