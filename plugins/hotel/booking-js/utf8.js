// Text as UTF-8. QuickJS has neither TextEncoder nor TextDecoder; what it has for addresses does the same, and is fast.

const CHUNK = 8192;

/** The text that these bytes are. Throws if they are not UTF-8. */
export function decode(bytes) {
  let latin = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    latin += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK));
  }
  return decodeURIComponent(escape(latin));
}

/** The bytes of this text. Throws if half of a surrogate pair stands alone in it. */
export function encode(text) {
  const latin = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(latin.length);
  for (let at = 0; at < latin.length; at++) bytes[at] = latin.charCodeAt(at);
  return bytes;
}

/** How many bytes this text has. Throws as `encode` does. */
export function length(text) {
  return unescape(encodeURIComponent(text)).length;
}
