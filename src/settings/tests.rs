use super::*;

const URL: (&str, &str) = ("ADT_SERVICE_URL", "https://contoso.api.weu.digitaltwins.azure.net");

fn read(variables: &[(&str, &str)]) -> Result<Settings, Problems> {
    Settings::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn problems(variables: &[(&str, &str)]) -> String {
    read(variables).unwrap_err().to_string()
}

#[test]
fn the_address_alone_is_enough() {
    let settings = read(&[URL]).unwrap();
    assert_eq!(settings.port, None);
    assert_eq!(settings.digital_twins.endpoint.as_str(), "https://contoso.api.weu.digitaltwins.azure.net/");
    assert_eq!(settings.digital_twins.pace_percent, 90);
    assert_eq!(settings.allocation.hub_policy, HubPolicy::Sticky);
    assert_eq!(settings.allocation.models, AllowedModels::Any);
    assert_eq!(settings.allocation.model_change, ModelChange::Reject);
    assert!(!settings.allocation.parent_from_device);
    assert!(!settings.telemetry.trust_dtid);
    assert_eq!(settings.telemetry.without_twin, WithoutTwin::LeaveOut);
    assert_eq!(settings.lifecycle.on_delete, OnDelete::Delete);
    assert_eq!(settings.event_max_attempts.get(), 5);
    assert_eq!(settings.twin_cache_size.get(), 50_000);
    assert!(matches!(settings.credentials, Credentials::DeveloperTools));
}

#[test]
fn every_setting_can_be_set() {
    let settings = read(&[
        URL,
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "7072"),
        ("ADT_CA_FILE", "/etc/ca.pem"),
        ("ADT_PACE_PERCENT", "1000"),
        ("ALLOCATION_HUB_POLICY", "first"),
        ("ALLOCATION_MODELS", "dtmi:a:B;1, dtmi:contosocom:*"),
        ("ALLOCATION_MODEL_CHANGE", "upgrade"),
        ("ALLOCATION_PARENT_FROM_DEVICE", "on"),
        ("TELEMETRY_TRUST_DTID", "on"),
        ("TELEMETRY_WITHOUT_TWIN", "dead-letter"),
        ("TELEMETRY_MAPPING_FILE", "mapping.json"),
        ("LIFECYCLE_ON_DELETE", "unassign"),
        ("EVENT_MAX_ATTEMPTS", "1"),
        ("TWIN_CACHE_SIZE", "10"),
    ])
    .unwrap();
    assert_eq!(settings.port, Some(7072));
    assert_eq!(settings.digital_twins.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(settings.digital_twins.pace_percent, 1000);
    assert_eq!(settings.allocation.hub_policy, HubPolicy::First);
    assert_eq!(settings.allocation.model_change, ModelChange::Upgrade);
    assert!(settings.allocation.parent_from_device);
    assert!(settings.telemetry.trust_dtid);
    assert_eq!(settings.telemetry.without_twin, WithoutTwin::DeadLetter);
    assert_eq!(settings.telemetry_mapping_file, Some(PathBuf::from("mapping.json")));
    assert_eq!(settings.lifecycle.on_delete, OnDelete::Unassign);
    assert_eq!(settings.event_max_attempts.get(), 1);
    assert_eq!(settings.twin_cache_size.get(), 10);
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    insta::assert_snapshot!(problems(&[
        ("ADT_SERVICE_URL", "http://contoso.api.weu.digitaltwins.azure.net"),
        ("ADT_PACE_PERCENT", "0"),
        ("ALLOCATION_HUB_POLICY", "random"),
        ("ALLOCATION_MODELS", "Thermostat"),
        ("TELEMETRY_TRUST_DTID", "yes"),
        ("EVENT_MAX_ATTEMPTS", "0"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_TENANT_ID", "t"),
    ]), @r#"
    ADT_SERVICE_URL is "http://contoso.api.weu.digitaltwins.azure.net"; it takes the https URL of the instance, https://<instance>.api.<region>.digitaltwins.azure.net
    ADT_PACE_PERCENT is "0"; it takes a number from 1 to 1000
    AZURE_CLIENT_SECRET is not set; AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET are set together or not at all
    ALLOCATION_HUB_POLICY is "random"; it takes sticky or first
    ALLOCATION_MODELS is "Thermostat"; it takes model ids and prefixes that end in *, separated by commas
    TELEMETRY_TRUST_DTID is "yes"; it takes off or on
    EVENT_MAX_ATTEMPTS is "0"; it takes a number from 1
    "#);
}

#[test]
fn a_blank_value_is_none() {
    assert!(problems(&[("ADT_SERVICE_URL", "  ")]).starts_with("ADT_SERVICE_URL is not set"));
    assert_eq!(read(&[URL, ("EVENT_MAX_ATTEMPTS", "")]).unwrap().event_max_attempts.get(), 5);
}

#[test]
fn an_address_is_https_and_nothing_but_an_address() {
    for bad in [
        "contoso.api.weu.digitaltwins.azure.net",
        "https://",
        "https://contoso.net/path",
        "https://contoso.net/?a=b",
        "https://contoso.net/#a",
        "https://user@contoso.net",
    ] {
        assert!(read(&[("ADT_SERVICE_URL", bad)]).is_err(), "{bad}");
    }
    assert!(read(&[("ADT_SERVICE_URL", "https://localhost:8443/")]).is_ok());
}

#[test]
fn no_secret_is_printed() {
    assert!(!problems(&[("ADT_SERVICE_URL", "https://me:hunter2@contoso.net")]).contains("hunter2"));
    let trio = [URL, ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "hunter2")];
    let settings = read(&trio).unwrap();
    assert!(!format!("{settings:?} {}", settings.credentials).contains("hunter2"));
    assert!(!problems(&[URL, ("AZURE_CLIENT_SECRET", "hunter2")]).contains("hunter2"));
}

#[test]
fn credentials_are_chosen_by_what_is_set() {
    let identity = [URL, ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi/token"), ("IDENTITY_HEADER", "h")];
    let system = read(&identity).unwrap();
    assert!(matches!(system.credentials, Credentials::ManagedIdentity { client_id: None }));
    let user = read(&[&identity[..], &[("AZURE_CLIENT_ID", "c")]].concat()).unwrap();
    assert!(matches!(user.credentials, Credentials::ManagedIdentity { client_id: Some(id) } if id == "c"));
    let trio = [URL, ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s")];
    assert!(matches!(read(&trio).unwrap().credentials, Credentials::ClientSecret { .. }));
    assert!(problems(&identity[..2]).starts_with("IDENTITY_HEADER is not set"));
}

#[test]
fn a_listed_model_is_allowed_exactly_or_by_its_beginning() {
    let settings = read(&[URL, ("ALLOCATION_MODELS", "dtmi:a:B;1,dtmi:contosocom:*")]).unwrap();
    let allows = |id: &str| settings.allocation.models.allows(&ModelId::parse(id).unwrap());
    assert!(allows("dtmi:a:B;1"));
    assert!(allows("dtmi:contosocom:DigitalTwins:Thermostat;2"));
    assert!(!allows("dtmi:a:B;2"));
    assert!(!allows("dtmi:contoso:Thermostat;1"));
    for bad in ["*", "dtmi:*:x*", ",", "dtmi:a:B;1,x"] {
        assert!(read(&[URL, ("ALLOCATION_MODELS", bad)]).is_err(), "{bad}");
    }
}
