//! HTTP itself: bodies, headers, the span of a request, and the server.

pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod serve;
pub(crate) mod trace;
