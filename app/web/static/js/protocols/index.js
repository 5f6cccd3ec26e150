/**
 * The protocols the page can speak. A new one is a module with the shape below and a line in the list.
 *
 * @typedef {object} Protocol
 * @property {string} id
 * @property {string} title      key of its name in i18n
 * @property {string} path       where the server speaks it
 * @property {number} rate       Hz of the sound it sends
 * @property {Set<string>} offers which settings it can pass on: model language hotwords vocabulary punctuation itn words speakers silence
 * @property {(options: import("../settings.js").Options) => Record<string, string>} query what goes into the address
 * @property {new (wire: Wire, options: import("../settings.js").Options) => Conversation} Conversation
 *
 * @typedef {object} Conversation one recognition over one connection
 * @property {() => void} opened            the connection is there
 * @property {(message: any) => void} heard a JSON message arrived
 * @property {(frame: Int16Array) => void} sound a frame to send
 * @property {() => void} finish            there is no more sound
 *
 * @typedef {object} Wire what a conversation may do
 * @property {(message: object | ArrayBufferView) => void} send objects go as JSON text
 * @property {() => void} ready             the server wants sound now
 * @property {(event: Heard) => void} event
 * @property {() => void} done              everything was said
 * @property {(failure: import("../failures.js").Failure) => void} failed
 *
 * @typedef {object} Heard times are seconds of the stream
 * @property {"started" | "partial" | "final"} type
 * @property {number} index   counts sentences from 1
 * @property {number} [start]
 * @property {number} [end]
 * @property {string} [text]  of a partial: all of the sentence so far
 * @property {{text: string, start: number, end: number}[]} [words]
 * @property {string} [speaker]
 */

import aliyun from "./aliyun.js";
import funasr from "./funasr.js";
import qwen from "./qwen.js";

/** @type {Protocol[]} */
export const protocols = [aliyun, funasr, qwen];
