/** A WebSocket to the server that speaks one of the protocols. */

import { Failure, failureOf } from "./failures.js";

const OPEN_MILLISECONDS = 10_000;
const FINISH_MILLISECONDS = 60_000;
const NORMAL = 1000;
const TRY_AGAIN_LATER = 1013;

/** Where a protocol is spoken, with what it wants in the address. The token is in it, as browsers set no headers. */
export function address(protocol, options) {
  const url = new URL(protocol.path, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  for (const [name, value] of Object.entries(protocol.query(options))) url.searchParams.set(name, value);
  if (options.token) url.searchParams.set("token", options.token);
  return url;
}

export class Connection {
  /**
   * @param {import("./protocols/index.js").Protocol} protocol
   * @param {(event: import("./protocols/index.js").Heard) => void} onEvent
   */
  constructor(protocol, options, onEvent) {
    this.over = false;
    this.opened = false;
    this.finishing = false;
    /** Settles when the server wants sound. */
    this.ready = new Promise((resolve, reject) => Object.assign(this, { becomeReady: resolve, notReady: reject }));
    /** Settles when everything was said; rejects with a Failure. */
    this.done = new Promise((resolve, reject) => Object.assign(this, { end: resolve, fail: reject }));
    this.ready.catch(() => {});
    this.done.catch(() => {});
    this.socket = new WebSocket(address(protocol, options));
    this.conversation = new protocol.Conversation(this.wire(onEvent), options);
    this.listen();
    this.limit(OPEN_MILLISECONDS);
  }

  wire(onEvent) {
    return {
      send: (message) => this.send(ArrayBuffer.isView(message) ? message : JSON.stringify(message)),
      ready: () => {
        clearTimeout(this.timer);
        this.becomeReady();
      },
      event: (event) => this.over || onEvent(event),
      done: () => this.finished(null),
      failed: (failure) => this.finished(failure),
    };
  }

  listen() {
    this.socket.addEventListener("open", () => {
      this.opened = true;
      this.conversation.opened();
    });
    this.socket.addEventListener("message", ({ data }) => {
      if (this.over) return;
      if (this.finishing) this.limit(FINISH_MILLISECONDS); // it is slow, not silent
      try {
        this.conversation.heard(JSON.parse(data));
      } catch (error) {
        this.finished(failureOf(error));
      }
    });
    this.socket.addEventListener("close", ({ code, reason }) => {
      void this.lost(code, reason);
    });
  }

  /** It was closed before everything was said. */
  async lost(code, reason) {
    if (this.over) return;
    if (code === TRY_AGAIN_LATER) this.finished(new Failure("error.busy", reason));
    else if (this.opened) this.finished(new Failure("error.closed", [code, reason].filter(Boolean).join(" ")));
    else this.finished(await whyUnreachable());
  }

  finished(failure) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    this.socket.close(NORMAL);
    if (failure) {
      this.notReady(failure);
      this.fail(failure);
    } else {
      this.becomeReady();
      this.end();
    }
  }

  limit(milliseconds) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.finished(new Failure("error.silent_server")), milliseconds);
  }

  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  /** A frame of sound. */
  sound(frame) {
    if (!this.over) this.conversation.sound(frame);
  }

  /** Bytes that the network has not taken yet. */
  get backlog() {
    return this.socket.bufferedAmount;
  }

  /** There is no more sound; `done` settles when the last words have come. */
  finish() {
    if (this.over) return;
    this.conversation.finish();
    this.finishing = true;
    this.limit(FINISH_MILLISECONDS);
  }

  /** Leave, whatever is still to come. */
  drop() {
    this.finished(null);
  }
}

/** Browsers do not tell why a WebSocket did not open; the server's state may. */
async function whyUnreachable() {
  try {
    const answer = await fetch("/health/ready");
    if (answer.ok) return new Failure("error.unreachable");
    const { reason } = await answer.json();
    return new Failure("error.loading", reason ?? "");
  } catch {
    return new Failure("error.unreachable");
  }
}
