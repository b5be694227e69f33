// The view of readers, as ../readers makes it, written against the contract alone: which books each reader has.

import * as json from "../../hotel/booking-js/json.js";

/** The interface `projection` of the contract. */
export const projection = {
  describe() {
    const events = ["book-lent", "book-returned"].map((type) => ({ type, version: 1 }));
    return {
      identity: { name: "library-readers-js", version: "0.1.0", metadata: [] },
      events,
      viewVersion: 1,
      metadata: [],
    };
  },

  keys(events) {
    return events.map(({ event }) => [read(event).reader]);
  },

  project(events, views) {
    const readers = new Map(views.map(({ key, value }) => [key, value ? json.read(value) : null]));
    const written = new Set();
    for (const { event, recordedAt } of events) {
      const { book, reader } = read(event);
      let books = readers.get(reader)?.books ?? [];
      books = event.type === "book-lent" ? [...books, book] : books.filter((other) => other !== book);
      // A reader without books has no value.
      readers.set(reader, books.length > 0 ? { books, since: time(event.time ?? recordedAt) } : null);
      written.add(reader);
    }
    return [...written].map((key) => {
      const value = readers.get(key);
      return { key, value: value && json.write(value) };
    });
  },
};

/** What both events say. What a function throws is its failure. */
function read(event) {
  let data;
  try {
    data = json.read(event.data);
  } catch (error) {
    throw failure(event, error.message);
  }
  for (const name of ["book", "reader"]) {
    if (!isText(data?.[name])) throw failure(event, `\`${name}\` is not a text`);
  }
  return data;
}

function isText(value) {
  return typeof value === "string" && value.isWellFormed();
}

function failure(event, why) {
  return { tag: "invalid", val: `the event ${event.type} cannot be read: ${why}` };
}

/** A time as RFC 3339. A number of JavaScript has no nanoseconds, so the view has seconds. */
function time(nanoseconds) {
  return new Date(Math.floor(nanoseconds / 1e9) * 1000).toISOString().replace(".000Z", "Z");
}
