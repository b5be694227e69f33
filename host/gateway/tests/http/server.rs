//! The server on a real socket: its end, and hostile clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::check::booking;
use crate::fakes::{Answer, FakeIngress, hotel};

struct Server {
    address: SocketAddr,
    ingress: Arc<FakeIngress>,
    stop: oneshot::Sender<()>,
    end: JoinHandle<usize>,
}

async fn start(answer: &Answer, drain: Duration) -> Server {
    let (gateway, ingress) = hotel(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let end = tokio::spawn(gateway.serve(listener, shutdown, drain));
    Server { address, ingress, stop, end }
}

impl Server {
    async fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn submitted(&self) {
        while self.ingress.submitted.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The bytes until the server closes the connection, or pauses after it has begun to answer.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut patience = Duration::from_secs(10);
    while let Ok(Ok(1..)) = tokio::time::timeout(patience, stream.read_buf(&mut bytes)).await {
        patience = Duration::from_millis(200);
    }
    String::from_utf8(bytes).unwrap()
}

const BOOK: &str = "PUT /mutation/book-room";

#[tokio::test]
async fn an_idle_server_ends_at_once_and_an_idle_connection_does_not_hold_it() {
    let server = start(&Answer::Accepted(1), Duration::from_secs(20)).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut kept_alive = server.send("GET /healthz", "").await;
    assert!(answer(&mut kept_alive).await.starts_with("HTTP/1.1 200"));
    let started = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(server.end.await.unwrap(), 0);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let server = start(&Answer::Accepted(1), Duration::from_secs(20)).await;
    let body = booking("");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{BOOK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server sends this when it begins to read the body, so the request is pending.
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 100"));
    server.stop.send(()).unwrap();
    while TcpStream::connect(server.address).await.is_ok() {}
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 201"));
    assert_eq!(server.end.await.unwrap(), 0);
}

#[tokio::test]
async fn the_deadline_is_kept() {
    let server = start(&Answer::Silence, Duration::from_millis(100)).await;
    let mut stream = server.send(BOOK, &booking("")).await;
    server.submitted().await;
    let started = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(server.end.await.unwrap(), 1);
    assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&started.elapsed()));
    assert_eq!(answer(&mut stream).await, "");
}

#[tokio::test]
async fn hostile_bytes_hurt_nobody_else() {
    let server = start(&Answer::Accepted(1), Duration::from_secs(1)).await;
    let long = "x".repeat(100_000);
    for (request, starts) in [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)), "HTTP/1.1 431"),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "HTTP/1.1 4"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /%zz%f HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "HTTP/1.1 404"),
        ("GET /commands/%zz%f HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "HTTP/1.1 200"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with(starts), "{} …: {answer}", request.chars().take(60).collect::<String>());
    }
    // The body is too large, and the client still sees why.
    let mut stream = server.send(BOOK, &format!("{}{}", booking(""), " ".repeat(300_000))).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413"));
    assert!(server.ingress.submitted.lock().unwrap().is_empty());

    let mut stream = server.send(BOOK, &booking("")).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 201"));
    server.stop.send(()).unwrap();
    server.end.await.unwrap();
}
