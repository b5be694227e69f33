"""The resource `entity` of the interface `command-handler`: the booking of one room for one day.

The rules are those of ../booking. The entity is `<room>.<day>`. A room is booked once, made available once, and entered
once, by the client who booked it.
"""

from typing import Any, Self

import values
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Command, NewEvent, RecordedEvent, Rejection

STATE_AFTER = {
    "room-booked": "booked",
    "room-made-available": "available",
    "guest-checked-in": "occupied",
}


class Entity(exports.command_handler.Entity):
    """One booking."""

    def __init__(self, id: str) -> None:
        self.state = "free"
        self.client: dict[str, Any] | None = None

    @classmethod
    def restore(cls, id: str, snapshot: bytes) -> Self:
        entity = cls(id)
        try:
            kept = values.parse(snapshot)
            entity.state, entity.client = kept["state"], kept["client"]
        except (values.Unreadable, KeyError) as error:
            raise Err(f"the snapshot cannot be read: {error}")
        return entity

    def evolve(self, events: list[RecordedEvent]) -> None:
        for recorded in events:
            event = recorded.event
            try:
                data = values.parse(event.data)
                # All of an event has to be right, not only what is kept of it.
                values.room(data), values.date(data), values.by(data)
                self.state, self.client = STATE_AFTER[event.type], values.client(data)
            except values.Unreadable as error:
                raise Err(f"the event {event.type} (sequence {recorded.sequence}) cannot be read: {error}")

    def decide(self, command: Command) -> list[NewEvent]:
        try:
            decide = DECISIONS[command.type]
            return [decide(self, values.parse(command.data))]
        except values.Unreadable as error:
            raise Err(Rejection("invalid-command", str(error), []))

    def snapshot(self) -> bytes | None:
        return values.write({"state": self.state, "client": self.client})


def book_room(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, client, date = values.room(data), values.client(data), values.date(data)
    # This also refuses the same client: a second command means a second booking, and the room has only one.
    if booking.state != "free":
        raise refusal("room-already-booked", room, date, "is booked already")
    return event("room-booked", room, client, date, clients_name(client))


def make_room_available(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, date, by = values.room(data), values.date(data), values.by(data, "manager")
    match booking.state:
        case "free":
            raise nothing_booked(room, date)
        case "booked":
            return event("room-made-available", room, booking.client, date, by)
        case "available":
            raise refusal("already-available", room, date, "is available already")
    raise refusal("already-available", room, date, "was made available before, and its guest has checked in")


def check_in(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, client, date = values.room(data), values.client(data), values.date(data)
    if booking.state == "free":
        raise nothing_booked(room, date)
    # This check comes first: only the client who booked the room may learn its state.
    if not values.same(booking.client, client):
        raise refusal("booked-by-another-client", room, date, "is booked by another client")
    match booking.state:
        case "booked":
            still = "is not available yet: it is booked, and has still to be made available"
            raise refusal("room-not-available", room, date, still, [("state", "booked")])
        case "available":
            return event("guest-checked-in", room, booking.client, date, clients_name(booking.client))
    raise refusal("already-checked-in", room, date, "is occupied: its guest has checked in already")


DECISIONS = {"book-room": book_room, "make-room-available": make_room_available, "check-in": check_in}


def event(type: str, room: Any, client: Any, date: str, by: str) -> NewEvent:
    data = values.write({"room": room, "client": client, "date": date, "by": by})
    return NewEvent(type, 1, None, [], data)


def clients_name(client: dict[str, Any]) -> str:
    return f"client {client['id']}"


def nothing_booked(room: dict[str, Any], date: str) -> Err[Rejection]:
    return refusal("nothing-booked", room, date, "is not booked")


def refusal(rule: str, room: dict[str, Any], date: str, why: str, more: list[tuple[str, str]] = []) -> Err[Rejection]:
    details = [("room", str(room["id"])), ("date", date), *more]
    return Err(Rejection(rule, f"on {date}, room {room['id']} {why}", details))
