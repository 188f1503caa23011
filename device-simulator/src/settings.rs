//! The settings of the program: what each is for, where its value comes from, and what is wrong with one.

use std::{fmt, path::PathBuf, str::FromStr};

use dtdl::ModelId;

use crate::{
    identity::{Endpoint, IdScope, RegistrationId},
    key::{GroupKey, InvalidKey},
    provisioning::ProvisioningRequest,
};

/// A setting: its name, and where its value is found.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name of the environment variable.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// Where to find its value.
    pub found: &'static str,
}

impl Setting {
    /// `PROVISIONING_HOST`
    pub const HOST: Self = Self {
        name: "PROVISIONING_HOST",
        takes: "the DPS instance, host or host:port",
        found: "global.azure-devices-provisioning.net in Azure; local-azure prints its own",
    };
    /// `PROVISIONING_IDSCOPE`
    pub const ID_SCOPE: Self = Self {
        name: "PROVISIONING_IDSCOPE",
        takes: "the ID scope of the DPS instance, such as 0ne00ABCDEF",
        found: "Azure portal: your Device Provisioning Service, Overview, ID Scope; local-azure prints its own",
    };
    /// `PROVISIONING_REGISTRATION_ID`
    pub const REGISTRATION_ID: Self = Self {
        name: "PROVISIONING_REGISTRATION_ID",
        takes: "what the device calls itself, such as thermo-01; the first argument comes before it",
        found: "yours to choose, for a device of an enrollment group",
    };
    /// `ADT_MODEL_ID`
    pub const MODEL_ID: Self = Self {
        name: "ADT_MODEL_ID",
        takes: "the model of the device's twin, such as dtmi:contosocom:DigitalTwins:Thermostat;2",
        found: "one of those that `az dt model list` shows; local-azure has this one",
    };
    /// `PROVISIONING_SYMMETRIC_KEY`
    pub const SYMMETRIC_KEY: Self = Self {
        name: "PROVISIONING_SYMMETRIC_KEY",
        takes: "the primary or secondary key of the enrollment group (base64)",
        found: "Azure portal: your Device Provisioning Service, Manage enrollments; local-azure prints its own",
    };
    /// `PROVISIONING_CA_FILE`
    pub const CA_FILE: Self = Self {
        name: "PROVISIONING_CA_FILE",
        takes: "a PEM file with further root certificates to trust",
        found: "leave it out for Azure; local-azure prints its own",
    };
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::HOST, Self::ID_SCOPE, Self::REGISTRATION_ID, Self::MODEL_ID, Self::SYMMETRIC_KEY, Self::CA_FILE];
}

/// What is wrong with a setting. A key is never repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Not set, or empty.
    Missing,
    /// Still what the template says.
    Placeholder(String),
    /// Not what it takes.
    Invalid(String),
    /// No key.
    NotAKey(InvalidKey),
    /// A connection string, where a group key belongs.
    ConnectionString,
    /// A key, where none belongs.
    Key,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is not set"),
            Self::Placeholder(got) => write!(f, "still holds the template's {got}"),
            Self::Invalid(why) => write!(f, "cannot be used: {why}"),
            Self::NotAKey(why) => write!(f, "holds {why}"),
            Self::Key => f.write_str("holds what looks like a key"),
            Self::ConnectionString => f.write_str("holds a connection string, not the key of an enrollment group"),
        }
    }
}

/// One setting that cannot be used, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which setting.
    pub setting: Setting,
    /// What is wrong with it.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { name, takes, found } = &self.setting;
        write!(f, "{name} {}; it takes {takes} ({found})", self.reason)
    }
}

/// Every setting that cannot be used, a line each.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingsError(pub Vec<Problem>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// The settings of one device.
#[derive(Debug)]
pub struct Settings {
    /// Where DPS is.
    pub host: Endpoint,
    /// Which DPS.
    pub id_scope: IdScope,
    /// Which device, in lower case: DPS tells no devices apart by case, and the key depends on the spelling.
    pub registration_id: RegistrationId,
    /// The model of the device's digital twin.
    pub model_id: ModelId,
    /// The key of the enrollment group.
    pub group_key: GroupKey,
    /// Further roots to trust.
    pub ca_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings from `variable`, which knows the value of a name; `registration_id` comes before its variable.
    ///
    /// # Errors
    ///
    /// Names every setting that is missing or cannot be used.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        registration_id: Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader { variable, problems: Vec::new() };
        let host = reader.parse(Setting::HOST);
        let id_scope = reader.parse(Setting::ID_SCOPE);
        let registration_id = match registration_id {
            Some(given) => reader.value_of(Setting::REGISTRATION_ID, Some(given), parsed::<RegistrationId>),
            None => reader.parse(Setting::REGISTRATION_ID),
        };
        let model_id = reader.parse(Setting::MODEL_ID);
        let group_key = reader.read(Setting::SYMMETRIC_KEY, group_key);
        let ca_file = reader.optional(Setting::CA_FILE).map(PathBuf::from);
        match (host, id_scope, registration_id, model_id, group_key) {
            (Some(host), Some(id_scope), Some(registration_id), Some(model_id), Some(group_key))
                if reader.problems.is_empty() =>
            {
                let registration_id = registration_id.to_lower();
                Ok(Self { host, id_scope, registration_id, model_id, group_key, ca_file })
            }
            _ => Err(SettingsError(reader.problems)),
        }
    }

    /// How the device registers: with its own key, and the model for the allocation webhook to see.
    pub fn provisioning_request(&self) -> ProvisioningRequest {
        let key = self.group_key.derive(&self.registration_id);
        let payload = serde_json::json!({ "modelId": self.model_id.as_str() });
        ProvisioningRequest::new(self.host.clone(), self.id_scope.clone(), self.registration_id.clone(), key)
            .with_payload(payload)
    }
}

/// Reads settings and collects what is wrong with them.
struct Reader<F> {
    variable: F,
    problems: Vec<Problem>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn parse<T: FromStr<Err: fmt::Display>>(&mut self, setting: Setting) -> Option<T> {
        self.read(setting, parsed)
    }

    fn read<T>(&mut self, setting: Setting, convert: impl Fn(&str) -> Result<T, Reason>) -> Option<T> {
        let value = (self.variable)(setting.name);
        self.value_of(setting, value, convert)
    }

    fn value_of<T>(
        &mut self,
        setting: Setting,
        value: Option<String>,
        convert: impl Fn(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let converted = match value.as_deref().map(str::trim) {
            None | Some("") => Err(Reason::Missing),
            Some(value) if is_placeholder(value) => Err(Reason::Placeholder(value.to_owned())),
            Some(value) => convert(value),
        };
        converted.map_err(|reason| self.problems.push(Problem { setting, reason })).ok()
    }

    /// As [`Reader::read`], but it may be missing.
    fn optional(&mut self, setting: Setting) -> Option<String> {
        let value = (self.variable)(setting.name).filter(|value| !value.trim().is_empty())?;
        self.value_of(setting, Some(value), |value| Ok(value.to_owned()))
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(value: &str) -> Result<T, Reason> {
    value.parse().map_err(|error: T::Err| match looks_like_key(value) {
        true => Reason::Key,
        false => Reason::Invalid(error.to_string()),
    })
}

/// Two settings that got swapped must not bring a key into an error.
fn looks_like_key(value: &str) -> bool {
    value.contains("SharedAccess") || GroupKey::from_base64(value).is_ok()
}

fn group_key(value: &str) -> Result<GroupKey, Reason> {
    GroupKey::from_base64(value).map_err(|error| match value.contains("SharedAccessKey=") {
        true => Reason::ConnectionString,
        false => Reason::NotAKey(error),
    })
}

fn is_placeholder(value: &str) -> bool {
    value.starts_with('<') && value.ends_with('>')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn good() -> HashMap<&'static str, &'static str> {
        HashMap::from([
            ("PROVISIONING_HOST", "localhost:18883"),
            ("PROVISIONING_IDSCOPE", "0ne00ABCDEF"),
            ("PROVISIONING_REGISTRATION_ID", "Thermo-01"),
            ("ADT_MODEL_ID", "dtmi:contosocom:DigitalTwins:Thermostat;2"),
            ("PROVISIONING_SYMMETRIC_KEY", KEY),
        ])
    }

    fn read(variables: &HashMap<&str, &str>, argument: Option<&str>) -> Result<Settings, SettingsError> {
        Settings::read(|name| variables.get(name).map(|v| (*v).to_owned()), argument.map(str::to_owned))
    }

    fn problems(name: &'static str, value: &'static str) -> String {
        let mut variables = good();
        variables.insert(name, value);
        read(&variables, None).unwrap_err().to_string()
    }

    #[test]
    fn good_settings_make_a_request_with_the_device_key_and_the_model() {
        let settings = read(&good(), None).unwrap();
        let request = settings.provisioning_request();
        assert_eq!(request.endpoint.to_string(), "localhost:18883");
        assert_eq!(request.registration_id.as_str(), "thermo-01");
        assert_eq!(request.payload, Some(serde_json::json!({"modelId": "dtmi:contosocom:DigitalTwins:Thermostat;2"})));
        let expected = GroupKey::from_base64(KEY).unwrap().derive(&"thermo-01".parse().unwrap());
        assert_eq!(request.key.sign("x"), expected.sign("x"));
        assert_eq!(settings.ca_file, None);
    }

    #[test]
    fn the_argument_comes_before_the_variable() {
        let mut variables = good();
        variables.insert("PROVISIONING_REGISTRATION_ID", "<registration id>");
        assert_eq!(read(&variables, Some("thermo-02")).unwrap().registration_id.as_str(), "thermo-02");
        assert!(read(&variables, Some("no good")).unwrap_err().to_string().contains(r#""no good""#));
    }

    #[test]
    fn every_missing_setting_is_named_at_once() {
        let error = read(&HashMap::new(), None).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 5);
        for setting in Setting::ALL.iter().filter(|setting| **setting != Setting::CA_FILE) {
            assert!(error.contains(&format!("{} is not set; it takes ", setting.name)), "{error}");
        }
    }

    #[test]
    fn the_untouched_template_is_recognized() {
        let template = include_str!("../.env.template");
        let variables: HashMap<String, String> =
            dotenvy::from_read_iter(template.as_bytes()).collect::<Result<_, _>>().unwrap();
        let error = Settings::read(|name| variables.get(name).cloned(), None).unwrap_err();
        let names: Vec<&str> = error.0.iter().map(|problem| problem.setting.name).collect();
        let expected = ["PROVISIONING_IDSCOPE", "PROVISIONING_REGISTRATION_ID", "PROVISIONING_SYMMETRIC_KEY"];
        assert_eq!(names, expected);
        assert!(error.0.iter().all(|problem| matches!(problem.reason, Reason::Placeholder(_))), "{error}");
    }

    #[test]
    fn the_template_knows_every_setting() {
        let template = include_str!("../.env.template");
        for setting in Setting::ALL {
            assert!(template.contains(&format!("{}=", setting.name)), "{}", setting.name);
        }
    }

    #[test]
    fn a_wrong_setting_says_what_it_got_what_it_takes_and_where_to_find_it() {
        insta::assert_snapshot!(problems("PROVISIONING_HOST", "https://dps.example.com"), @r#"PROVISIONING_HOST cannot be used: "https://dps.example.com" is not an address: host or host:port, without https:// and without a path; it takes the DPS instance, host or host:port (global.azure-devices-provisioning.net in Azure; local-azure prints its own)"#);
        insta::assert_snapshot!(problems("PROVISIONING_IDSCOPE", "my-dps"), @r#"PROVISIONING_IDSCOPE cannot be used: "my-dps" is not an id scope: letters and digits only, as in 0ne00ABCDEF; it takes the ID scope of the DPS instance, such as 0ne00ABCDEF (Azure portal: your Device Provisioning Service, Overview, ID Scope; local-azure prints its own)"#);
        let model = problems("ADT_MODEL_ID", "Thermostat");
        assert!(model.starts_with(r#"ADT_MODEL_ID cannot be used: "Thermostat" is not a model id: "#), "{model}");
    }

    #[test]
    fn a_wrong_key_is_described_and_not_repeated() {
        insta::assert_snapshot!(problems("PROVISIONING_SYMMETRIC_KEY", "secret!"), @r#"PROVISIONING_SYMMETRIC_KEY holds 7 characters that are not base64; it takes the primary or secondary key of the enrollment group (base64) (Azure portal: your Device Provisioning Service, Manage enrollments; local-azure prints its own)"#);
        let connection_string = "HostName=h;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0";
        for name in ["PROVISIONING_IDSCOPE", "PROVISIONING_HOST", "ADT_MODEL_ID"] {
            let swapped = [problems(name, KEY), problems(name, connection_string)];
            assert!(swapped.iter().all(|error| error.contains("looks like a key")), "{swapped:?}");
            assert!(swapped.iter().all(|error| !error.contains("MDEy") && !error.contains("c2Vj")), "{swapped:?}");
        }
        let error = problems("PROVISIONING_SYMMETRIC_KEY", connection_string);
        assert!(error.contains("holds a connection string") && !error.contains("c2Vj"), "{error}");
    }
}
