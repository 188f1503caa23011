//! A request, read: version, arguments, preconditions, body.

use std::num::NonZeroUsize;

use axum::{
    body::{self, Bytes},
    http::{HeaderMap, Uri, header},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::form_urlencoded;

use super::reply::Reply;
use crate::digital_twins::{
    Scheme,
    error::Error,
    json_patch::{self, Operation},
    operations::{IfMatch, Put},
    version::ApiVersion,
};

/// What stands as it is in a path segment or a query value: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request that the gateway let through.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) version: ApiVersion,
    arguments: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    /// Scheme and host, as the client knows them.
    base: String,
    path: String,
}

impl Request {
    /// Reads a request with a body of at most `max_body` bytes.
    ///
    /// # Errors
    /// The answer to a request without a known version, or with too large a body.
    pub(super) async fn read(request: axum::extract::Request, max_body: usize, scheme: Scheme) -> Result<Self, Reply> {
        let (parts, body) = request.into_parts();
        let arguments: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let version = argument(&arguments, "api-version").ok_or_else(Reply::no_version)?;
        let version = ApiVersion::parse(version).ok_or_else(|| Reply::unknown_version(parts.uri.path(), version))?;
        let base = base(&parts.uri, &parts.headers, scheme);
        let body = body::to_bytes(body, max_body).await.map_err(|_| Reply::too_large(max_body))?;
        Ok(Self { version, arguments, headers: parts.headers, body, base, path: parts.uri.path().to_owned() })
    }

    /// The path, as it was sent.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The first query argument of that name, without regard to case.
    pub(super) fn argument(&self, name: &str) -> Option<&str> {
        argument(&self.arguments, name)
    }

    /// All query arguments of that name.
    pub(super) fn arguments(&self, name: &str) -> impl Iterator<Item = &str> {
        named(&self.arguments, name)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, which has to be there.
    ///
    /// # Errors
    /// [`Error::NoBody`].
    pub(super) fn body(&self) -> Result<&Bytes, Error> {
        if self.body.is_empty() { Err(Error::NoBody) } else { Ok(&self.body) }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::NoBody`]; `otherwise` where it is no JSON.
    pub(super) fn json(&self, otherwise: Error) -> Result<Value, Error> {
        serde_json::from_slice(self.body()?).map_err(|_| otherwise)
    }

    /// The body as a patch document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn patch(&self) -> Result<Vec<Operation>, Error> {
        Ok(json_patch::parse(self.body()?)?)
    }

    /// The precondition of a change. `*` asks for something to be there, as every change does.
    pub(super) fn if_match(&self) -> IfMatch {
        match self.header(header::IF_MATCH.as_str()) {
            None | Some("*") => IfMatch::Any,
            Some(version) => IfMatch::Version(version.to_owned()),
        }
    }

    /// The precondition of a PUT.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an `If-None-Match` other than `*`, which the service's interface does not have.
    pub(super) fn put(&self) -> Result<Put, Error> {
        match self.header(header::IF_NONE_MATCH.as_str()) {
            None => Ok(Put::CreateOrReplace),
            Some("*") => Ok(Put::CreateOnly),
            Some(other) => Err(Error::InvalidArgument(format!("If-None-Match takes * only, got {other}."))),
        }
    }

    /// How many items the client wants on a page, at most `max`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `max-items-per-page` is no positive number.
    pub(super) fn page_size(&self, max: NonZeroUsize) -> Result<NonZeroUsize, Error> {
        let Some(wanted) = self.header("max-items-per-page") else { return Ok(max) };
        let invalid = || Error::InvalidArgument(format!("max-items-per-page takes a positive number, got {wanted}."));
        wanted.trim().parse::<NonZeroUsize>().map(|wanted| wanted.min(max)).map_err(|_| invalid())
    }

    /// An absolute URL on this instance: path segments and query arguments, to which the request's version is added.
    pub(super) fn link(&self, segments: &[&str], arguments: &[(&str, &str)]) -> String {
        let mut link = self.base.clone();
        for segment in segments {
            link.push('/');
            link.extend(utf8_percent_encode(segment, ENCODED));
        }
        let version = [("api-version", self.version.as_str())];
        for (index, (name, value)) in arguments.iter().chain(&version).enumerate() {
            link.push(if index == 0 { '?' } else { '&' });
            link.push_str(name);
            link.push('=');
            link.extend(utf8_percent_encode(value, ENCODED));
        }
        link
    }
}

fn named<'a>(arguments: &'a [(String, String)], wanted: &str) -> impl Iterator<Item = &'a str> {
    arguments.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
}

fn argument<'a>(arguments: &'a [(String, String)], name: &str) -> Option<&'a str> {
    named(arguments, name).next()
}

fn base(uri: &Uri, headers: &HeaderMap, scheme: Scheme) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str())).unwrap_or("localhost");
    match scheme {
        Scheme::Https => format!("https://{host}"),
        Scheme::Http => format!("http://{host}"),
    }
}
