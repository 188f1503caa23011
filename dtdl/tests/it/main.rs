//! Tests of the crate's public interface.
#![expect(clippy::expect_used, reason = "a helper that panics has failed its test")]

mod sample;
