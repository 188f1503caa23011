//! What operators run beside the app: `handler` with a command, as a process of its own.

use std::path::PathBuf;

use device_simulator::Telemetry;
use local_azure::functions_host::Blob;
use local_azure::gate::{Effect, Fault, Service};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::site::{Site, THERMOSTAT, json_message, temperature};

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

/// Runs a command with the settings that the app has, and others after them.
pub async fn handler(site: &Site, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handler"));
    command.args(arguments).env_clear().envs(site.running.endpoints().app_settings());
    let output = command.envs(variables.iter().copied()).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), output: text(output.stdout), errors: text(output.stderr) }
}

/// The documents that the host wrote, in files, and their names.
fn documents(site: &Site) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = site.running.services().blobs.list("dead-letters", "");
    let file = |(number, (_, blob)): (usize, (String, Blob))| {
        let path = folder.path().join(format!("{number}.json"));
        std::fs::write(&path, blob.content).unwrap();
        path
    };
    let files = blobs.into_iter().enumerate().map(file).collect();
    (folder, files)
}

async fn replay(site: &Site, files: &[PathBuf]) -> Ended {
    let files = files.iter().map(|file| file.to_str().unwrap());
    handler(site, &["replay"].into_iter().chain(files).collect::<Vec<_>>(), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_applied_once_their_cause_is_mended() {
    let site = Site::with_settings(&[("TELEMETRY_WITHOUT_TWIN", "dead-letter")]).await;
    let stranger = site.add_device("Stranger").await;
    site.send(&stranger, [temperature(1.0), Telemetry::new(vec![0xff, 0]), temperature(2.0)]).await;
    site.caught_up().await;
    let (_folder, files) = documents(&site);

    let before = replay(&site, &files).await;
    assert_eq!(before.code, 1, "{before:?}");
    assert_eq!(before.output.matches("still a dead letter: device Stranger has no twin").count(), 2, "{before:?}");

    site.create_twin("corner", THERMOSTAT, json!({ "HubRegistrationId": "stranger" })).await;
    let after = replay(&site, &files).await;
    assert_eq!(after.code, 1, "the body that is no JSON stays one: {after:?}");
    assert_eq!(after.output.matches("the body is not UTF-8").count(), 1, "{after:?}");
    let applied = after.output.lines().filter(|line| line.ends_with(": applied") || line.contains(": superseded"));
    assert_eq!(applied.count(), 2, "{after:?}");
    assert_eq!(site.twin("corner").await.unwrap()["Temperature"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_replay_twice_does_no_harm() {
    let site = Site::with_settings(&[("TELEMETRY_WITHOUT_TWIN", "dead-letter")]).await;
    let stranger = site.add_device("stranger").await;
    site.send(&stranger, (1..=5).map(|n| temperature(f64::from(n)))).await;
    site.caught_up().await;
    let (_folder, files) = documents(&site);
    let stranger = site.register("stranger").await;
    let source_time = async || site.twin("stranger").await.unwrap()["$metadata"]["Temperature"]["sourceTime"].clone();

    let first = replay(&site, &files).await;
    assert_eq!((first.code, first.errors.as_str()), (0, ""), "{first:?}");
    assert!(first.output.ends_with(" left out by a rule\n"), "{first:?}");
    let time = source_time().await;
    assert_eq!(replay(&site, &files).await.code, 0);
    assert_eq!(
        (&site.twin("stranger").await.unwrap()["Temperature"], source_time().await),
        (&json!(5.0), time.clone())
    );

    // What is newer by now stays.
    site.send(&stranger, [json_message(json!({ "Temperature": 30.0 }))]).await;
    site.caught_up().await;
    let late = replay(&site, &files).await;
    assert_eq!((late.code, late.output.contains(": applied")), (0, false), "{late:?}");
    assert_eq!(site.twin("stranger").await.unwrap()["Temperature"], 30.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_replay_asks_nobody() {
    let site = Site::start().await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [json_message(json!({ "Temperature": "warm" }))]).await;
    site.caught_up().await;
    let (_folder, files) = documents(&site);
    let calls = site.running.services().gate.counts();
    let shown = handler(&site, &["replay", "--dry-run", files[0].to_str().unwrap()], &[("ADT_SERVICE_URL", "")]).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.output.contains("#1 pump-1 2") && shown.output.contains("got the string \"warm\""), "{shown:?}");
    assert_eq!(site.running.services().gate.counts(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_can_apply_nothing_says_why_at_once() {
    let site = Site::start().await;
    // Only a file that is there is worth a token.
    let file = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["replay", file.path().to_str().unwrap()];
    let refused = handler(&site, &arguments, &[("IDENTITY_HEADER", "wrong")]).await;
    assert_eq!((refused.code, refused.output.as_str()), (2, ""), "{refused:?}");
    assert!(refused.errors.starts_with("error: Azure Digital Twins: no access token: "), "{refused:?}");
    assert!(refused.errors.ends_with("handler doctor says more\n"), "{refused:?}");
}

/// What a doctor says, line by line, without what differs from run to run.
fn findings(site: &Site, ended: &Ended) -> String {
    ended.output.replace(&site.running.endpoints().digital_twins, "https://instance")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_good_setup_good() {
    let site = Site::start().await;
    let twins = site.running.services().digital_twins.twin_count();
    let found = handler(&site, &["doctor"], &[]).await;
    assert_eq!((found.code, found.errors.as_str()), (0, ""), "{found:?}");
    insta::assert_snapshot!(findings(&site, &found), @"
    ok       settings: for https://instance/
    ok       credentials: managed identity (system-assigned)
    ok       Azure Digital Twins: allows to read twins
    ok       Azure Digital Twins: allows to query twins
    ok       Azure Digital Twins: allows to write twins
    ok       Azure Digital Twins: allows to read models; it has 2
    note     dtmi:contosocom:DigitalTwins:Space;1: has none of HubRegistrationId, HubDeviceId and HubName: fine for what is no device. A device of it has the twin that bears its name, and no HubName: a move between hubs cannot be told from a deletion
    ok       dtmi:contosocom:DigitalTwins:Thermostat;2: carries all guards (HubRegistrationId, HubDeviceId, HubName)
    note     IoT Hub: not checked: no hub is named
             -> the app needs no access to it; to check yours, use IOTHUB_CONNECTION_STRING or --hub
    no problems, no warnings
    ");
    assert_eq!(site.running.services().digital_twins.twin_count(), twins);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_each_model_lacks() {
    let site = Site::start().await;
    let string = |name: &str| json!({ "@type": "Property", "name": name, "schema": "string" });
    let model = |id: &str, contents: Value| json!({ "@context": "dtmi:dtdl:context;2", "@id": id, "@type": "Interface", "contents": contents });
    let integer = json!({ "@type": "Property", "name": "HubRegistrationId", "schema": "integer" });
    let models = json!([
        model("dtmi:test:NoHub;1", json!([string("HubRegistrationId"), string("HubDeviceId")])),
        model("dtmi:test:NoDevice;1", json!([string("HubRegistrationId"), string("HubName")])),
        model("dtmi:test:Wrong;1", json!([integer, string("HubDeviceId"), string("HubName")])),
    ]);
    site.upload_models(models).await;
    let allowed = ("ALLOCATION_MODELS", "dtmi:test:NoHub;1,dtmi:test:Absent;1,dtmi:other:*");
    let found = handler(&site, &["doctor"], &[allowed]).await;
    assert_eq!(found.code, 0, "warnings are no problems: {found:?}");
    let models: Vec<_> = found.output.lines().skip_while(|line| !line.contains("read models")).skip(1).collect();
    insta::assert_snapshot!(models.join("\n"), @"
    note     dtmi:contosocom:DigitalTwins:Space;1: has none of HubRegistrationId, HubDeviceId and HubName: fine for what is no device. A device of it has the twin that bears its name, and no HubName: a move between hubs cannot be told from a deletion
    ok       dtmi:contosocom:DigitalTwins:Thermostat;2: carries all guards (HubRegistrationId, HubDeviceId, HubName)
    warning  dtmi:test:NoDevice;1: HubDeviceId is missing: a device whose id in IoT Hub is not its registration id sends to no twin, and its deletion removes none
             -> give a new version of the model a property HubDeviceId of schema string
    warning  dtmi:test:NoHub;1: HubName is missing: a move between hubs cannot be told from a deletion: the old hub reports one, and the twin goes
             -> give a new version of the model a property HubName of schema string
    warning  dtmi:test:Wrong;1: HubRegistrationId is not of schema string: twins prepared under another id than the device's are not found, and a deletion that is reported late cannot be told from one after which the device registered anew
             -> give a new version of the model a property HubRegistrationId of schema string
    warning  ALLOCATION_MODELS: names dtmi:test:Absent;1, and Azure Digital Twins has no such model
             -> upload the model, or mend the setting
    warning  ALLOCATION_MODELS: names dtmi:other:*, and Azure Digital Twins has no such model
             -> upload the model, or mend the setting
    note     IoT Hub: not checked: no hub is named
             -> the app needs no access to it; to check yours, use IOTHUB_CONNECTION_STRING or --hub
    no problems, 5 warnings
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_to_do_about_a_broken_setup() {
    let site = Site::start().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("https://localhost:{}", nobody.local_addr().unwrap().port());
    drop(nobody);
    for (variable, value, says) in [
        ("ADT_SERVICE_URL", "http://insecure", "ADT_SERVICE_URL is \"http://insecure\"; it takes the https URL"),
        ("IDENTITY_HEADER", "wrong", "-> switch the app's managed identity on"),
        ("ADT_CA_FILE", "", "-> name the PEM file of whoever vouches for it in ADT_CA_FILE"),
        ("ADT_CA_FILE", "/absent/ca.pem", "trusted roots: ADT_CA_FILE /absent/ca.pem: "),
        ("ADT_SERVICE_URL", dead.as_str(), "-> check the host in ADT_SERVICE_URL"),
        ("TELEMETRY_MAPPING_FILE", "/absent/mapping.json", "mapping: TELEMETRY_MAPPING_FILE /absent/mapping.json: "),
    ] {
        let found = handler(&site, &["doctor"], &[(variable, value)]).await;
        assert_eq!(found.code, 1, "{variable}: {found:?}");
        assert!(found.output.contains(says), "{variable}: {found:?}");
        assert_eq!(found.errors, "", "{variable}: all is in the report");
        assert!(found.output.contains("PROBLEM") && found.output.contains("\n1 problem, "), "{variable}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_roles_apart() {
    let site = Site::start().await;
    // A reader may not write.
    let denied = Effect::Status(StatusCode::FORBIDDEN, None);
    site.running.services().gate.inject(Fault::new(Service::DigitalTwins, denied).on("DigitalTwins_Delete")).unwrap();
    let found = handler(&site, &["doctor"], &[]).await;
    assert_eq!(found.code, 1, "{found:?}");
    let lines: Vec<_> = found.output.lines().filter(|line| line.contains("Azure Digital Twins: ")).collect();
    assert!(lines.iter().any(|line| line.starts_with("ok") && line.ends_with("allows to read twins")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("PROBLEM") && line.contains("cannot write twins")), "{lines:?}");
    assert!(found.output.contains("Azure Digital Twins Data Owner"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_to_trust_are_read_as_editors_on_windows_save_them() {
    let site = Site::start().await;
    let pem = std::fs::read_to_string(&site.running.endpoints().ca_file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let lines: String = pem.lines().map(|line| format!("{line}\r\n")).collect();
    std::fs::write(&file, format!("\u{feff}{lines}")).unwrap();
    let ended = handler(&site, &["doctor"], &[("ADT_CA_FILE", file.to_str().unwrap())]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    // Sparse: it takes no room on the disk.
    std::fs::File::create(&file).unwrap().set_len(33 << 20).unwrap();
    let ended = handler(&site, &["doctor"], &[("ADT_CA_FILE", file.to_str().unwrap())]).await;
    assert!(ended.code == 1 && ended.output.contains("it is larger than 33554432 bytes"), "{ended:?}");
}
