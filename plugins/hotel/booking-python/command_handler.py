"""The resource `entity` of the interface `command-handler`: the booking of one room for one day.

The rules are those of ../booking. The entity is `<room>.<day>`. A room is booked once, made available once, and entered
once, by the client who booked it.
"""

from typing import Any, Self

import values
from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Command, NewEvent, RecordedEvent, Rejection

# The events, each with the text that it has beside what all have.
EVENTS = {
    "room-booked": None,
    "room-made-available": None,
    "guest-checked-in": None,
    "booking-paid": None,
    "booking-released": "reason",
    "no-show-charged": None,
    "guest-told": "message",
}


class Entity(exports.command_handler.Entity):
    """One booking."""

    def __init__(self, id: str) -> None:
        self.clear()

    def clear(self) -> None:
        self.state = "free"
        self.client: dict[str, Any] | None = None
        self.is_paid = self.is_charged = False

    @classmethod
    def restore(cls, id: str, snapshot: bytes) -> Self:
        entity = cls(id)
        try:
            kept = values.parse(snapshot)
            entity.state, entity.client = kept["state"], kept["client"]
            entity.is_paid, entity.is_charged = kept["isPaid"], kept["isCharged"]
        except (values.Unreadable, KeyError) as error:
            raise Err(f"the snapshot cannot be read: {error}")
        return entity

    def evolve(self, events: list[RecordedEvent]) -> None:
        for recorded in events:
            event = recorded.event
            try:
                data = values.parse(event.data)
                # All of an event has to be right, not only what is kept of it.
                client, text = values.client(data), EVENTS[event.type]
                values.room(data), values.date(data), values.by(data), text and values.text(data, text)
                self.fold(event.type, client)
            except values.Unreadable as error:
                raise Err(f"the event {event.type} (sequence {recorded.sequence}) cannot be read: {error}")

    def fold(self, type: str, client: dict[str, Any]) -> None:
        match type:
            case "room-booked":
                self.state, self.client = "booked", client
            case "room-made-available":
                self.state, self.client = "available", client
            case "guest-checked-in":
                self.state, self.client = "occupied", client
            case "booking-paid":
                self.is_paid = True
            case "no-show-charged":
                self.is_charged = True
            case "booking-released":
                self.clear()

    def decide(self, command: Command) -> list[NewEvent]:
        try:
            decide = DECISIONS[command.type]
            return [decide(self, values.parse(command.data))]
        except values.Unreadable as error:
            raise Err(Rejection("invalid-command", str(error), []))

    def snapshot(self) -> bytes | None:
        kept = {"state": self.state, "client": self.client, "isPaid": self.is_paid, "isCharged": self.is_charged}
        return values.write(kept)


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


def pay_booking(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, client, date = values.room(data), values.client(data), values.date(data)
    if booking.state == "free":
        raise nothing_booked(room, date)
    if not values.same(booking.client, client):
        raise refusal("booked-by-another-client", room, date, "is booked by another client")
    if booking.is_paid:
        raise refusal("already-paid", room, date, "is paid already")
    return event("booking-paid", room, booking.client, date, clients_name(booking.client))


def release_room(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, date, reason = values.room(data), values.date(data), values.text(data, "reason")
    by = values.by(data, "manager")
    if booking.state == "free":
        raise nothing_booked(room, date)
    if booking.state == "occupied":
        raise refusal("already-checked-in", room, date, "is occupied: its guest has checked in")
    return event("booking-released", room, booking.client, date, by, {"reason": reason})


def charge_no_show(booking: Entity, data: dict[str, Any]) -> NewEvent:
    room, date, by = values.room(data), values.date(data), values.by(data, "manager")
    if booking.state == "free":
        raise nothing_booked(room, date)
    if booking.state == "occupied":
        raise refusal("already-checked-in", room, date, "has its guest: he came")
    if booking.is_charged:
        raise refusal("already-charged", room, date, "was charged before")
    return event("no-show-charged", room, booking.client, date, by)


def tell_guest(_: Entity, data: dict[str, Any]) -> NewEvent:
    room, client, date = values.room(data), values.client(data), values.date(data)
    message, by = values.text(data, "message"), values.by(data, "manager")
    return event("guest-told", room, client, date, by, {"message": message})


DECISIONS = {
    "book-room": book_room,
    "make-room-available": make_room_available,
    "check-in": check_in,
    "pay-booking": pay_booking,
    "release-room": release_room,
    "charge-no-show": charge_no_show,
    "tell-guest": tell_guest,
}


def event(type: str, room: Any, client: Any, date: str, by: str, text: dict[str, str] = {}) -> NewEvent:
    data = values.write({"room": room, "client": client, "date": date, **text, "by": by})
    return NewEvent(type, 1, None, [], data)


def clients_name(client: dict[str, Any]) -> str:
    return f"client {client['id']}"


def nothing_booked(room: dict[str, Any], date: str) -> Err[Rejection]:
    return refusal("nothing-booked", room, date, "is not booked")


def refusal(rule: str, room: dict[str, Any], date: str, why: str, more: list[tuple[str, str]] = []) -> Err[Rejection]:
    details = [("room", str(room["id"])), ("date", date), *more]
    return Err(Rejection(rule, f"on {date}, room {room['id']} {why}", details))
