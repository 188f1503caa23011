//! Every setting of the function app: name, type, default, and what is wrong with it.
//!
//! Settings are environment variables: what is an "app setting" in Azure reaches a custom handler as one. They are read
//! once, at start, and all that is wrong with them is reported at once.

mod problems;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use azure_core::credentials::Secret;
use dtdl::ModelId;
use url::Url;

use problems::Reader;
pub use problems::{Problem, Problems};

const DEFAULT_PACE_PERCENT: u16 = 90;
const DEFAULT_EVENT_MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(5).unwrap();
const DEFAULT_TWIN_CACHE_SIZE: NonZeroU64 = NonZeroU64::new(50_000).unwrap();

/// The settings of one process.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `FUNCTIONS_CUSTOMHANDLER_PORT`: the port on 127.0.0.1 that the host expects the app on. `None` outside of a host.
    pub port: Option<u16>,
    /// The instance of Azure Digital Twins.
    pub digital_twins: DigitalTwins,
    /// Where tokens come from.
    pub credentials: Credentials,
    /// For `DpsAdtAllocationFunc`.
    pub allocation: Allocation,
    /// For `DeviceTelemetryToTwinFunc`.
    pub telemetry: Telemetry,
    /// `TELEMETRY_MAPPING_FILE`: where in messages the values of properties are (docs/mapping.md).
    pub telemetry_mapping_file: Option<PathBuf>,
    /// For `DeleteDeviceInTwinFunc`.
    pub lifecycle: Lifecycle,
    /// `EVENT_MAX_ATTEMPTS`: attempts at a batch before what alone still fails transiently becomes dead letters.
    pub event_max_attempts: NonZeroU32,
    /// `TWIN_CACHE_SIZE`: twins that are remembered.
    pub twin_cache_size: NonZeroU64,
}

/// Which instance of Azure Digital Twins, and how it is reached.
#[derive(Debug, Clone)]
pub struct DigitalTwins {
    /// `ADT_SERVICE_URL`: https, no path.
    pub endpoint: Url,
    /// `ADT_CA_FILE`: a PEM file with further roots to trust.
    pub ca_file: Option<PathBuf>,
    /// `ADT_PACE_PERCENT`: the share of the documented limits that this process allows itself, 1 to 1000; more than
    /// 100 for an instance whose limits were raised (Azure Digital Twins: "Service limits", those that are adjustable).
    pub pace_percent: u16,
}

/// Where tokens come from.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// `IDENTITY_ENDPOINT` is set: the managed identity of the app.
    ManagedIdentity {
        /// `AZURE_CLIENT_ID`: a user-assigned identity; `None`: the system-assigned one.
        client_id: Option<String>,
    },
    /// `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET` are set: a service principal.
    ClientSecret {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// The developer's own login: Azure CLI, else Azure Developer CLI.
    DeveloperTools,
}

/// Settings of `DpsAdtAllocationFunc`.
#[derive(Debug, Clone)]
pub struct Allocation {
    /// `ALLOCATION_HUB_POLICY`.
    pub hub_policy: HubPolicy,
    /// `ALLOCATION_MODELS`.
    pub models: AllowedModels,
    /// `ALLOCATION_MODEL_CHANGE`.
    pub model_change: ModelChange,
    /// `ALLOCATION_PARENT_FROM_DEVICE`: take `parentId` also from the device's payload.
    pub parent_from_device: bool,
}

/// Settings of `DeviceTelemetryToTwinFunc`.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// `TELEMETRY_TRUST_DTID`: follow `dtId` also to a twin that is bound to nobody.
    pub trust_dtid: bool,
    /// `TELEMETRY_WITHOUT_TWIN`.
    pub without_twin: WithoutTwin,
}

/// Settings of `DeleteDeviceInTwinFunc`.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// `LIFECYCLE_ON_DELETE`.
    pub on_delete: OnDelete,
}

/// How a registering device gets its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubPolicy {
    /// `sticky`: the current hub while it is linked, else by rendezvous hash over the linked hubs.
    Sticky,
    /// `first`: the first linked hub.
    First,
}

/// What to do when a device asks for a model that its twin does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelChange {
    /// `reject`: refuse the registration.
    Reject,
    /// `upgrade`: to a higher version of the same model; refuse anything else.
    Upgrade,
}

/// What becomes of events of a device that has no twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutTwin {
    /// `leave-out`: they are counted and left out.
    LeaveOut,
    /// `dead-letter`: they become dead letters.
    DeadLetter,
}

/// What becomes of the twin of a deleted device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// `delete`: it is deleted, with its relationships.
    Delete,
    /// `unassign`: it stays, without the bookkeeping properties.
    Unassign,
}

/// The models that devices may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedModels {
    /// Any model that the instance has.
    Any,
    /// Those that one of the patterns matches.
    Listed(Vec<ModelPattern>),
}

/// A model id, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelPattern {
    /// This model.
    Exact(ModelId),
    /// All models whose id begins so (`dtmi:contosocom:*`).
    Prefix(String),
}

impl AllowedModels {
    /// Whether a device may ask for `model`.
    #[must_use]
    pub fn allows(&self, model: &ModelId) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => patterns.iter().any(|pattern| match pattern {
                ModelPattern::Exact(id) => id == model,
                ModelPattern::Prefix(prefix) => model.as_str().starts_with(prefix.as_str()),
            }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).map(ModelPattern::parse);
        patterns.collect::<Option<Vec<_>>>().filter(|patterns| !patterns.is_empty()).map(Self::Listed)
    }
}

impl ModelPattern {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some(prefix) => {
                (prefix.starts_with("dtmi:") && !prefix.contains('*')).then(|| Self::Prefix(prefix.to_owned()))
            }
            None => ModelId::parse(text).ok().map(Self::Exact),
        }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManagedIdentity { client_id: None } => f.write_str("managed identity (system-assigned)"),
            Self::ManagedIdentity { client_id: Some(id) } => write!(f, "managed identity (user-assigned {id})"),
            Self::ClientSecret { client_id, .. } => write!(f, "client secret of application {client_id}"),
            Self::DeveloperTools => f.write_str("the developer's login (Azure CLI or Azure Developer CLI)"),
        }
    }
}

impl Settings {
    /// Reads the settings through `lookup`, which knows the values of environment variables. An empty value is none.
    ///
    /// # Errors
    /// [`Problems`]: everything that is wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(&lookup);
        let port = reader.optional("FUNCTIONS_CUSTOMHANDLER_PORT", "a port, 1 to 65535", |text| {
            text.parse().ok().filter(|port| *port != 0)
        });
        let endpoint = reader.required("ADT_SERVICE_URL", ENDPOINT_TAKES, endpoint);
        let ca_file = reader.optional("ADT_CA_FILE", "a path", |text| Some(PathBuf::from(text)));
        let pace_percent = reader.or("ADT_PACE_PERCENT", "a number from 1 to 1000", DEFAULT_PACE_PERCENT, |text| {
            text.parse().ok().filter(|percent| (1..=1000).contains(percent))
        });
        let credentials = credentials(&mut reader);
        let allocation = allocation(&mut reader);
        let telemetry = telemetry(&mut reader);
        let telemetry_mapping_file =
            reader.optional("TELEMETRY_MAPPING_FILE", "a path", |text| Some(PathBuf::from(text)));
        let lifecycle = lifecycle(&mut reader);
        let event_max_attempts =
            reader.or("EVENT_MAX_ATTEMPTS", "a number from 1", DEFAULT_EVENT_MAX_ATTEMPTS, |text| text.parse().ok());
        let twin_cache_size =
            reader.or("TWIN_CACHE_SIZE", "a number from 1 to 10000000", DEFAULT_TWIN_CACHE_SIZE, |text| {
                text.parse().ok().filter(|size: &NonZeroU64| size.get() <= 10_000_000)
            });
        let problems = reader.into_problems();
        let Some((endpoint, credentials)) = endpoint.zip(credentials).filter(|_| problems.as_slice().is_empty()) else {
            return Err(problems);
        };
        Ok(Self {
            port,
            digital_twins: DigitalTwins { endpoint, ca_file, pace_percent },
            credentials,
            allocation,
            telemetry,
            telemetry_mapping_file,
            lifecycle,
            event_max_attempts,
            twin_cache_size,
        })
    }
}

const OFF_OR_ON: [(&str, bool); 2] = [("off", false), ("on", true)];
const ENDPOINT_TAKES: &str = "the https URL of the instance, https://<instance>.api.<region>.digitaltwins.azure.net";
const MODELS_TAKE: &str = "model ids and prefixes that end in *, separated by commas";

/// The address of an instance: https, a host, perhaps a port, nothing else.
fn endpoint(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && url.has_host() && bare && anonymous).then_some(url)
}

fn allocation(reader: &mut Reader<'_>) -> Allocation {
    Allocation {
        hub_policy: reader
            .choice("ALLOCATION_HUB_POLICY", &[("sticky", HubPolicy::Sticky), ("first", HubPolicy::First)]),
        models: reader.or("ALLOCATION_MODELS", MODELS_TAKE, AllowedModels::Any, AllowedModels::parse),
        model_change: reader
            .choice("ALLOCATION_MODEL_CHANGE", &[("reject", ModelChange::Reject), ("upgrade", ModelChange::Upgrade)]),
        parent_from_device: reader.choice("ALLOCATION_PARENT_FROM_DEVICE", &OFF_OR_ON),
    }
}

fn telemetry(reader: &mut Reader<'_>) -> Telemetry {
    Telemetry {
        trust_dtid: reader.choice("TELEMETRY_TRUST_DTID", &OFF_OR_ON),
        without_twin: reader.choice(
            "TELEMETRY_WITHOUT_TWIN",
            &[("leave-out", WithoutTwin::LeaveOut), ("dead-letter", WithoutTwin::DeadLetter)],
        ),
    }
}

fn lifecycle(reader: &mut Reader<'_>) -> Lifecycle {
    Lifecycle {
        on_delete: reader
            .choice("LIFECYCLE_ON_DELETE", &[("delete", OnDelete::Delete), ("unassign", OnDelete::Unassign)]),
    }
}

fn credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    let client_id = reader.text("AZURE_CLIENT_ID");
    if reader.text("IDENTITY_ENDPOINT").is_some() {
        if reader.text("IDENTITY_HEADER").is_none() {
            reader.problem("IDENTITY_HEADER", "is not set, but IDENTITY_ENDPOINT is; the platform sets both or none");
            return None;
        }
        return Some(Credentials::ManagedIdentity { client_id });
    }
    match (reader.text("AZURE_TENANT_ID"), client_id, reader.text("AZURE_CLIENT_SECRET")) {
        (None, None, None) => Some(Credentials::DeveloperTools),
        (Some(tenant_id), Some(client_id), Some(secret)) => {
            Some(Credentials::ClientSecret { tenant_id, client_id, secret: Secret::new(secret) })
        }
        (tenant_id, client_id, secret) => {
            let parts = [
                ("AZURE_TENANT_ID", tenant_id.is_some()),
                ("AZURE_CLIENT_ID", client_id.is_some()),
                ("AZURE_CLIENT_SECRET", secret.is_some()),
            ];
            for (name, _) in parts.iter().filter(|(_, set)| !set) {
                reader.problem(
                    name,
                    "is not set; AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET are set together or not at all",
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
