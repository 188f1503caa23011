//! A device's CONNECT (IoT Hub: communicate using MQTT; control access with shared access signatures; authenticate
//! identities with X.509 certificates).

use std::sync::Arc;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use rumqttc::ConnectReturnCode;
use tokio::time::{Duration, Instant};
use tracing::{debug, info};

use super::{
    Address, DeviceId, Identity, IotHub, Message, ModuleId,
    device_session::{DeviceSession, Method, Sender},
    operation::Operation,
};
use crate::{
    mqtt::{Credentials, Endpoint as _, NotAdmitted, Subscriptions},
    sas::Token,
    x509::Chain,
};

/// `{hub}/{device}[/{module}][/?api-version=..&model-id=..]`; ids are not encoded.
#[derive(Debug, PartialEq, Eq)]
struct UserName {
    host: String,
    at: Address,
    model: Option<String>,
}

impl UserName {
    fn parse(text: &str) -> Option<Self> {
        let (path, query) = text.split_once("/?").unwrap_or((text, ""));
        let mut segments = path.trim_end_matches('/').split('/');
        let host = segments.next().filter(|host| !host.is_empty())?.to_owned();
        let device = segments.next()?.parse::<DeviceId>().ok()?;
        let module = segments.next().map(str::parse::<ModuleId>).transpose().ok()?;
        if segments.next().is_some() {
            return None;
        }
        let model = query.split('&').find_map(|pair| pair.strip_prefix("model-id="));
        let model = model.map(|model| percent_decode_str(model).decode_utf8_lossy().into_owned());
        Some(Self { host, at: Address { device, module }, model })
    }
}

impl IotHub {
    /// Lets a device or module in.
    ///
    /// # Errors
    /// What the client is told. MQTT 3.1.1 says no more than a code, so the reason is logged.
    pub(crate) async fn sign_in(self: Arc<Self>, who: Credentials<'_>) -> Result<DeviceSession, NotAdmitted> {
        let user_name = UserName::parse(who.user_name).ok_or(ConnectReturnCode::BadUserNamePassword)?;
        let at = user_name.at.clone();
        let passage = self.pass(Operation::Connect, at.device.as_str(), 1).await?;
        let session = self.open(user_name, who);
        if passage.is_answered().await {
            return session.map_err(NotAdmitted::Told);
        }
        if let Ok(mut session) = session {
            session.ended(false).await;
        }
        Err(NotAdmitted::NoAnswer)
    }

    /// Checks who it is, and opens the connection.
    fn open(self: &Arc<Self>, user_name: UserName, who: Credentials<'_>) -> Result<DeviceSession, ConnectReturnCode> {
        // What is found out here still holds when the connection is known, and a deletion from then on closes it.
        let _order = self.in_order();
        let at = user_name.at.clone();
        if who.client_id != at.to_string() {
            debug!(hub = %self.host_name, device = %at, "refused a client id that is not the device's");
            return Err(ConnectReturnCode::BadClientId);
        }
        let proof = self.verify(&user_name.host, &at, who.password, who.certificate).map_err(|reason| {
            info!(hub = %self.host_name, device = %at, %reason, "refused a device");
            ConnectReturnCode::NotAuthorized
        })?;
        let will = match who.will {
            None => None,
            Some(will) => match Message::from_topic(&will.topic, will.message.clone()) {
                Ok((from, message)) if from == at => Some(message),
                _ => return Err(ConnectReturnCode::NotAuthorized),
            },
        };
        let now = self.clock.now();
        let earlier = if who.clean { Subscriptions::default() } else { self.remembered(&at) };
        self.remember(&at, &earlier);
        let connection = self.connections.open(&at, earlier, user_name.model.clone(), now);
        let good_for = |expiry: Timestamp| Duration::try_from(expiry.duration_since(now)).unwrap_or_default();
        // A token may be good for longer than a clock can count: then nothing ends it.
        let expires = proof.expiry.and_then(|expiry| Instant::now().checked_add(good_for(expiry)));
        let sender = Sender { at, generation: proof.generation, method: proof.method, model: user_name.model };
        Ok(DeviceSession::new(Arc::clone(self), sender, connection, expires, will))
    }

    /// How it is known who this is: by the token, else by the certificate.
    pub(super) fn verify(
        &self,
        host: &str,
        at: &Address,
        token: Option<&str>,
        certificate: Option<&Chain>,
    ) -> Result<Proof, String> {
        let (identity, may_connect) = self.store.read(|state| {
            let entry = state.get(at).ok_or("it is not in the registry")?;
            Ok::<_, &str>((entry.identity.clone(), state.may_connect(at)))
        })?;
        let (method, expiry) = match (token, certificate) {
            (None, Some(chain)) => (self.verify_certificate(at, &identity, chain)?, None),
            (token, _) => {
                let token = token.ok_or("there is neither a token nor a certificate")?;
                let (method, expiry) = self.verify_token(host, at, &identity, token)?;
                (method, Some(expiry))
            }
        };
        if !may_connect {
            return Err("it is disabled".into());
        }
        Ok(Proof { generation: identity.generation, method, expiry })
    }

    fn verify_token(
        &self,
        host: &str,
        at: &Address,
        identity: &Identity,
        token: &str,
    ) -> Result<(Method, Timestamp), String> {
        let token = Token::parse(token).map_err(|refusal| refusal.to_string())?;
        // The host is part of what is signed: the hub's name, by which the device also chose it.
        let resource = at.resource(host);
        let now = self.clock.now();
        let checked = match token.policy() {
            Some(name) => {
                let policy = self.policies.iter().find(|policy| policy.name == name);
                let policy = policy.filter(|policy| policy.permissions.device_connect);
                let policy = policy.ok_or("its policy does not exist or may not speak for devices")?;
                token.check(&resource, [&policy.key], now).map(|_| "hub")
            }
            None => {
                let keys = identity.authentication.keys();
                let keys = keys.ok_or("it has no symmetric keys: it must show a certificate")?;
                token.check(&resource, keys.keys(), now).map(|_| scope(at))
            }
        };
        let scope = checked.map_err(|refusal| refusal.to_string())?;
        Ok((Method { scope, kind: "sas" }, token.good_until()))
    }

    fn verify_certificate(&self, at: &Address, identity: &Identity, chain: &Chain) -> Result<Method, String> {
        let leaf = chain.leaf().map_err(|error| error.to_string())?;
        identity.authentication.check(&leaf, self.clock.now()).map_err(|error| error.to_string())?;
        Ok(Method { scope: scope(at), kind: "x509" })
    }
}

/// How a device or module is known, and how long that holds.
#[derive(Debug)]
pub(super) struct Proof {
    /// Whose it is, among all that ever had the name.
    pub(super) generation: u64,
    pub(super) method: Method,
    /// When its token stops being good. Certificates are looked at once.
    pub(super) expiry: Option<Timestamp>,
}

fn scope(at: &Address) -> &'static str {
    if at.module.is_some() { "module" } else { "device" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        username: String,
        parsed: Parsed,
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Parsed {
        host: Option<String>,
        device_id: Option<String>,
        module_id: Option<String>,
        #[serde(rename = "model-id")]
        model_id: Option<String>,
    }

    #[test]
    fn user_names_of_the_sdks_are_understood() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/iot/hub_mqtt_connect.json")).unwrap();
        for Case { username, parsed } in cases {
            let found = UserName::parse(&username).unwrap();
            assert!(parsed.host.is_none_or(|host| host == found.host), "{username}");
            assert!(parsed.device_id.is_none_or(|id| id == found.at.device.as_str()), "{username}");
            assert_eq!(parsed.module_id.as_deref(), found.at.module.as_ref().map(ModuleId::as_str), "{username}");
            assert_eq!(parsed.model_id, found.model, "{username}");
        }
    }

    #[test]
    fn other_user_names_are_not() {
        for text in ["", "hub", "hub/", "/d1", "hub/d1/m1/more", "hub/d 1", "hub//?api-version=2021-04-12"] {
            assert_eq!(UserName::parse(text), None, "{text}");
        }
    }
}
