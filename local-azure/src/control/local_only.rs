//! Keeps pages of other origins out: a browser on this machine would let them call us, also under a name of theirs
//! that they point at 127.0.0.1 (DNS rebinding).

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use url::{Host, Url};

/// Answers 403 to requests for a foreign `Host` or from a foreign `Origin`.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    if is_local(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "the control API answers programs and pages of this machine only\n").into_response()
    }
}

/// Whether a request names this machine as its `Host` and has no `Origin` but of this machine.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let mut origins = headers.get_all(header::ORIGIN).iter();
    // With several hosts, nobody knows which one is meant.
    headers.contains_key(header::HOST)
        && hosts.all(|host| host.to_str().is_ok_and(|host| loopback(&format!("http://{host}/"))))
        && origins.all(|origin| origin.to_str().is_ok_and(loopback))
}

fn loopback(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let host = (header::HOST, HeaderValue::from_static(host));
        let origin = origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin)));
        std::iter::once(host).chain(origin).collect()
    }

    #[test]
    fn only_names_and_origins_of_this_machine_are_let_in() {
        for (host, origin) in [
            ("localhost:8080", None),
            ("127.0.0.1:8080", Some("http://localhost:8080")),
            ("[::1]:8080", Some("http://[::1]:8080")),
            ("a.localhost", Some("http://127.0.0.1")),
        ] {
            assert!(is_local(&headers(host, origin)), "{host} {origin:?}");
        }
        for (host, origin) in [
            ("example.com:8080", None),
            ("localhost.example.com", None),
            ("localhost:8080", Some("https://example.com")),
            ("localhost:8080", Some("null")),
            ("", None),
        ] {
            assert!(!is_local(&headers(host, origin)), "{host} {origin:?}");
        }
        assert!(!is_local(&HeaderMap::new()));
        let mut two = headers("localhost:8080", None);
        two.append(header::HOST, HeaderValue::from_static("example.com"));
        assert!(!is_local(&two));
    }
}
