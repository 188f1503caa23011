//! The managed identity endpoint of an App Service app, and the tokens it issues.
//!
//! A token is a JWT signed with a key of this local-azure: who checks one needs no list of those issued.
//! Wire: "How to use managed identities for App Service and Azure Functions", REST endpoint reference.

mod endpoint;

pub use endpoint::router;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

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
}

impl Tokens {
    /// Tokens that stay valid across restarts with the same `secret`.
    pub fn new(secret: &str, clock: Clock) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), clock }
    }

    /// A token for `resource`.
    pub fn issue(&self, resource: &str) -> Token {
        self.issue_for(resource, LIFETIME)
    }

    /// A token for somebody who cannot ask for a new one: a person who tries things out. It lasts ten years.
    pub fn issue_for_a_person(&self, resource: &str) -> Token {
        self.issue_for(resource, LIFETIME_FOR_A_PERSON)
    }

    fn issue_for(&self, resource: &str, lifetime: SignedDuration) -> Token {
        let expires = self.clock.now().saturating_add(lifetime).unwrap_or(Timestamp::MAX);
        let claims = Claims { aud: resource.trim_end_matches('/').to_owned(), exp: expires.as_second() };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        Token { text: format!("{signed}.{signature}"), expires }
    }

    /// Whether `token` was issued here for `resource` and has not expired.
    pub fn accepts(&self, resource: &str, token: &str) -> bool {
        self.claims(token).is_some_and(|claims| claims.aud == resource && claims.exp > self.clock.now().as_second())
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
