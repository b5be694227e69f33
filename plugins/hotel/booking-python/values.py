"""What commands and events of the hotel hold: rooms, clients, dates and people.

Fields that are not known are ignored. A known one has to be right, or the whole is unreadable.
"""

import json
import re
from datetime import date as Day
from itertools import accumulate
from typing import Any

MAX_ID_BYTES = 36
# How deep arrays and objects may lie in each other. `json` would use up the stack, which no handler survives.
MAX_DEPTH = 100
MAX_NAME_BYTES = 64
MAX_NUMBER = 2**64 - 1
CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f]")
DATE = re.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})")


class Unreadable(Exception):
    """The data of a command or event is not what it has to be."""


def parse(data: bytes) -> dict[str, Any]:
    """The object that these bytes hold as JSON."""
    try:
        if _is_deep(data):
            raise ValueError(f"it lies more than {MAX_DEPTH} deep")
        value = json.loads(data.decode(), parse_constant=_no_constant)
    except ValueError as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    return _object(value, "the data")


def write(value: Any) -> bytes:
    """This value as JSON, in bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def room(of: dict[str, Any]) -> dict[str, Any]:
    """A room, `{"id": 1}`."""
    return {"id": _id(_object(_field(of, "room"), "room").get("id"), "room")}


def client(of: dict[str, Any]) -> dict[str, Any]:
    """A client, `{"id": 1}`."""
    return {"id": _id(_object(_field(of, "client"), "client").get("id"), "client")}


def date(of: dict[str, Any]) -> str:
    """A day of the calendar, `YYYY-MM-DD`."""
    text = _field(of, "date")
    found = DATE.fullmatch(text) if isinstance(text, str) else None
    try:
        if found:
            Day(*map(int, found.groups()))
            return text
    except ValueError:
        pass
    raise Unreadable("`date` is not a date of the calendar, written YYYY-MM-DD")


def by(of: dict[str, Any], otherwise: str | None = None) -> str:
    """Who did something, or this one if nobody is named."""
    name = of.get("by")
    name = otherwise if name is None else name
    if not 1 <= _bytes(name) <= MAX_NAME_BYTES or CONTROL.search(name):
        raise Unreadable(f"`by`: a name has 1 to {MAX_NAME_BYTES} bytes and no control characters")
    return name


def text(of: dict[str, Any], name: str) -> str:
    """A text under this name."""
    found = _field(of, name)
    if found != "" and _bytes(found) == 0:
        raise Unreadable(f"`{name}` is not a text")
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two ids name the same: `1` and `"1"` do."""
    return str(one["id"]) == str(other["id"])


def _id(value: Any, of: str) -> int | str:
    """An id as its sender wrote it: a whole number or a text."""
    if type(value) is int and 0 <= value <= MAX_NUMBER:
        return value
    if not 1 <= _bytes(value) <= MAX_ID_BYTES or CONTROL.search(value) or value.strip() != value:
        raise Unreadable(
            f"`{of}.id` is not an id: a whole number, or a text of 1 to {MAX_ID_BYTES} bytes without control "
            "characters and without blanks at its ends"
        )
    return value


def _bytes(text: Any) -> int:
    """How many bytes a text has; 0 if it is none."""
    try:
        return len(text.encode()) if isinstance(text, str) else 0
    except UnicodeEncodeError:  # half of a surrogate pair
        return 0


def _field(of: dict[str, Any], name: str) -> Any:
    if name not in of:
        raise Unreadable(f"missing field `{name}`")
    return of[name]


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is not an object")
    return value


def _is_deep(data: bytes) -> bool:
    """Whether data open more brackets than may be open at a time, those in strings included."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    opened = accumulate(1 if bracket in b"[{" else -1 for bracket in re.findall(rb"[\[\]{}]", data))
    return max(opened) > MAX_DEPTH


def _no_constant(text: str) -> None:
    raise ValueError(f"there is no number {text}")
