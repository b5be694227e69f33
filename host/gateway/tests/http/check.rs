//! The one helper of the tables: a request, the expected response, and the expected submission to the ingress.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use pelton_core::client::Submission;
use serde_json::Value;
use tower::ServiceExt;

use crate::fakes::{Answer, hotel};

/// A request and its expected response.
pub(crate) struct Case {
    request: Request<Body>,
    said: String,
    answer: Answer,
    status: u16,
    code: Option<&'static str>,
    headers: Vec<(&'static str, Option<String>)>,
    body: Vec<(&'static str, Value)>,
    text: Option<&'static [u8]>,
    detail: Option<&'static str>,
    submits: Option<Holds>,
}

/// A check of a command that is submitted, and of the time that its outcome is waited for.
type Holds = Box<dyn Fn(&Submission, Duration)>;

pub(crate) fn request(method: &str, path: &str) -> Case {
    let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    Case {
        request: request.body(Body::empty()).unwrap(),
        said: format!("{method} {}", path.chars().take(200).collect::<String>()),
        answer: Answer::Accepted(1),
        status: 0,
        code: None,
        headers: Vec::new(),
        body: Vec::new(),
        text: None,
        detail: None,
        submits: None,
    }
}

pub(crate) fn get(path: &str) -> Case {
    request("GET", path)
}

/// `PUT /mutation/book-room` with this body, as JSON.
pub(crate) fn book(body: impl AsRef<[u8]>) -> Case {
    request("PUT", "/mutation/book-room").with("content-type", "application/json").body(body)
}

/// A body whose data books room 1, with more members in front.
pub(crate) fn booking(members: &str) -> String {
    format!(r#"{{{members}"data":{DATA}}}"#)
}

/// Data in a form that a JSON library would not write. The ingress must get it unchanged.
pub(crate) const DATA: &str = r#"{ "room": {"id":1},"date":"2022-12-12", "n": 1.0 }"#;

impl Case {
    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = axum::http::HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.said += &format!(" [{name}: {value:?}]");
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.said += &format!(" [no {name}]");
        self.request.headers_mut().remove(name);
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.said +=
            &format!(" {}", String::from_utf8_lossy(body.as_ref()).chars().take(120).collect::<String>());
        *self.request.body_mut() = Body::from(body.as_ref().to_vec());
        self
    }

    pub(crate) fn stream(mut self, body: Body) -> Self {
        *self.request.body_mut() = body;
        self
    }

    /// Sets the answer of the ingress. The default is an acceptance with one event.
    pub(crate) fn when(mut self, answer: Answer) -> Self {
        self.said += &format!(" when {answer:?}");
        self.answer = answer;
        self
    }

    pub(crate) fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Expects a problem with this code.
    pub(crate) fn refuses(mut self, status: u16, code: &'static str) -> Self {
        self.status = status;
        self.code = Some(code);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Some(value.into())));
        self
    }

    pub(crate) fn no_header(mut self, name: &'static str) -> Self {
        self.headers.push((name, None));
        self
    }

    /// Expects this value under a JSON pointer of the answer's body.
    pub(crate) fn has(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.body.push((pointer, value.into()));
        self
    }

    /// Expects this body, byte by byte.
    pub(crate) fn says(mut self, body: &'static [u8]) -> Self {
        self.text = Some(body);
        self
    }

    /// Expects this part in the problem's detail.
    pub(crate) fn because(mut self, part: &'static str) -> Self {
        self.detail = Some(part);
        self
    }

    /// Expects one command that passes this check. Without this call, no command may be submitted.
    pub(crate) fn submits(mut self, holds: impl Fn(&Submission, Duration) + 'static) -> Self {
        self.submits = Some(Box::new(holds));
        self
    }

    /// Expects one command under this id.
    pub(crate) fn submits_id(self, id: &'static str) -> Self {
        self.submits(move |command, _| assert_eq!(command.id.as_str(), id))
    }
}

/// Sends each request to a gateway of its own and checks all expectations of its case.
pub(crate) async fn check(cases: Vec<Case>) {
    for case in cases {
        let Case { request, said, answer, status, code, headers, body, text, detail, submits } = case;
        println!("{said}");
        let head = request.method() == Method::HEAD;
        let (gateway, ingress) = hotel(&answer);
        let response = gateway.router().oneshot(request).await.unwrap();
        let (parts, sent) = response.into_parts();
        let sent = to_bytes(sent, usize::MAX).await.unwrap();
        let shown = String::from_utf8_lossy(&sent);
        assert_eq!(parts.status, StatusCode::from_u16(status).unwrap(), "{shown}");
        for (name, value) in headers {
            assert_eq!(
                parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned()),
                value,
                "{name}: {shown}"
            );
        }
        assert!(parts.headers.contains_key("x-request-id"));
        if head {
            assert!(sent.is_empty(), "{shown}");
        } else if let Some(text) = text {
            assert_eq!(sent, text, "{shown}");
        } else {
            let json = serde_json::from_slice(&sent).unwrap_or_else(|e| panic!("{e}: {shown}"));
            is_problem(&parts.headers, &json, status, code);
            for (pointer, value) in body {
                assert_eq!(json.pointer(pointer), Some(&value), "{pointer}: {shown}");
            }
            if let Some(part) = detail {
                assert!(json["detail"].as_str().unwrap().contains(part), "{part}: {shown}");
            }
        }
        let submitted = ingress.submitted.lock().unwrap();
        match (submits, &submitted[..]) {
            (Some(holds), [(submission, wait)]) => holds(submission, *wait),
            (expected, submitted) => {
                assert!(expected.is_none() && submitted.is_empty(), "handed in: {submitted:?}");
            }
        }
    }
}

/// Every refusal has the same form, and nothing else has it.
fn is_problem(headers: &HeaderMap, json: &Value, status: u16, code: Option<&str>) {
    assert_eq!(headers["content-type"] == "application/problem+json", status >= 400, "{json}");
    assert_eq!(code.is_some(), status >= 400, "a refusal's code is expected: {json}");
    let Some(code) = code else { return };
    assert_eq!(json["status"], status);
    assert_eq!(json["code"], code, "{json}");
    for member in ["type", "title", "detail"] {
        assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {json}");
    }
}
