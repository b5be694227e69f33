// The booking of one room for one day, with the rules of ../booking, written against the contract alone.
//
// The entity is `<room>.<day>`. A room is booked once, made available once, and entered once, by the client who booked it.

import * as values from "./values.js";

const FREE = { state: "free", client: null, isPaid: false, isCharged: false };

/** The booking after each event, of its client. */
const FOLDS = {
  "room-booked": (booking, client) => ({ ...booking, state: "booked", client }),
  "room-made-available": (booking, client) => ({ ...booking, state: "available", client }),
  "guest-checked-in": (booking, client) => ({ ...booking, state: "occupied", client }),
  "booking-paid": (booking) => ({ ...booking, isPaid: true }),
  "booking-released": () => FREE,
  "no-show-charged": (booking) => ({ ...booking, isCharged: true }),
  "guest-told": (booking) => booking,
};

/** The text that an event has beside what all have. */
const TEXTS = { "booking-released": "reason", "guest-told": "message" };

const EVENTS = Object.keys(FOLDS).map((type) => ({ type, version: 1 }));

const RULES = [
  "room-already-booked",
  "nothing-booked",
  "already-available",
  "booked-by-another-client",
  "room-not-available",
  "already-checked-in",
  "already-paid",
  "already-charged",
];

/** What follows from each command, on a booking in this state. */
const DECISIONS = {
  "book-room"({ state }, data) {
    const [room, client, date] = [values.room(data), values.client(data), values.date(data)];
    // This also refuses the same client: a second command means a second booking, and the room has only one.
    if (state !== "free") throw refusal("room-already-booked", room, date, "is booked already");
    return event("room-booked", { room, client, date, by: clientsName(client) });
  },

  "make-room-available"({ state, client }, data) {
    const [room, date, by] = [values.room(data), values.date(data), values.by(data, "manager")];
    switch (state) {
      case "free":
        throw nothingBooked(room, date);
      case "booked":
        return event("room-made-available", { room, client, date, by });
      case "available":
        throw refusal("already-available", room, date, "is available already");
      case "occupied":
        throw refusal("already-available", room, date, "was made available before, and its guest has checked in");
    }
  },

  "check-in"({ state, client }, data) {
    const [room, who, date] = [values.room(data), values.client(data), values.date(data)];
    if (state === "free") throw nothingBooked(room, date);
    // This check comes first: only the client who booked the room may learn its state.
    if (!values.same(client, who)) {
      throw refusal("booked-by-another-client", room, date, "is booked by another client");
    }
    switch (state) {
      case "booked": {
        const still = "is not available yet: it is booked, and has still to be made available";
        throw refusal("room-not-available", room, date, still, [["state", "booked"]]);
      }
      case "available":
        return event("guest-checked-in", { room, client, date, by: clientsName(client) });
      case "occupied":
        throw refusal("already-checked-in", room, date, "is occupied: its guest has checked in already");
    }
  },

  "pay-booking"({ state, client, isPaid }, data) {
    const [room, who, date] = [values.room(data), values.client(data), values.date(data)];
    if (state === "free") throw nothingBooked(room, date);
    if (!values.same(client, who)) {
      throw refusal("booked-by-another-client", room, date, "is booked by another client");
    }
    if (isPaid) throw refusal("already-paid", room, date, "is paid already");
    return event("booking-paid", { room, client, date, by: clientsName(client) });
  },

  "release-room"({ state, client }, data) {
    const [room, date, reason] = [values.room(data), values.date(data), values.text(data, "reason")];
    const by = values.by(data, "manager");
    if (state === "free") throw nothingBooked(room, date);
    if (state === "occupied") {
      throw refusal("already-checked-in", room, date, "is occupied: its guest has checked in");
    }
    return event("booking-released", { room, client, date, reason, by });
  },

  "charge-no-show"({ state, client, isCharged }, data) {
    const [room, date, by] = [values.room(data), values.date(data), values.by(data, "manager")];
    if (state === "free") throw nothingBooked(room, date);
    if (state === "occupied") throw refusal("already-checked-in", room, date, "has its guest: he came");
    if (isCharged) throw refusal("already-charged", room, date, "was charged before");
    return event("no-show-charged", { room, client, date, by });
  },

  "tell-guest"(_booking, data) {
    const [room, client, date] = [values.room(data), values.client(data), values.date(data)];
    const [message, by] = [values.text(data, "message"), values.by(data, "manager")];
    return event("guest-told", { room, client, date, message, by });
  },
};

/** The resource `entity` of the contract: one booking. */
class Entity {
  constructor(_id) {
    this.booking = FREE;
  }

  static restore(id, snapshot) {
    const entity = new Entity(id);
    entity.booking = values.parse(snapshot);
    return entity;
  }

  evolve(events) {
    for (const { event, sequence } of events) {
      try {
        const data = values.parse(event.data);
        // All of an event has to be right, not only what is kept of it.
        values.room(data), values.date(data), values.by(data);
        if (TEXTS[event.type]) values.text(data, TEXTS[event.type]);
        this.booking = FOLDS[event.type](this.booking, values.client(data));
      } catch (error) {
        throw `the event ${event.type} (sequence ${sequence}) cannot be read: ${error.message}`;
      }
    }
  }

  decide(command) {
    try {
      const decide = DECISIONS[command.type];
      return [decide(this.booking, values.parse(command.data))];
    } catch (error) {
      if (error instanceof values.Unreadable) throw rejection("invalid-command", error.message, []);
      throw error;
    }
  }

  snapshot() {
    return values.write(this.booking);
  }
}

/** The interface `command-handler` of the contract. */
export const commandHandler = {
  describe() {
    return {
      identity: { name: "hotel-booking-js", version: "0.1.0", metadata: [] },
      commands: Object.keys(DECISIONS),
      emits: EVENTS,
      folds: EVENTS,
      rejections: RULES,
      stateVersion: 1,
      // The state does not depend on where its events lie.
      metadata: [["decide-ahead", "true"]],
    };
  },

  Entity,
};

function event(type, data) {
  return { type, version: 1, datacontenttype: null, extensions: [], data: values.write(data) };
}

function clientsName(client) {
  return `client ${client.id}`;
}

function nothingBooked(room, date) {
  return refusal("nothing-booked", room, date, "is not booked");
}

function refusal(rule, room, date, why, more = []) {
  const details = [["room", String(room.id)], ["date", date], ...more];
  return rejection(rule, `on ${date}, room ${room.id} ${why}`, details);
}

/** The record `rejection` of the contract. Thrown, it is the error of `decide`. */
function rejection(code, message, details) {
  return { code, message, details };
}
