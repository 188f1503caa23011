//! Thumbprints of certificates.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde::{Deserialize, Serialize};

/// A text is no thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint has 40 hexadecimal digits (SHA-1) or 64 (SHA-256), and nothing between them")]
pub struct NotAThumbprint;

/// The SHA-1 or SHA-256 of a certificate's DER. Read in any case, shown in upper case.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Thumbprint {
    /// By SHA-1, 20 bytes.
    Sha1([u8; 20]),
    /// By SHA-256, 32 bytes.
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// The SHA-1 of a certificate's DER.
    pub fn sha1(der: &[u8]) -> Self {
        Self::Sha1(bytes(&digest(&SHA1_FOR_LEGACY_USE_ONLY, der)))
    }

    /// The SHA-256 of a certificate's DER.
    pub fn sha256(der: &[u8]) -> Self {
        Self::Sha256(bytes(&digest(&SHA256, der)))
    }

    /// Whether it is that of this certificate.
    pub fn is_of(&self, der: &[u8]) -> bool {
        match self {
            Self::Sha1(_) => *self == Self::sha1(der),
            Self::Sha256(_) => *self == Self::sha256(der),
        }
    }
}

/// A digest's bytes; all of them where the sizes agree, as they do here.
fn bytes<const N: usize>(digest: &Digest) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(byte, of)| *byte = *of);
    bytes
}

/// Reads exactly `N` bytes in hexadecimal digits.
fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(pair).ok().filter(|_| pair.iter().all(u8::is_ascii_hexdigit))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Thumbprint {
    type Err = NotAThumbprint;

    fn from_str(text: &str) -> Result<Self, NotAThumbprint> {
        hexadecimal(text).map(Self::Sha1).or_else(|| hexadecimal(text).map(Self::Sha256)).ok_or(NotAThumbprint)
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = NotAThumbprint;

    fn try_from(text: String) -> Result<Self, NotAThumbprint> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the bytes `abc` (FIPS 180: the examples of SHA-1 and SHA-256).
    const SHA1: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";
    const SHA256: &str = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

    #[test]
    fn a_thumbprint_is_read_in_any_case_and_shown_in_upper_case() {
        for text in [SHA1, SHA256] {
            let thumbprint: Thumbprint = text.to_lowercase().parse().unwrap();
            assert_eq!(thumbprint.to_string(), text);
            assert!(thumbprint.is_of(b"abc") && !thumbprint.is_of(b"abd"), "{text}");
        }
        assert_eq!(
            (Thumbprint::sha1(b"abc").to_string(), Thumbprint::sha256(b"abc").to_string()),
            (SHA1.into(), SHA256.into())
        );
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        let colons = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50";
        let sign = format!("+9{}", &SHA1[2..]);
        let wide = format!("é{}", &SHA1[2..]);
        for text in ["", "A9", &SHA1[1..], &SHA1.replace('A', "G"), colons, &sign, &wide, &format!("{SHA256}00")] {
            assert_eq!(text.parse::<Thumbprint>(), Err(NotAThumbprint), "{text}");
        }
    }
}
