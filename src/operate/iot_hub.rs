//! IoT Hub's service API, as far as operators need it: device twins, in pages and one by one, and their tags
//! (IoT Hub: "Service REST API", version 2021-04-12).

mod access;

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, IF_MATCH, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

pub(super) use self::access::{Access, AccessError};
use super::command_line::HubArguments;
use super::{Error, variable};
use crate::device::{DeviceId, HubName};
use crate::digital_twins::{chain, credential, http_client};
use crate::settings::Settings;

/// The largest file with connection strings, in bytes.
const MAX_CONNECTION_STRINGS: u64 = 1024 * 1024;
const API_VERSION: &str = "2021-04-12";
/// Devices in one page that are asked for; the service gives fewer where it wants to (Query - Get Twins). Queries are
/// few: 20 a minute and unit on the smallest tiers (IoT Hub: "Quotas and throttling").
const PAGE: &str = "1000";
/// The largest answer that is read: a thousand device twins of 32 KB of each kind, and some.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// With the waits between them, longer than the minute over which IoT Hub counts.
const TRIES: u32 = 8;
const CONNECTION_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(60);
const CONTINUATION: &str = "x-ms-continuation";

/// Why a hub does not say what was asked. Carries no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("no IoT hub is named: set IOTHUB_CONNECTION_STRING, or use --connection-string-file or --hub")]
    None,
    #[error("the device twin of {0} changed meanwhile")]
    Changed(DeviceId),
    #[error("IoT hub {0} is named twice: name each hub once")]
    Twice(String),
    #[error("IoT hub {hub} cannot be reached: {reason}")]
    Connection { hub: String, reason: String },
    #[error("IoT hub {hub} denies access with status {status}: {hint}")]
    Denied { hub: String, status: u16, hint: &'static str },
    #[error("IoT hub {hub} answered {operation} with status {status}: {message}")]
    Refused { hub: String, operation: &'static str, status: u16, message: String },
    #[error("IoT hub {hub}: unexpected answer to {operation}: {reason}")]
    Answer { hub: String, operation: &'static str, reason: String },
}

/// A device of a hub, as its device twin shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) hub: HubName,
    pub(super) id: DeviceId,
    /// The version of the device twin.
    pub(super) etag: String,
    /// Tag `dtId`.
    pub(super) twin_id: Option<String>,
    /// Tag `dtmi`.
    pub(super) model_id: Option<String>,
}

/// One hub.
#[derive(Debug)]
pub(super) struct Hub {
    name: HubName,
    base: Url,
    access: Access,
    http: reqwest::Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    device_id: String,
    #[serde(default)]
    module_id: Option<String>,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    tags: Option<Value>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// The hubs that the command line or the environment names.
pub(super) fn hubs(arguments: &HubArguments, settings: &Settings) -> Result<Vec<Hub>, Error> {
    let strings = match &arguments.connection_string_file {
        Some(path) => connection_strings(path).map_err(|error| Error::File(path.display().to_string(), error))?,
        None => variable("IOTHUB_CONNECTION_STRING").unwrap_or_default(),
    };
    let ca_file = settings.digital_twins.ca_file.as_deref();
    let mut hubs: Vec<Hub> = Vec::new();
    for line in strings.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (host, access) = Access::of_connection_string(line).map_err(HubError::from)?;
        hubs.push(Hub::new(&host, access, ca_file)?);
    }
    for host in &arguments.hosts {
        hubs.push(Hub::new(host, Access::Login(credential(&settings.credentials, ca_file)?), ca_file)?);
    }
    // The same hub twice would have each of its devices twice.
    let mut names = Vec::new();
    for hub in &hubs {
        if names.contains(&hub.name()) {
            return Err(HubError::Twice(hub.name.to_string()).into());
        }
        names.push(hub.name());
    }
    Ok(hubs)
}

/// The text of a file with connection strings.
fn connection_strings(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_CONNECTION_STRINGS + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_CONNECTION_STRINGS {
        return Err(io::Error::other(format!("it is larger than {MAX_CONNECTION_STRINGS} bytes")));
    }
    let text = String::from_utf8(text).map_err(|_| io::Error::other("it is not UTF-8 text; save it as UTF-8"))?;
    // Editors on Windows put a byte order mark at the start.
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

impl Hub {
    /// The hub at `host`, a port behind it included where it is not 443.
    fn new(host: &str, access: Access, ca_file: Option<&Path>) -> Result<Self, Error> {
        let bad = || HubError::from(AccessError::host(host));
        let base: Url = format!("https://{host}").parse().map_err(|_| bad())?;
        let is_bare = base.path() == "/" && base.query().is_none() && base.fragment().is_none();
        let is_anonymous = base.username().is_empty() && base.password().is_none();
        let name = HubName::of_host(base.host_str().unwrap_or_default()).map_err(|_| bad())?;
        if !(is_bare && is_anonymous) {
            return Err(bad().into());
        }
        // Names below localhost are this machine, whatever its resolver knows (RFC 6761).
        let local = base.host_str().filter(|host| host.ends_with(".localhost")).map(str::to_owned);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, base.port_or_known_default().unwrap_or(443)));
        let http = http_client(ca_file, |builder| {
            let builder = builder.timeout(DEADLINE);
            match &local {
                Some(host) => builder.resolve(host, address),
                None => builder,
            }
        })?;
        Ok(Self { name, base, access, http })
    }

    pub(super) fn name(&self) -> &HubName {
        &self.name
    }

    /// Whether the hub answers and gives access; reads one device twin at most.
    pub(super) async fn check(&self) -> Result<(), HubError> {
        self.page("1", None).await.map(drop)
    }

    /// Hands all devices to `take`, page after page. Right after a change a query need not see it (IoT Hub: "Queries for
    /// device twins").
    pub(super) async fn devices(&self, mut take: impl FnMut(Vec<Device>)) -> Result<(), HubError> {
        let mut token = None;
        loop {
            let (devices, next) = self.page(PAGE, token.as_deref()).await?;
            take(devices);
            match next {
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(self.answer("query", "its pages do not come to an end"));
                }
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// A page of devices and the token of the next one.
    async fn page(&self, size: &str, token: Option<&str>) -> Result<(Vec<Device>, Option<String>), HubError> {
        const OPERATION: &str = "query";
        let url = self.url(&["devices", "query"])?;
        let request = || {
            let request = self.http.post(url.clone()).header("x-ms-max-item-count", size);
            let request = request.json(&json!({ "query": "SELECT * FROM devices" }));
            token.into_iter().fold(request, |request, token| request.header(CONTINUATION, token))
        };
        let reply = self.send(request).await?;
        let rows: Vec<Row> = self.read(OPERATION, &reply)?;
        let next = reply.headers.get(CONTINUATION).and_then(|token| token.to_str().ok());
        let next = next.filter(|token| !token.is_empty()).map(str::to_owned);
        Ok((self.devices_of(OPERATION, rows)?, next))
    }

    /// The device, if the hub has it.
    pub(super) async fn device(&self, id: &DeviceId) -> Result<Option<Device>, HubError> {
        const OPERATION: &str = "get device twin";
        let url = self.url(&["twins", id.as_str()])?;
        let reply = self.send(|| self.http.get(url.clone())).await?;
        if reply.status == StatusCode::NOT_FOUND && reply.says("DeviceNotFound") {
            return Ok(None);
        }
        let row: Row = self.read(OPERATION, &reply)?;
        Ok(self.devices_of(OPERATION, vec![row])?.pop())
    }

    /// Sets the tags that name the device's digital twin, unless the device twin changed since it was read.
    pub(super) async fn tag(&self, device: &Device, twin_id: &str, model_id: &str) -> Result<(), HubError> {
        let url = self.url(&["twins", device.id.as_str()])?;
        let body = json!({ "tags": { "dtId": twin_id, "dtmi": model_id } });
        let etag = format!("\"{}\"", device.etag);
        let reply = self.send(|| self.http.patch(url.clone()).header(IF_MATCH, &etag).json(&body)).await?;
        if reply.status == StatusCode::PRECONDITION_FAILED {
            return Err(HubError::Changed(device.id.clone()));
        }
        self.read::<serde::de::IgnoredAny>("patch device twin", &reply).map(drop)
    }

    /// Sends a request, again where that can help.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Reply, HubError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let authorization = self.access.authorization(self.base.host_str().unwrap_or_default()).await?;
            let answer = match request().header(AUTHORIZATION, authorization).send().await {
                Ok(response) => self.whole(response).await?,
                Err(error) => Err(error),
            };
            let wait = match answer {
                Ok(reply) if !is_transient(reply.status) || tries == TRIES => return Ok(reply),
                Ok(reply) => reply.asked_wait(),
                // Who is not there after some seconds is not there after a minute.
                Err(error) if tries == CONNECTION_TRIES => {
                    let reason = chain(&error.without_url());
                    // With its port, which is easily forgotten.
                    return Err(HubError::Connection { hub: self.base.authority().to_owned(), reason });
                }
                Err(_) => None,
            };
            let wait = wait.unwrap_or_else(|| FIRST_WAIT.saturating_mul(2u32.saturating_pow(tries - 1)));
            tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        }
    }

    /// The whole answer, if it is not larger than any answer is.
    async fn whole(&self, mut response: Response) -> Result<reqwest::Result<Reply>, HubError> {
        let mut reply = Reply { status: response.status(), headers: response.headers().clone(), body: Vec::new() };
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => reply.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Ok(reply)),
                Err(error) => return Ok(Err(error)),
            }
            if reply.body.len() > MAX_ANSWER_BYTES {
                return Err(self.answer("a request", &format!("it is larger than {MAX_ANSWER_BYTES} bytes")));
            }
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, operation: &'static str, reply: &Reply) -> Result<T, HubError> {
        let hub = self.name.to_string();
        match reply.status.as_u16() {
            200..=299 => {
                serde_json::from_slice(&reply.body).map_err(|error| self.answer(operation, &error.to_string()))
            }
            status @ (401 | 403) => Err(HubError::Denied { hub, status, hint: self.access.hint() }),
            status => Err(HubError::Refused { hub, operation, status, message: reply.excerpt() }),
        }
    }

    fn devices_of(&self, operation: &'static str, rows: Vec<Row>) -> Result<Vec<Device>, HubError> {
        let devices = rows.into_iter().filter(|row| row.module_id.is_none());
        let device = |row: Row| {
            let tag = |name: &str| Some(row.tags.as_ref()?.get(name)?.as_str()?.to_owned());
            Ok(Device {
                hub: self.name.clone(),
                id: DeviceId::parse(&row.device_id).map_err(|error| self.answer(operation, &error.to_string()))?,
                twin_id: tag("dtId"),
                model_id: tag("dtmi"),
                etag: row.etag,
            })
        };
        devices.map(device).collect()
    }

    fn answer(&self, operation: &'static str, reason: &str) -> HubError {
        HubError::Answer { hub: self.name.to_string(), operation, reason: reason.to_owned() }
    }

    fn url(&self, segments: &[&str]) -> Result<Url, HubError> {
        // In a path, these two would not be names.
        if let Some(name) = segments.iter().find(|segment| matches!(**segment, "." | "..")) {
            return Err(self.answer("a URL", &format!("a device called {name:?} cannot be asked for")));
        }
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        Ok(url)
    }
}

fn is_transient(status: StatusCode) -> bool {
    [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status) || status.is_server_error()
}

impl Reply {
    /// Whether the hub named this error: in a header, or at the beginning of its message.
    fn says(&self, code: &str) -> bool {
        let named = self.headers.get("iothub-errorcode").and_then(|value| value.to_str().ok());
        named == Some(code) || String::from_utf8_lossy(&self.body).contains(&format!("ErrorCode:{code}"))
    }

    fn asked_wait(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }

    /// The hub's words on one line.
    fn excerpt(&self) -> String {
        let message = serde_json::from_slice::<Value>(&self.body).ok();
        let message = message.as_ref().and_then(|body| body.get("Message").or_else(|| body.get("message"))?.as_str());
        let text = message.map_or_else(|| String::from_utf8_lossy(&self.body).into_owned(), str::to_owned);
        text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
