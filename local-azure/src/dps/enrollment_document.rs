//! Enrollments as JSON: how the service's API and the webhook see them (DPS: service REST API 2021-10-01, enrollment
//! groups and individual enrollments; custom allocation concepts).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Allocation, Attestation, Enrollment, EnrollmentName, Reprovisioning, Webhook,
    attestation_document::WantedAttestation, enrollment::new_etag,
};
use crate::iot_hub::{DeviceId, HostName};

impl EnrollmentName {
    /// The member of the webhook's request that holds the enrollment.
    pub(super) fn member(&self) -> &'static str {
        match self {
            Self::Group(_) => "enrollmentGroup",
            Self::Individual(_) => "individualEnrollment",
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Group(id) => id,
            Self::Individual(id) => id.as_str(),
        }
    }
}

impl Allocation {
    fn name(&self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::GeoLatency => "geoLatency",
            Self::Static => "static",
            Self::Custom { .. } => "custom",
        }
    }
}

impl Reprovisioning {
    fn policy(self) -> Value {
        let (update, migrate) = match self {
            Self::Migrate => (true, true),
            Self::Reset => (true, false),
            Self::Never => (false, false),
        };
        json!({ "updateHubAssignment": update, "migrateDeviceData": migrate })
    }
}

/// The enrollment without its keys. `hubs` stand for all linked ones; `address` is how the webhook's is shown.
pub(super) fn show(
    name: &EnrollmentName,
    enrollment: &Enrollment,
    hubs: &[&HostName],
    address: fn(&Webhook) -> String,
) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    match name {
        EnrollmentName::Group(id) => put("enrollmentGroupId", id.as_str().into()),
        EnrollmentName::Individual(id) => put("registrationId", id.as_str().into()),
    };
    if let Some(device) = &enrollment.device {
        put("deviceId", device.as_str().into());
    }
    put("attestation", enrollment.attestation.show());
    put("capabilities", json!({ "iotEdge": enrollment.iot_edge }));
    put("etag", quoted(&enrollment.etag).into());
    put("provisioningStatus", if enrollment.enabled { "enabled" } else { "disabled" }.into());
    put("reprovisionPolicy", enrollment.reprovisioning.policy());
    put("createdDateTimeUtc", format!("{:.7}", enrollment.created).into());
    put("lastUpdatedDateTimeUtc", format!("{:.7}", enrollment.updated).into());
    put("allocationPolicy", enrollment.allocation.name().into());
    let own: Vec<&HostName> = enrollment.hubs.iter().collect();
    let hubs = if own.is_empty() { hubs } else { &own };
    put("iotHubs", hubs.iter().map(|hub| hub.as_str()).collect::<Vec<_>>().into());
    if let Some(twin) = &enrollment.initial_twin {
        put("initialTwin", twin.clone());
    }
    if let Allocation::Custom { webhook, api_version } = &enrollment.allocation {
        put("customAllocationDefinition", json!({ "webhookUrl": address(webhook), "apiVersion": api_version }));
    }
    shown.into()
}

/// An ETag as it is written.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// What a client writes. Members that are the service's to say are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    enrollment_group_id: Option<String>,
    registration_id: Option<String>,
    device_id: Option<DeviceId>,
    attestation: Option<WantedAttestation>,
    capabilities: Option<WantedCapabilities>,
    provisioning_status: Option<Status>,
    reprovision_policy: Option<WantedReprovisioning>,
    allocation_policy: Option<Policy>,
    iot_hubs: Option<Vec<HostName>>,
    iot_hub_host_name: Option<HostName>,
    initial_twin: Option<Map<String, Value>>,
    custom_allocation_definition: Option<WantedWebhook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedCapabilities {
    iot_edge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Status {
    Enabled,
    Disabled,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedReprovisioning {
    update_hub_assignment: bool,
    migrate_device_data: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Policy {
    Hashed,
    GeoLatency,
    Static,
    Custom,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WantedWebhook {
    webhook_url: Webhook,
    api_version: String,
}

/// The enrollment that a document describes, made now or in place of `before`: what is not said is as by default,
/// keys that are not said stay or are generated, certificates stay.
///
/// # Errors
/// What is wrong with the document.
pub(super) fn read(
    name: &EnrollmentName,
    document: &Value,
    before: Option<&Enrollment>,
    linked: &[&HostName],
    now: Timestamp,
) -> Result<Enrollment, String> {
    let wanted = Wanted::deserialize(document).map_err(|error| format!("not an enrollment: {error}"))?;
    wanted.check(name)?;
    Ok(Enrollment {
        attestation: wanted.attestation(name, before)?,
        enabled: wanted.provisioning_status != Some(Status::Disabled),
        hubs: wanted.hubs(linked)?,
        reprovisioning: wanted.reprovisioning(),
        iot_edge: wanted.capabilities.as_ref().is_some_and(|capabilities| capabilities.iot_edge),
        device: wanted.device_id.clone(),
        etag: new_etag(),
        created: before.map_or(now, |before| before.created),
        updated: now,
        initial_twin: wanted.initial_twin.clone().map(Value::from),
        allocation: wanted.allocation()?,
    })
}

impl Wanted {
    /// The document must be about what the path says.
    fn check(&self, name: &EnrollmentName) -> Result<(), String> {
        let (said, same) = match name {
            EnrollmentName::Group(id) => (&self.enrollment_group_id, self.enrollment_group_id.as_ref() == Some(id)),
            EnrollmentName::Individual(id) => {
                let said = &self.registration_id;
                (said, said.as_ref().is_some_and(|said| said.eq_ignore_ascii_case(id.as_str())))
            }
        };
        if said.is_some() && !same {
            return Err(format!("the path says {}, the body has another id", name.as_str()));
        }
        if matches!(name, EnrollmentName::Group(_)) && self.device_id.is_some() {
            return Err("a group has no deviceId".to_owned());
        }
        Ok(())
    }

    fn attestation(&self, name: &EnrollmentName, before: Option<&Enrollment>) -> Result<Attestation, String> {
        let attestation = self.attestation.as_ref().ok_or("attestation is missing")?;
        attestation.read(name, before.map(|before| &before.attestation))
    }

    fn hubs(&self, linked: &[&HostName]) -> Result<Vec<HostName>, String> {
        let wanted = self.iot_hubs.iter().flatten().chain(&self.iot_hub_host_name);
        let known = |hub: &HostName| {
            let found = linked.iter().find(|linked| linked.is(hub.as_str()));
            found.map(|hub| (*hub).clone()).ok_or_else(|| format!("no hub {hub} is linked"))
        };
        wanted.map(known).collect()
    }

    fn reprovisioning(&self) -> Reprovisioning {
        match &self.reprovision_policy {
            None => Reprovisioning::default(),
            Some(WantedReprovisioning { update_hub_assignment: false, .. }) => Reprovisioning::Never,
            Some(WantedReprovisioning { migrate_device_data: true, .. }) => Reprovisioning::Migrate,
            Some(_) => Reprovisioning::Reset,
        }
    }

    fn allocation(self) -> Result<Allocation, String> {
        Ok(match self.allocation_policy.unwrap_or(Policy::Hashed) {
            Policy::Hashed => Allocation::Hashed,
            Policy::GeoLatency => Allocation::GeoLatency,
            Policy::Static => Allocation::Static,
            Policy::Custom => {
                let wanted = self.custom_allocation_definition;
                let WantedWebhook { webhook_url: webhook, api_version } =
                    wanted.ok_or("custom allocation wants a customAllocationDefinition")?;
                if !matches!(webhook.0.scheme(), "http" | "https") {
                    return Err("webhookUrl must begin with https:// or http://".to_owned());
                }
                Allocation::Custom { webhook, api_version }
            }
        })
    }
}
