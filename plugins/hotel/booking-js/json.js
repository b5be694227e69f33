// JSON as the bytes of a message.

import { decode, encode } from "./utf8.js";

/** How deep arrays and objects may lie in each other. JSON.parse would use up the stack, which no plugin survives. */
const MAX_DEPTH = 100;

/** The value that these bytes hold. Throws if they are no JSON, or if it lies too deep. */
export function read(data) {
  const text = decode(data);
  if (isDeep(text)) throw new Error(`it lies more than ${MAX_DEPTH} deep`);
  return JSON.parse(text);
}

/** This value, in bytes. */
export function write(value) {
  return encode(JSON.stringify(value));
}

/** Whether a text opens more brackets than may be open at a time, those in strings included. */
function isDeep(text) {
  if (text.split("[").length + text.split("{").length <= MAX_DEPTH) return false;
  let [open, deepest] = [0, 0];
  for (const bracket of text.match(/[[\]{}]/g)) {
    open += bracket === "[" || bracket === "{" ? 1 : -1;
    deepest = Math.max(deepest, open);
  }
  return deepest > MAX_DEPTH;
}
