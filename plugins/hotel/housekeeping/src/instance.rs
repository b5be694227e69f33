//! The id of an instance.

use hotel_types::{Date, Room};

/// `<room>~<day>`. Characters of the room's id that an instance id may not contain, or that would make two ids equal,
/// are escaped. A room's id has at most 36 bytes, so the instance id stays below 128 bytes even if all of them are
/// escaped.
pub(crate) fn instance(room: &Room, date: Date) -> String {
    let mut instance = String::new();
    for char in room.id.to_string().chars() {
        if matches!(char, '.' | '*' | '>' | '~' | '%') || char.is_whitespace() || char.is_control() {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                instance.push_str(&format!("%{byte:02X}"));
            }
        } else {
            instance.push(char);
        }
    }
    format!("{instance}~{date}")
}
