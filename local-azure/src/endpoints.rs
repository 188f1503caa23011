//! Where everything is, for programs: the endpoints file, and the environment that clients of Azure read.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// Addresses and credentials of a running local-azure. Its JSON is the endpoints file, version 1.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The file's version.
    pub version: u32,
    /// Azure Digital Twins' base address.
    pub digital_twins: String,
    /// A bearer token for it, good for ten years.
    pub digital_twins_token: String,
    /// The Functions host's base address.
    pub functions: String,
    /// The key of its functions.
    pub function_key: String,
    /// What DPS calls, key included.
    pub webhook_url: String,
    /// The control API's base address.
    pub control: String,
    /// The provisioning service.
    pub dps: DpsEndpoint,
    /// The linked hubs.
    pub iot_hubs: Vec<IotHubEndpoint>,
    /// The managed identity endpoint.
    pub identity: IdentityEndpoint,
    /// PEM file of the authority that signed all certificates.
    pub ca_file: PathBuf,
}

/// Where devices register.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DpsEndpoint {
    /// Host name.
    pub host: String,
    /// MQTT over TLS.
    pub mqtt_port: u16,
    /// Registration over HTTPS, and the service API.
    pub https_port: u16,
    /// Id scope.
    pub id_scope: String,
    /// The enrollment group that there is from the start.
    pub enrollment_group: String,
    /// Its primary key, from which device keys are derived.
    pub primary_key: String,
    /// For service SDKs; the port stands in the host name where it is not 443.
    pub service_connection_string: String,
}

/// One IoT Hub.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IotHubEndpoint {
    /// Host name, as DPS assigns it.
    pub host_name: String,
    /// MQTT over TLS.
    pub mqtt_port: u16,
    /// Service API.
    pub https_port: u16,
    /// For service SDKs; the port stands in the host name where it is not 443.
    pub service_connection_string: String,
    /// What tools that cannot sign send as `Authorization`: a token of the same policy, good for ten years.
    pub service_token: String,
}

/// The managed identity endpoint.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityEndpoint {
    /// For `IDENTITY_ENDPOINT`.
    pub endpoint: String,
    /// For `IDENTITY_HEADER`.
    pub header: String,
}

/// Without keys and tokens.
impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("digital_twins", &self.digital_twins)
            .field("functions", &self.functions)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl Endpoints {
    /// Writes the endpoints file, readable by its owner only, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        crate::private_file::write(path, &(text + "\n"))
    }

    /// The environment of the function app and nothing else: what app settings would be in Azure.
    pub fn app_settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ADT_SERVICE_URL", self.digital_twins.clone()),
            ("ADT_CA_FILE", self.ca_file.display().to_string()),
            ("IDENTITY_ENDPOINT", self.identity.endpoint.clone()),
            ("IDENTITY_HEADER", self.identity.header.clone()),
        ]
    }

    /// The environment of any client: the function app's settings, the simulator's, and where the usual TLS
    /// libraries look for an authority. `endpoints_file` is named in `LOCAL_AZURE_ENDPOINTS`.
    pub fn environment(&self, endpoints_file: Option<&Path>) -> Vec<(&'static str, String)> {
        let ca_file = self.ca_file.display().to_string();
        let mut environment = self.app_settings();
        environment.extend(endpoints_file.map(|file| ("LOCAL_AZURE_ENDPOINTS", absolute(file).display().to_string())));
        environment.extend([
            ("PROVISIONING_HOST", format!("{}:{}", self.dps.host, self.dps.mqtt_port)),
            ("PROVISIONING_IDSCOPE", self.dps.id_scope.clone()),
            ("PROVISIONING_SYMMETRIC_KEY", self.dps.primary_key.clone()),
            ("PROVISIONING_CA_FILE", ca_file.clone()),
            ("ADT_MODEL_ID", "dtmi:contosocom:DigitalTwins:Thermostat;2".to_owned()),
            ("SSL_CERT_FILE", ca_file.clone()),
            ("REQUESTS_CA_BUNDLE", ca_file.clone()),
            ("NODE_EXTRA_CA_CERTS", ca_file),
        ]);
        environment
    }

    /// Writes the environment as a `.env` file, readable by its owner only.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_env_file(&self, path: &Path, endpoints_file: Option<&Path>) -> io::Result<()> {
        let lines =
            self.environment(endpoints_file).into_iter().map(|(name, value)| format!("{name}={}\n", quote(&value)));
        crate::private_file::write(path, &lines.collect::<String>())
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Single quotes keep everything as it is, for shells as for `.env` readers; a quote in the value ends and begins them.
fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/+=@,".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(quote("localhost:8883"), "localhost:8883");
        assert_eq!(quote("dtmi:a;2"), "'dtmi:a;2'");
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
