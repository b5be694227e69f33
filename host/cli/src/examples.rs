//! Example requests to copy, one for each route.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{Config, RouteConfig};

/// A shell comment for a request whose route has no example.
const MADE_UP: &str = "  # made up: give the route an `example`";

/// A line for curl that sends the command of this route to the gateway at `address`.
#[must_use]
pub(crate) fn curl(config: &Config, route: &RouteConfig, address: &str) -> String {
    let (data, note) = match route.example.as_deref().and_then(|example| serde_json::from_str(example).ok()) {
        Some(data) => (data, ""),
        // The plugin may need more data than the entity's tokens.
        None => (from_tokens(config, route.route.command().as_str()), MADE_UP),
    };
    // A single quote inside single quotes: end them, escape it, begin them again.
    let body = json!({ "data": data }).to_string().replace('\'', r"'\''");
    let (method, path) = (route.route.method(), route.route.path());
    format!("curl -X {method} {address}{path} -H 'Content-Type: application/json' -d '{body}'{note}")
}

/// Data in which each of the entity's tokens has its own name as its value.
fn from_tokens(config: &Config, command: &str) -> Value {
    let of_command = |tokens: &BTreeMap<_, _>| tokens.clone();
    let commands = config.handlers.values().flat_map(|handler| &handler.commands);
    let tokens = commands
        .filter(|(r#type, _)| r#type.as_str() == command)
        .map(|(_, tokens)| of_command(tokens))
        .next();
    let mut data = Value::Object(Map::new());
    for (name, pointer) in tokens.unwrap_or_default() {
        put(&mut data, &pointer, Value::from(name.to_uppercase()));
    }
    data
}

fn put(data: &mut Value, pointer: &str, value: Value) {
    let mut place = data;
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else { return };
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Source, parse};

    #[test]
    fn a_line_is_made_from_the_example_or_from_the_tokens() {
        let text = r#"
            [streams.shop]
            subjects = ["order.>"]
            [plugins.order]
            component = "order.wasm"
            [handlers.order]
            plugin = "order"
            stream = "shop"
            entity = "order.{shop}.{id}"
            commands.pay = { shop = "/shop~1name", id = "/order/id" }
            [[routes]]
            path = "/pay"
            command = "pay"
            [[routes]]
            method = "POST"
            path = "/pay"
            command = "pay"
            example = '''{"shop/name":"Bär's","order":{"id":1}}'''
        "#;
        let source = Source { path: "pelton.toml".to_owned(), text: text.to_owned() };
        let config = parse(source, Path::new(".")).config.expect("sound");
        let lines: Vec<_> =
            config.routes.iter().map(|route| curl(&config, route, "localhost:3000")).collect();
        assert_eq!(
            lines,
            [
                r#"curl -X PUT localhost:3000/pay -H 'Content-Type: application/json' -d '{"data":{"order":{"id":"ID"},"shop/name":"SHOP"}}'  # made up: give the route an `example`"#,
                r#"curl -X POST localhost:3000/pay -H 'Content-Type: application/json' -d '{"data":{"order":{"id":1},"shop/name":"Bär'\''s"}}'"#,
            ]
        );
    }
}
