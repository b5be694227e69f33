//! The expected views of the hotel, computed from the events again and in another way than the plugins do.

use std::collections::BTreeMap;

use pelton_tests::streams::Stored;
use serde_json::{Value, json};

/// The rows of a view by key, without the time of storing, which the fold cannot know.
pub(crate) type Rows = BTreeMap<String, Value>;

/// The rows that the gateway lists.
pub(crate) fn rows(page: &Value) -> Rows {
    let rows = page["rows"].as_array().cloned().unwrap_or_default();
    let row = |row: Value| {
        let mut value = row["value"].clone();
        value.as_object_mut()?.remove("changedAt");
        Some((row["key"].as_str()?.to_owned(), value))
    };
    rows.into_iter().filter_map(row).collect()
}

/// The view of bookings.
pub(crate) fn bookings(events: &[Stored]) -> Rows {
    let mut rows = Rows::new();
    for event in events {
        let data = event.data();
        let key = format!("{}.{}", data["room"]["id"], data["date"].as_str().unwrap_or_default());
        let kind = event.header("ce-type");
        let before = rows.get(&key).map_or(Value::Null, |row| row["availability"].clone());
        let availability = match kind {
            "guest-told" | "room-closed" | "cleaning-cancelled" => continue,
            "booking-released" => "released",
            "booking-paid" => before.as_str().unwrap_or_default(),
            "no-show-charged" => "no-show",
            "room-booked" => "booked",
            // A late one does not make a booking go back.
            "cleaning-scheduled" if before == "released" => "released",
            "cleaning-scheduled" | "room-cleaned" => "cleaning",
            "room-made-available" => "available",
            "guest-checked-in" => "occupied",
            other => panic!("the hotel has no event {other}"),
        };
        let client = if data["client"].is_null() {
            rows.get(&key).map(|row| row["client"].clone())
        } else {
            Some(data["client"].clone())
        };
        let Some(client) = client else { continue };
        let was_paid = rows.get(&key).is_some_and(|row| row["paid"] == true);
        let mut row = json!({
            "room": data["room"], "date": data["date"], "client": client, "availability": availability,
            "changedBy": data["by"], "position": event.sequence,
        });
        if kind == "booking-paid" || was_paid && kind != "room-booked" {
            row["paid"] = true.into();
        }
        rows.insert(key, row);
    }
    rows
}

/// The schedule of cleanings.
pub(crate) fn schedule(events: &[Stored]) -> Rows {
    let mut days: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.subject.starts_with("cleaning.")) {
        let data = event.data();
        if event.header("ce-type") == "room-closed" {
            continue;
        }
        let day = days.entry(data["date"].as_str().unwrap_or_default().to_owned()).or_default();
        let id = data["room"]["id"].as_u64().unwrap_or_default();
        if event.header("ce-type") == "cleaning-cancelled" {
            day.remove(&id);
            continue;
        }
        let room = day.entry(id);
        let room = room.or_insert_with(|| json!({ "room": data["room"] }));
        let (status, by) = match event.header("ce-type") {
            "cleaning-scheduled" => ("scheduled", "scheduledBy"),
            _ => ("cleaned", "cleanedBy"),
        };
        room["status"] = status.into();
        room[by] = data["by"].clone();
    }
    let row = |(date, rooms): (String, BTreeMap<u64, Value>)| {
        let rooms: Vec<Value> = rooms.into_values().collect();
        (date.clone(), json!({ "date": date, "rooms": rooms }))
    };
    days.into_iter().filter(|(_, rooms)| !rooms.is_empty()).map(row).collect()
}
