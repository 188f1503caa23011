//! Function keys.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::{HeaderMap, Uri};
use url::form_urlencoded;

const HEADER: &str = "x-functions-key";
const PARAMETER: &str = "code";

/// The key of the app's functions.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionKey(String);

impl FunctionKey {
    /// A key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Whether a request has this key: in its header, else in its query (azure-functions-host:
    /// `AuthenticationLevelHandler.cs`).
    pub(super) fn admits(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let given = match headers.get(HEADER) {
            Some(value) => Some(value.as_bytes().to_vec()),
            None => form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .find(|(name, _)| name.eq_ignore_ascii_case(PARAMETER))
                .map(|(_, value)| value.into_owned().into_bytes()),
        };
        given.is_some_and(|given| verify_slices_are_equal(&given, self.0.as_bytes()).is_ok())
    }
}

impl fmt::Debug for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FunctionKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_comes_before_the_query() {
        let key = FunctionKey::new("s3cret/=");
        let header = |value: &str| HeaderMap::from_iter([(HEADER.parse().unwrap(), value.parse().unwrap())]);
        let cases = [
            (HeaderMap::new(), "/api/F", false),
            (HeaderMap::new(), "/api/F?code=s3cret%2F%3D", true),
            (HeaderMap::new(), "/api/F?a=b&CODE=s3cret/=", true),
            (HeaderMap::new(), "/api/F?code=other", false),
            (header("s3cret/="), "/api/F", true),
            (header("other"), "/api/F?code=s3cret/=", false),
            (header(""), "/api/F", false),
        ];
        for (headers, uri, expected) in cases {
            assert_eq!(key.admits(&headers, &uri.parse().unwrap()), expected, "{headers:?} {uri}");
        }
        assert_eq!(format!("{key:?}"), "FunctionKey(***)");
    }
}
