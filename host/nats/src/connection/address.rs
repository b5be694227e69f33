//! Addresses of servers, and the credentials in them.

use std::str::FromStr;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::{ConnectError, Credentials};

/// The addresses without their user info, and the credentials to use: those of the addresses if they have any. The
/// client library ignores user info, so it must not receive it.
pub(super) fn read(
    urls: &[String],
    configured: &Credentials,
) -> Result<(Vec<ServerAddr>, Credentials), ConnectError> {
    let mut addresses = Vec::new();
    let mut credentials = configured.clone();
    for (n, url) in urls.iter().enumerate() {
        let bad = |cause: String| ConnectError::Url { url: without_password(url), cause };
        let (address, found) = parts(url).map_err(bad)?;
        addresses.push(address);
        if found.is_none() && configured.is_none() && !credentials.is_none() {
            return Err(bad(
                "it has no user info, and an address before it has; give it to all or to none".to_owned()
            ));
        }
        let Some(found) = found else { continue };
        if !configured.is_none() {
            return Err(bad(
                "it has user info, and there are other credentials too; remove one of both".to_owned()
            ));
        }
        if n > 0 && credentials != found {
            return Err(bad(
                "its user info differs from that of an address before it; a host has one identity".to_owned(),
            ));
        }
        credentials = found;
    }
    Ok((addresses, credentials))
}

/// Parses an address. `user:password@` and `token@` are percent-encoded if they have special characters.
fn parts(url: &str) -> Result<(ServerAddr, Option<Credentials>), String> {
    let address = ServerAddr::from_str(url).map_err(|error| error.to_string())?;
    let mut bare = address.into_inner();
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("its user info is not UTF-8".to_owned()),
    };
    let credentials = match (bare.username(), bare.password()) {
        ("", None) => None,
        ("", Some(_)) => return Err("its user info has a password but no user".to_owned()),
        (token, None) => Some(Credentials::Token(decoded(token)?)),
        (user, Some(password)) => {
            Some(Credentials::User { user: decoded(user)?, password: decoded(password)? })
        }
    };
    if credentials.is_some() && (bare.set_username("").is_err() || bare.set_password(None).is_err()) {
        return Err("it cannot have user info".to_owned());
    }
    Ok((ServerAddr::from_url(bare).map_err(|error| error.to_string())?, credentials))
}

/// The URL for logs and errors. The text before an `@` may be a secret.
pub(super) fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        (None, Some((_, host))) => format!("…@{host}"),
        (_, None) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str, password: &str) -> Credentials {
        Credentials::User { user: user.into(), password: password.into() }
    }

    /// R30: the check accepted user info, and the connection ignored it.
    #[test]
    fn user_info_is_used_or_refused_with_a_word() {
        let read = |urls: &[&str], configured: &Credentials| {
            let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
            read(&urls, configured).map(|(_, credentials)| credentials).map_err(|error| error.to_string())
        };
        let none = Credentials::None;
        for (urls, expected) in [
            (vec!["nats://h:4222"], Credentials::None),
            (vec!["nats://host:p%40ss@h:4222"], user("host", "p@ss")),
            (vec!["s3cret@h"], Credentials::Token("s3cret".into())),
            (vec!["nats://a:b@h1", "nats://a:b@h2"], user("a", "b")),
        ] {
            assert_eq!(read(&urls, &none), Ok(expected), "{urls:?}");
        }
        for (urls, configured, part) in [
            (vec!["nats://a:hidden@h"], &Credentials::Token("t".into()), "other credentials"),
            (vec!["nats://a:hidden@h1", "nats://c:hidden@h2"], &none, "differs"),
            (vec!["nats://a:hidden@h1", "nats://h2"], &none, "no user info"),
            (vec!["nats://h2", "nats://a:hidden@h1"], &none, "differs"),
            (vec!["nats://:hidden@h"], &none, "no user"),
            (vec!["nats://a:%ff@h"], &none, "not UTF-8"),
        ] {
            let error = read(&urls, configured).unwrap_err();
            assert!(error.contains(part) && !error.contains("hidden"), "{urls:?}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_never_reaches_a_log() {
        for (url, shown) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("nats://user:p@ss@host:4222", "nats://…@host:4222"),
            ("token@host", "…@host"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
