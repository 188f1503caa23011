//! One connection to DPS: log in, register, poll.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rumqttc::mqttbytes::{
    QoS,
    v4::{Packet, Publish, SubAck, Subscribe, SubscribeReasonCode},
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    Assignment, Progress, ProvisioningError, ProvisioningRequest,
    answer::{self, AssignedHub, Step},
    topics::{self, AnswerTopic},
};
use crate::{
    backoff::Backoff,
    identity::Endpoint,
    mqtt::{ConnectError, ConnectionLost, Link, Login, Transport, unexpected},
    sas::SasToken,
};

const KEEP_ALIVE: Duration = Duration::from_secs(180);
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// How long one request may stay unanswered, as in the device SDKs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// What DPS may ask to wait. Less than a second would be beyond its limit for polling, more than the keep-alive
/// would cost the connection.
const WAITS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// Before the next poll, where DPS does not say.
const POLL_WAIT: Duration = Duration::from_secs(2);

/// The body of a registration request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration<'a> {
    registration_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
}

/// Registers over one connection.
pub(super) async fn register(
    transport: &Transport,
    request: &ProvisioningRequest,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Assignment, ProvisioningError> {
    let mut session = Session::open(transport, request).await?;
    let end = session.negotiate(request, tell).await;
    session.link.close().await;
    end
}

struct Session {
    link: Link,
    endpoint: Endpoint,
    last_packet_id: u16,
}

impl Session {
    async fn open(transport: &Transport, request: &ProvisioningRequest) -> Result<Self, ProvisioningError> {
        let resource = topics::resource(&request.id_scope, &request.registration_id);
        let login = Login {
            client_id: request.registration_id.to_string(),
            user_name: topics::user_name(&request.id_scope, &request.registration_id),
            password: SasToken::sign(&resource, Some("registration"), &request.key, Timestamp::now(), TOKEN_LIFETIME),
            clean_session: true,
            keep_alive: KEEP_ALIVE,
        };
        let link = Link::open(transport, &request.endpoint, login).await?;
        Ok(Self { link, endpoint: request.endpoint.clone(), last_packet_id: 0 })
    }

    async fn negotiate(
        &mut self,
        request: &ProvisioningRequest,
        tell: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<Assignment, ProvisioningError> {
        self.subscribe().await?;
        let registration =
            Registration { registration_id: request.registration_id.as_str(), payload: request.payload.as_ref() };
        let registration = serde_json::to_vec(&registration)
            .map(Bytes::from)
            .map_err(|error| ProvisioningError::BadAnswer(format!("no body to send: {error}")))?;
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
        let mut operation: Option<String> = None;
        loop {
            let request_id = format!("{:016x}", fastrand::u64(..));
            let (topic, body) = match &operation {
                None => (topics::register(&request_id), registration.clone()),
                // The device SDKs send a space, so that no server sees an empty message.
                Some(operation) => (topics::operation_status(&request_id, operation), Bytes::from_static(b" ")),
            };
            let (head, body) = self.ask(topic, body, &request_id).await?;
            let asked = head.retry_after.map(|wait| wait.clamp(*WAITS.start(), *WAITS.end()));
            let wait = match answer::read(head.status, &body)? {
                Step::Assigned(hub) => return assignment(hub, request.endpoint.port()),
                Step::Poll { operation_id } => {
                    operation = Some(operation_id);
                    backoff.reset();
                    let wait = asked.unwrap_or(POLL_WAIT);
                    tell(Progress::Assigning { wait });
                    wait
                }
                Step::Repeat(error) => {
                    let wait = asked.unwrap_or_else(|| backoff.next());
                    tell(Progress::Busy { error: &error, wait });
                    wait
                }
            };
            sleep(wait).await;
        }
    }

    async fn subscribe(&mut self) -> Result<(), ProvisioningError> {
        let mut subscribe = Subscribe::new(topics::ANSWERS, QoS::AtLeastOnce);
        subscribe.pkid = self.next_packet_id();
        let id = subscribe.pkid;
        let link = &mut self.link;
        let exchange = async {
            link.send(Packet::Subscribe(subscribe)).await?;
            match link.receive().await? {
                Packet::SubAck(SubAck { pkid, return_codes }) if pkid == id => Ok(return_codes),
                other => Err(unexpected(&other)),
            }
        };
        let codes = in_time(&self.endpoint, exchange).await?;
        match codes.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(()),
            _ => Err(ProvisioningError::BadAnswer("a refusal to subscribe to its answers".to_owned())),
        }
    }

    /// Sends a request and waits for the answer that bears its id.
    async fn ask(
        &mut self,
        topic: String,
        body: Bytes,
        request_id: &str,
    ) -> Result<(AnswerTopic, Bytes), ProvisioningError> {
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
        publish.pkid = self.next_packet_id();
        let link = &mut self.link;
        let exchange = async {
            link.send(Packet::Publish(publish)).await?;
            loop {
                match link.receive().await? {
                    Packet::Publish(publish) => {
                        link.acknowledge(&publish).await?;
                        let topic = std::str::from_utf8(&publish.topic).ok().and_then(AnswerTopic::parse);
                        // An answer to an earlier request of this connection is of no use any more.
                        if let Some(topic) = topic.filter(|topic| topic.request_id == request_id) {
                            return Ok((topic, publish.payload));
                        }
                    }
                    Packet::PubAck(_) => {}
                    other => return Err(unexpected(&other)),
                }
            }
        };
        Ok(in_time(&self.endpoint, exchange).await?)
    }

    fn next_packet_id(&mut self) -> u16 {
        // 0 is no packet id.
        self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
        self.last_packet_id
    }
}

async fn in_time<T>(
    endpoint: &Endpoint,
    exchange: impl Future<Output = Result<T, ConnectionLost>>,
) -> Result<T, ConnectError> {
    match timeout(REQUEST_TIMEOUT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ConnectError::Unanswered { endpoint: endpoint.clone(), source }),
        Err(_) => Err(ConnectError::TimedOut { endpoint: endpoint.clone(), after: REQUEST_TIMEOUT }),
    }
}

/// DPS names the hub by host alone. In Azure DPS and hubs share the port; where DPS is elsewhere, so is the hub.
fn assignment(hub: AssignedHub, port: u16) -> Result<Assignment, ProvisioningError> {
    Ok(Assignment {
        hub: Endpoint::new(&hub.host, port)?,
        device_id: hub.device_id.parse()?,
        substatus: hub.substatus,
        payload: hub.payload,
    })
}
