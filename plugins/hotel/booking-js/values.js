// What commands and events of the hotel hold: rooms, clients, dates and people.
//
// Fields that are not known are ignored. A known one has to be right, or the whole is unreadable.

import * as json from "./json.js";
import { length } from "./utf8.js";

export { write } from "./json.js";

/** The data of a command or event is not what it has to be. */
export class Unreadable extends Error {}

const MAX_ID_BYTES = 36;
const MAX_NAME_BYTES = 64;
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** The object that these bytes hold as JSON. */
export function parse(data) {
  let value;
  try {
    value = json.read(data);
  } catch (error) {
    throw new Unreadable(`it is no JSON: ${error.message}`);
  }
  return object(value, "the data");
}

/** A room, `{"id": 1}`. */
export function room(of) {
  return { id: id(object(field(of, "room"), "room").id, "room") };
}

/** A client, `{"id": 1}`. */
export function client(of) {
  return { id: id(object(field(of, "client"), "client").id, "client") };
}

/** A day of the calendar, `YYYY-MM-DD`. */
export function date(of) {
  const text = field(of, "date");
  const [, year, month, day] = (typeof text === "string" && /^(\d{4})-(\d{2})-(\d{2})$/.exec(text)) || [];
  if (!(year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= daysOf(Number(year), Number(month)))) {
    throw new Unreadable("`date` is not a date of the calendar, written YYYY-MM-DD");
  }
  return text;
}

/** Who did something, or this one if nobody is named. */
export function by(of, otherwise) {
  const name = of.by ?? otherwise;
  const bytes = isText(name) ? length(name) : 0;
  if (bytes < 1 || bytes > MAX_NAME_BYTES || CONTROL.test(name)) {
    throw new Unreadable(`\`by\`: a name has 1 to ${MAX_NAME_BYTES} bytes and no control characters`);
  }
  return name;
}

/** A text under this name. */
export function text(of, name) {
  const found = field(of, name);
  if (!isText(found)) throw new Unreadable(`\`${name}\` is not a text`);
  return found;
}

/** Whether two ids name the same: `1` and `"1"` do. */
export function same(one, other) {
  return String(one.id) === String(other.id);
}

/** An id as its sender wrote it: a whole number or a text. Greater numbers than JavaScript has are refused. */
function id(value, of) {
  const isNumber = Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
  if (isNumber) return value;
  const bytes = isText(value) ? length(value) : 0;
  if (bytes < 1 || bytes > MAX_ID_BYTES || CONTROL.test(value) || value.trim() !== value) {
    throw new Unreadable(
      `\`${of}.id\` is not an id: a whole number, or a text of 1 to ${MAX_ID_BYTES} bytes without control characters ` +
        "and without blanks at its ends",
    );
  }
  return value;
}

function isText(value) {
  return typeof value === "string" && value.isWellFormed();
}

function field(of, name) {
  if (!Object.hasOwn(of, name)) throw new Unreadable(`missing field \`${name}\``);
  return of[name];
}

function object(value, what) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Unreadable(`${what} is not an object`);
  }
  return value;
}

function daysOf(year, month) {
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
}
