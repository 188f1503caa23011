//! The managed identity endpoint of an App Service app, and the tokens it issues.
//!
//! A token is a JWT signed with a key of this local-azure: who checks one needs no list of those issued.
//! Wire: "How to use managed identities for App Service and Azure Functions", REST endpoint reference.

mod endpoint;

pub(crate) use endpoint::GET_TOKEN;
pub use endpoint::router;

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{clock::Clock, gate::Caller};

/// The resource whose tokens Azure Digital Twins accepts.
pub const DIGITAL_TWINS: &str = "https://digitaltwins.azure.net";

/// How long a token of the endpoint lasts: as long as Azure's.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// How long those last that a person uses, who cannot ask for a new one.
pub(crate) const LIFETIME_FOR_A_PERSON: SignedDuration = SignedDuration::from_hours(24 * 3_650);
const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;
/// Longer than any token of ours: what is longer is not looked at.
const MAX_TOKEN: usize = 1_024;

/// Issues and checks bearer tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: hmac::Key,
    clock: Clock,
}

/// A token and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text for `Authorization: Bearer`.
    pub text: String,
    /// When it stops being accepted.
    pub expires: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    exp: i64,
    /// The instance of the function app that it was issued to; tokens of Azure do not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<usize>,
}

/// What the endpoint's callers send in `X-IDENTITY-HEADER`: a secret.
#[derive(Clone)]
pub struct Headers {
    of_anybody: String,
    instances: usize,
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl Headers {
    /// One for anybody, and one derived from it for each instance of the function app, so that it is known which of
    /// them a token was issued to.
    pub fn new(of_anybody: impl Into<String>, instances: usize) -> Self {
        Self { of_anybody: of_anybody.into(), instances }
    }

    /// Those of the instances, in their order.
    pub fn of_instances(&self) -> impl Iterator<Item = String> {
        (0..self.instances).map(|instance| format!("{}-{instance}", self.of_anybody))
    }

    /// Whose header it is.
    fn whose(&self, sent: &[u8]) -> Option<Caller> {
        let is = |header: &str| verify_slices_are_equal(sent, header.as_bytes()).is_ok();
        if is(&self.of_anybody) {
            return Some(Caller::Other);
        }
        self.of_instances().position(|header| is(&header)).map(Caller::Handler)
    }
}

impl Tokens {
    /// Tokens that stay valid across restarts with the same `secret`.
    pub fn new(secret: &str, clock: Clock) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), clock }
    }

    /// A token for `resource`.
    pub fn issue(&self, resource: &str) -> Token {
        self.issue_to(Caller::Other, resource)
    }

    /// A token for `resource` that says which handler asked for it.
    pub fn issue_to(&self, caller: Caller, resource: &str) -> Token {
        self.issue_for(caller, resource, LIFETIME)
    }

    /// A token for somebody who cannot ask for a new one: a person who tries things out. It lasts ten years.
    pub fn issue_for_a_person(&self, resource: &str) -> Token {
        self.issue_for(Caller::Other, resource, LIFETIME_FOR_A_PERSON)
    }

    fn issue_for(&self, caller: Caller, resource: &str, lifetime: SignedDuration) -> Token {
        let expires = self.clock.now().saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        let instance = match caller {
            Caller::Handler(instance) => Some(instance),
            Caller::Other => None,
        };
        let claims = Claims { aud: resource.trim_end_matches('/').to_owned(), exp: expires.as_second(), instance };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        Token { text: format!("{signed}.{signature}"), expires }
    }

    /// Whether `token` was issued here for `resource` and has not expired.
    pub fn accepts(&self, resource: &str, token: &str) -> bool {
        self.whose(resource, token).is_some()
    }

    /// Whom `token` was issued to, if it was issued here for `resource` and has not expired.
    pub fn whose(&self, resource: &str, token: &str) -> Option<Caller> {
        let claims = self.claims(token)?;
        let is_good = claims.aud == resource && claims.exp > self.clock.now().as_second();
        is_good.then_some(claims.instance.map_or(Caller::Other, Caller::Handler))
    }

    fn claims(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_resource_until_it_expires() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let tokens = Tokens::new("a", clock.clone());
        let token = tokens.issue("https://digitaltwins.azure.net/");
        assert!(tokens.accepts(DIGITAL_TWINS, &token.text));
        assert!(!tokens.accepts("https://vault.azure.net", &token.text));
        clock.advance(LIFETIME);
        assert!(!tokens.accepts(DIGITAL_TWINS, &token.text));
    }

    #[test]
    fn a_header_and_a_token_say_which_instance_they_belong_to() {
        let headers = Headers::new("secret", 2);
        let own: Vec<String> = headers.of_instances().collect();
        assert_eq!(headers.whose(b"secret"), Some(Caller::Other));
        assert_eq!(headers.whose(own[1].as_bytes()), Some(Caller::Handler(1)));
        assert_eq!([&b"secret-2"[..], b"secret-", b""].map(|sent| headers.whose(sent)), [None; 3]);
        let tokens = Tokens::new("a", Clock::manual(Timestamp::UNIX_EPOCH));
        for caller in [Caller::Other, Caller::Handler(1)] {
            let token = tokens.issue_to(caller, DIGITAL_TWINS).text;
            assert_eq!(tokens.whose(DIGITAL_TWINS, &token), Some(caller));
        }
    }

    #[test]
    fn a_token_of_somebody_else_or_with_other_claims_is_refused() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let tokens = Tokens::new("a", clock.clone());
        let foreign = Tokens::new("b", clock).issue(DIGITAL_TWINS).text;
        let own = tokens.issue(DIGITAL_TWINS).text;
        let parts: Vec<&str> = own.split('.').collect();
        let later = URL_SAFE_NO_PAD.encode(r#"{"aud":"https://digitaltwins.azure.net","exp":9999999999}"#);
        let forged = format!("{}.{later}.{}", parts[0], parts[2]);
        for token in [foreign.as_str(), forged.as_str(), "", ".", "..", "a.b.c", &own[1..]] {
            assert!(!tokens.accepts(DIGITAL_TWINS, token), "{token} was accepted");
        }
    }
}
