"""The interface `command-handler` of the contract. Its resource is in the module that is named after it."""

import command_handler
from wit_world import exports
from wit_world.exports.command_handler import Descriptor
from wit_world.imports.types import EventType, Identity

RULES = [
    "room-already-booked",
    "nothing-booked",
    "already-available",
    "booked-by-another-client",
    "room-not-available",
    "already-checked-in",
    "already-paid",
    "already-charged",
]


class CommandHandler(exports.CommandHandler):
    def describe(self) -> Descriptor:
        events = [EventType(type, 1) for type in command_handler.EVENTS]
        return Descriptor(
            identity=Identity("hotel-booking-python", "0.1.0", []),
            commands=list(command_handler.DECISIONS),
            emits=events,
            folds=events,
            rejections=RULES,
            state_version=1,
            # The state does not depend on where its events lie.
            metadata=[("decide-ahead", "true")],
        )
