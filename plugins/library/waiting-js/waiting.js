// Waiting, as ../waiting does it, written against the contract alone: whoever has a book is reminded when somebody else
// asks for it, and every day from then on until it is back.

import { read as parse, write } from "../../hotel/booking-js/json.js";

/** A little more than the day within which a reader is not reminded twice, in nanoseconds. */
const AGAIN = (24 * 60 * 60 + 60) * 1e9;

/** What the saga reads, and what each event says. */
const EVENTS = { "book-lent": ["book", "reader"], "book-asked-for": ["book"], "book-returned": ["book"] };

/** The interface `saga` of the contract. */
export const saga = {
  describe() {
    return {
      identity: { name: "library-waiting-js", version: "0.1.0", metadata: [] },
      events: Object.keys(EVENTS).map((type) => ({ type, version: 1 })),
      commands: ["remind-reader"],
      timers: ["remind-again"],
      // Its states have another form than those of ../waiting.
      stateVersion: 2,
      metadata: [],
    };
  },

  /** One instance for each book that is lent. */
  correlate(event) {
    const { book } = read(event.event);
    return [{ instance: book, relation: event.event.type === "book-lent" ? "start" : "advance" }];
  },

  /** The state is who has the book. */
  react(_instance, state, input, context) {
    const has = state ? texts(state, ["reader"], "the state").reader : null;
    switch (input.tag) {
      case "event": {
        const event = input.val.event;
        const { book, reader } = read(event);
        if (event.type === "book-lent") return keep(reader, [], []);
        if (event.type === "book-asked-for" && has !== null) return remind(has, book, context);
        return END;
      }
      case "timer": {
        const { type, data } = input.val.timer;
        if (type !== "remind-again") throw invalid(`there is no timer ${type}`);
        const { book } = texts(data, ["book"], `the timer ${type}`);
        return has === null ? END : remind(has, book, context);
      }
      case "outcome":
        return has === null ? END : keep(has, [], []);
    }
  },
};

/** The book is back; its timer is cancelled with the instance. */
const END = { state: null, commands: [], timers: [], metadata: [] };

function keep(reader, commands, timers) {
  return { state: write({ reader }), commands, timers, metadata: [] };
}

function remind(reader, book, context) {
  const command = {
    type: "remind-reader",
    reference: null,
    datacontenttype: null,
    metadata: [],
    data: write({ reader, book }),
  };
  const timer = { id: "again", type: "remind-again", due: context.time + AGAIN, data: write({ book }) };
  return keep(reader, [command], [{ tag: "set", val: timer }]);
}

function read(event) {
  return texts(event.data, EVENTS[event.type], `the event ${event.type}`);
}

/** The object that these bytes hold as JSON, which has these texts. What a function throws is its failure. */
function texts(data, names, what) {
  let value;
  try {
    value = parse(data);
  } catch (error) {
    throw invalid(`${what} cannot be read: ${error.message}`);
  }
  for (const name of names) {
    if (typeof value?.[name] !== "string" || !value[name].isWellFormed()) {
      throw invalid(`${what} cannot be read: \`${name}\` is not a text`);
    }
  }
  return value;
}

function invalid(why) {
  return { tag: "invalid", val: why };
}
