//! A saga whose state gets another form, without a migration: instances end with the version that has theirs.

use pelton_tests::http::Request;
use pelton_tests::{library, place};
use serde_json::{Value, json};

use crate::house::{Host, House, eventually};
use crate::sagas::saga;
use crate::store::done;

fn about(path: &str, id: &str, book: &str) -> Request {
    let reader = if path == "ask-for-book" { "bob" } else { "ada" };
    let data = json!({ "book": book, "reader": reader });
    Request::put(format!("/{path}"), json!({ "id": id, "data": data }).to_string())
}

async fn lend(host: &Host, book: &str) {
    assert_eq!(host.send(&about("lend-book", &format!("lend-{book}"), book)).await.status, 201);
}

/// Somebody asks for a book, and who has it is reminded: by which version of the saga.
async fn reminded_by(house: &House, host: &Host, book: &str, time: usize) -> String {
    let id = format!("ask-{book}-{time}");
    assert_eq!(host.send(&about("ask-for-book", &id, book)).await.status, 201);
    eventually("somebody is reminded", async || {
        let [shown] = &saga(house, &["show", "waiting", book], 0).await[..] else { panic!() };
        let recent = shown["recent"].as_array().map_or(&[][..], Vec::as_slice);
        let reminded = recent.iter().filter(|turn| turn.to_string().contains("remind-reader"));
        anyhow::ensure!(reminded.count() == time, "{shown}");
        Ok(shown["digest"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

async fn shown(house: &House) -> (Value, String) {
    let json = done(house, &["show", "waiting", "--json"]).await;
    (serde_json::from_str(&json).expect("JSON"), done(house, &["show", "waiting"]).await)
}

#[tokio::test]
async fn instances_of_another_form_end_with_the_version_that_has_it() {
    let house = House::open_with(library::example().config).await;
    house.configure(|text| {
        let changed = text.replace(
            "waiting = { crate = \"waiting\", component =",
            "waiting = { source = \"store\", tier = \"deterministic\", component =",
        );
        assert_ne!(changed, text);
        changed
    });
    let plugins = place::plugins().expect("the components");
    for (file, version) in [("library-waiting.wasm", "rust"), ("library-waiting-js.wasm", "js")] {
        let file = plugins.join(file).display().to_string();
        done(&house, &["push", "waiting", &file, "--version", version]).await;
    }
    done(&house, &["activate", "waiting@rust"]).await;
    let host = house.host().await;
    lend(&host, "emma").await;
    let rust = reminded_by(&house, &host, "emma", 1).await;
    let said = done(&house, &["activate", "waiting@js"]).await;
    assert!(said.contains("instances of state version 1 end with the version that runs"), "{said}");
    lend(&host, "dune").await;
    let js = reminded_by(&house, &host, "dune", 1).await;
    assert_ne!(js, rust);
    assert_eq!(reminded_by(&house, &host, "emma", 2).await, rust, "it goes on with the version that it has");
    let (record, text) = shown(&house).await;
    assert_eq!(record["activation"]["draining"][0]["version"], "rust");
    assert!(text.contains("1 instances go on with it"), "{text}");
    assert_eq!(done(&house, &["gc", "--keep", "0"]).await, "", "what drains is kept");
    // So it is with a host that starts now, and after a rollback with the instances of the version that was taken back.
    host.stop().await;
    let host = house.host().await;
    assert_eq!(reminded_by(&house, &host, "emma", 3).await, rust);
    done(&house, &["rollback", "waiting"]).await;
    assert_eq!(reminded_by(&house, &host, "dune", 2).await, js);
    assert_eq!(reminded_by(&house, &host, "emma", 4).await, rust);
    // A version is needed until its last instance has ended.
    let returned = host.send(&about("return-book", "return", "dune")).await;
    assert_eq!(returned.status, 201, "{returned}");
    eventually("the instance ends", async || {
        let (_, text) = shown(&house).await;
        anyhow::ensure!(text.contains("0 instances go on with it"), "{text}");
        Ok(())
    })
    .await;
    assert_eq!(house.streams().await.info("DEAD_LETTERS").await.expect("the stream").state.messages, 0);
    host.stop().await;
}
