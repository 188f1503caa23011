//! Id scope, keys and headers of one local-azure.
//!
//! On the default ports they are fixed and published, like those of other emulators, so that a device configured
//! once works again tomorrow. They protect nothing; the loopback address does.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Everything that a client must know to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The id scope of the provisioning service.
    pub id_scope: String,
    /// The enrollment group's primary key, base64 of 64 bytes.
    pub group_primary_key: String,
    /// The enrollment group's secondary key.
    pub group_secondary_key: String,
    /// The key of each hub's policy `iothubowner`.
    pub hub_owner_key: String,
    /// The key of the provisioning service's policy `provisioningserviceowner`.
    pub dps_owner_key: String,
    /// The function key that the webhook's URL carries.
    pub function_key: String,
    /// What the managed identity endpoint wants in `X-IDENTITY-HEADER`.
    pub identity_header: String,
}

impl Credentials {
    /// The published development values.
    pub fn published() -> Self {
        Self {
            id_scope: "0ne00L0CA1A".to_owned(),
            group_primary_key: readable_key("enrollment group primary key"),
            group_secondary_key: readable_key("enrollment group secondary key"),
            hub_owner_key: readable_key("iothubowner key"),
            dps_owner_key: readable_key("DPS owner key"),
            function_key: "local-azure-published-development-function-key-no-secret".to_owned(),
            identity_header: "local-azure-published-development-identity-header".to_owned(),
        }
    }

    /// Values of this run only: runs side by side do not let each other's clients in.
    pub fn random() -> Self {
        let digits: String = std::iter::repeat_with(|| fastrand::digit(16).to_ascii_uppercase()).take(8).collect();
        Self {
            id_scope: format!("0ne{digits}"),
            group_primary_key: random_key(),
            group_secondary_key: random_key(),
            hub_owner_key: random_key(),
            dps_owner_key: random_key(),
            function_key: format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()),
            identity_header: uuid::Uuid::new_v4().to_string(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id_scope", &self.id_scope).finish_non_exhaustive()
    }
}

/// 64 bytes, as long as a key that Azure makes, that say themselves what they are.
fn readable_key(name: &str) -> String {
    STANDARD.encode(format!("{:.<64}", format!("local-azure published development {name}")))
}

fn random_key() -> String {
    let bytes: Vec<u8> = (0..4).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_are_the_same_every_time_and_random_ones_are_not() {
        assert_eq!(Credentials::published(), Credentials::published());
        assert_ne!(Credentials::random(), Credentials::random());
    }

    #[test]
    fn keys_are_base64_of_64_bytes_as_those_of_azure() {
        for credentials in [Credentials::published(), Credentials::random()] {
            let Credentials { group_primary_key, group_secondary_key, hub_owner_key, dps_owner_key, .. } = credentials;
            for key in [group_primary_key, group_secondary_key, hub_owner_key, dps_owner_key] {
                assert_eq!(STANDARD.decode(key).unwrap().len(), 64);
            }
        }
    }
}
