/** The text of a file that a visitor chose, whichever way it is written down. */

import { Failure } from "./failures.js";

const MOST_BYTES = 16 * 1024 * 1024;
/** Tried in turn: the second is what Chinese editors wrote before UTF-8. */
const ENCODINGS = ["utf-8", "gb18030"];

/**
 * @param {File} file
 * @throws {Failure} it is too large, or no text
 */
export async function readText(file) {
  if (file.size > MOST_BYTES) throw new Failure("error.list_too_large", file.name);
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Failure("error.no_text", file.name); // a folder, or one that has gone
  }
  const text = decoded(bytes);
  if (text === null || text.includes("\0")) throw new Failure("error.no_text", file.name);
  return text;
}

function decoded(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  for (const encoding of ENCODINGS) {
    try {
      return new TextDecoder(encoding, { fatal: true }).decode(bytes);
    } catch {
      // then it is the next one
    }
  }
  return null;
}
