//! The operator's commands: their help, their errors, and what they do without a service.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::process::{Port, handler, text};

const THERMOSTAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/ThermostatModel.json");
const SPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/SpaceModel.json");

/// Exit code, standard output, standard error.
fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    ended(&handler(arguments, variables).output().unwrap())
}

fn ended(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), text(&output.stdout).to_owned(), text(&output.stderr).to_owned())
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    run_with(arguments, &[])
}

fn help(arguments: &[&str]) -> String {
    let (code, help, errors) = run(arguments);
    assert_eq!((code, errors.as_str()), (0, ""));
    help
}

#[test]
fn the_program_says_what_it_can_do() {
    insta::assert_snapshot!(help(&["--help"]), @"
    Keeps the digital twins of devices that DPS provisions in step with them

    Usage: handler <COMMAND>

    Commands:
      replay     Apply dead letters again
      doctor     Check settings, credentials, roles and models, and say what to do
      reconcile  Compare the devices of IoT hubs with their twins
      map-test   Show what a telemetry message would write, without Azure
      help       Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Without a command it serves the Azure Functions host that started it, see customHandler in
    host.json. To do that on its own, set FUNCTIONS_CUSTOMHANDLER_PORT and ADT_SERVICE_URL.

    Commands read the same settings from the environment as the app does (ADT_SERVICE_URL and so on),
    and use the login of Azure CLI or Azure Developer CLI unless the environment says otherwise.

    Exit codes: 0 all is well; 1 something wants attention, and was told; 2 the command could not be run
    to its end; 64 the command line is wrong; 78 the settings are wrong.
    ");
    assert_eq!(help(&["help"]), help(&["--help"]));
}

#[test]
fn replay_says_what_it_takes() {
    insta::assert_snapshot!(help(&["replay", "--help"]), @"
    Apply dead letters again

    Every event goes the way it would have gone: decoded, planned and applied by the same rules and
    settings. A value that the twin has a newer one of stays out, and a device that registered since
    keeps its twin, so that to replay a file twice does no harm. Files are read one after the other and
    never changed.

    An event of a device without a twin stays a dead letter, whatever TELEMETRY_WITHOUT_TWIN says.

    Exit code 0: every event is applied, superseded, or left out by a rule. 1: some are not, or a file
    could not be read. 2: it ended early, because nothing could be applied any more.

    Usage: handler replay [OPTIONS] <FILE>...

    Arguments:
      <FILE>...
              Dead-letter documents (blobs of the container dead-letters)

    Options:
          --dry-run
              Only show what is in the files; needs no settings

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn doctor_says_what_it_takes() {
    insta::assert_snapshot!(help(&["doctor", "--help"]), @"
    Check settings, credentials, roles and models, and say what to do

    Changes nothing: to see whether twins can be written, it asks to delete one that does not exist.
    What it says of roles holds for the credentials that it used, which are not those of the app unless
    it runs where the app does.

    Exit code 0: no problem was found. 1: some were. Warnings and notes are no problems.

    Usage: handler doctor [OPTIONS]

    Options:
          --hub <HOST>
              Host name of an IoT hub, reached by login; can be given several times

          --connection-string-file <FILE>
              File with connection strings of IoT hubs, one a line [default: the value of
              IOTHUB_CONNECTION_STRING]

      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn reconcile_says_what_it_takes() {
    insta::assert_snapshot!(help(&["reconcile", "--help"]), @r#"
    Compare the devices of IoT hubs with their twins

    Finds twins that are bound to devices which their hub no longer has, devices without a twin, and
    tags (dtId, dtmi) or HubName that disagree. Only shows what it would do, unless --apply is given.
    Twins that wait for their device's first registration are no difference, and twins of hubs that are
    not named are left alone.

    What is changed is read again first, every change is conditional, and a twin is removed by the
    guards, and the setting LIFECYCLE_ON_DELETE, by which the event of the deletion would have removed
    it.

    IoT Hub is reached by the connection strings in IOTHUB_CONNECTION_STRING or --connection-string-file
    (policy "service" is enough), or by login (--hub; role "IoT Hub Twin Contributor").

    Exit code 0: there is no difference (left). 1: there are some.

    Usage: handler reconcile [OPTIONS]

    Options:
          --hub <HOST>
              Host name of an IoT hub, reached by login; can be given several times

          --connection-string-file <FILE>
              File with connection strings of IoT hubs, one a line [default: the value of
              IOTHUB_CONNECTION_STRING]

          --apply
              Do what was found to be done

          --all-hubs
              The hubs named are all that there are: also twins without HubName count as theirs

          --grace <TIME>
              Leave twins alone that were bound less than this ago: their device may not have appeared
              in its hub yet [default: 15m]

          --max-removals <N>
              Apply nothing if more twins than this would be removed [default: 100]

      -h, --help
              Print help (see a summary with '-h')
    "#);
}

#[test]
fn map_test_says_what_it_takes() {
    insta::assert_snapshot!(help(&["map-test", "--help"]), @"
    Show what a telemetry message would write, without Azure

    Exit code 0: the message would be applied whole. 1: something of it would not be written, or it
    would become a dead letter.

    Usage: handler map-test [OPTIONS] <MODEL> <FILE>

    Arguments:
      <MODEL>
              DTDL file with the twin's model

      <FILE>
              The message's body; - for standard input

    Options:
          --with <MODEL>
              Further DTDL file, with what the model extends or contains; can be given several times

          --model-id <DTMI>
              The twin's model, where there are several [default: the one that no other extends or
              contains]

          --component <NAME>
              The component that the message is about (dt-subject)

          --mapping <FILE>
              Mapping file [default: the value of TELEMETRY_MAPPING_FILE]

      -h, --help
              Print help (see a summary with '-h')
    ");
}

/// The error of a wrong command line.
fn usage(arguments: &[&str]) -> String {
    let (code, output, error) = run(arguments);
    assert_eq!((code, output.as_str()), (64, ""));
    error
}

#[test]
fn a_wrong_command_line_is_told_with_what_is_right() {
    insta::assert_snapshot!(usage(&["serve"]), @"
    error: unrecognized subcommand 'serve'

    Usage: handler <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(usage(&["replay"]), @"
    error: the following required arguments were not provided:
      <FILE>...

    Usage: handler replay <FILE>...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(usage(&["map-test", THERMOSTAT]).replace(env!("CARGO_MANIFEST_DIR"), ""), @"
    error: the following required arguments were not provided:
      <FILE>

    Usage: handler map-test <MODEL> <FILE>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(usage(&["map-test", "a", "b", "--model-id", "Thermostat"]), @r#"
    error: invalid value 'Thermostat' for '--model-id <DTMI>': "Thermostat" is not a model id: it begins with dtmi:; a model id looks like dtmi:com:example:Thermostat;1

    For more information, try '--help'.
    "#);
}

#[test]
fn a_key_that_was_given_as_an_argument_is_not_repeated() {
    for arguments in [
        &["doctor", "HostName=h;SharedAccessKeyName=service;SharedAccessKey=hunter2="][..],
        &["--sharedaccesskey=hunter2"],
        &["replay", "--connection-string=HostName=h;SharedAccessKey=hunter2"],
    ] {
        let error = usage(arguments);
        assert!(error.starts_with("error: ") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn commands_refuse_wrong_settings_as_the_app_does() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (code, output, error) = run(&["replay", file.path().to_str().unwrap()]);
    assert_eq!((code, output.as_str()), (78, ""));
    insta::assert_snapshot!(error, @"error: ADT_SERVICE_URL is not set; it takes the https URL of the instance, https://<instance>.api.<region>.digitaltwins.azure.net");
    let (code, output, error) = run(&["doctor"]);
    assert_eq!((code, error.as_str()), (1, ""));
    insta::assert_snapshot!(output, @"
    PROBLEM  settings: ADT_SERVICE_URL is not set; it takes the https URL of the instance, https://<instance>.api.<region>.digitaltwins.azure.net
    1 problem, no warnings
    ");
}

#[test]
fn no_color_and_no_terminal_mean_no_escapes() {
    for variables in [&[][..], &[("NO_COLOR", "1")]] {
        let (_, output, error) = run_with(&["map-test"], variables);
        assert!(!output.contains('\u{1b}') && !error.contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn files_that_are_no_dead_letters_are_named_and_the_others_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let letter = json!({ "reason": { "code": "value", "detail": "bad \u{1b}[31m\nvalue" }, "properties": {},
        "systemProperties": { "iothub-connection-device-id": "pump-1" }, "sourceTime": "2026-01-01T00:00:00Z",
        "body": "{}" });
    let document = json!({ "version": 1, "function": "DeviceTelemetryToTwinFunc", "time": "2026-01-01T00:00:00Z",
        "deadLetters": [letter] });
    write("good.json", &document.to_string());
    write("newer.json", r#"{"version":2}"#);
    write("text.json", "no JSON");
    let names = ["absent.json", "newer.json", "text.json", ".", "good.json"];
    let output = handler(&["replay", "--dry-run"], &[]).args(names).current_dir(folder.path()).output().unwrap();
    let (code, output, error) = ended(&output);
    assert_eq!(code, 1);
    insta::assert_snapshot!(output, @r#"good.json#1 pump-1 2026-01-01T00:00:00Z: bad \u{1b}[31m\nvalue"#);
    insta::assert_snapshot!(error, @"
    error: absent.json: No such file or directory (os error 2)
    error: newer.json: it has version 2; this program reads version 1
    error: text.json: it is no dead-letter document: expected ident at line 1 column 2
    error: .: it is a folder; name the files in it
    ");
}

#[test]
fn replay_tells_of_files_that_are_not_there_before_it_asks_for_settings_or_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let replay =
        |names: &[&str]| ended(&handler(&["replay"], &[]).args(names).current_dir(folder.path()).output().unwrap());
    let (code, output, error) = replay(&["absent.json", "."]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(error, @"
    error: absent.json: No such file or directory (os error 2)
    error: .: it is a folder; name the files in it
    ");
    insta::assert_snapshot!(output, @"0 applied, 0 superseded by newer values, 0 left out by a rule; 2 files could not be read");
    std::fs::write(folder.path().join("there.json"), "{}").unwrap();
    let (code, output, error) = replay(&["absent.json", "there.json"]);
    assert_eq!((code, output.as_str()), (78, ""));
    assert!(error.starts_with("error: absent.json: ") && error.contains("ADT_SERVICE_URL is not set"), "{error}");
}

#[test]
fn a_file_with_connection_strings_may_come_from_windows_and_has_a_bound() {
    const ADT: (&str, &str) = ("ADT_SERVICE_URL", "https://localhost:1");
    let file = tempfile::NamedTempFile::new().unwrap();
    let reconcile = |text: &[u8]| {
        std::fs::write(file.path(), text).unwrap();
        let (code, output, error) =
            run_with(&["reconcile", "--connection-string-file", file.path().to_str().unwrap()], &[ADT]);
        assert_eq!((code, output.as_str()), (2, ""), "{error}");
        error.replace(file.path().to_str().unwrap(), "FILE")
    };
    // Read: only the second hub is wrong.
    let text = "\u{feff}HostName=a.example;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0\r\n\r\nHostName=b\r\n";
    insta::assert_snapshot!(reconcile(text.as_bytes()), @"error: an IoT hub's connection string has no SharedAccessKeyName; it takes HostName=...;SharedAccessKeyName=...;SharedAccessKey=... (value not shown)");
    insta::assert_snapshot!(reconcile(b"H\0o\0s\0t\0\xff"), @"error: FILE: it is not UTF-8 text; save it as UTF-8");
    insta::assert_snapshot!(reconcile(&vec![b' '; (1 << 20) + 1]), @"error: FILE: it is larger than 1048576 bytes");
}

#[test]
fn a_hub_that_cannot_be_reached_is_named_with_its_port() {
    let port = Port::free();
    let hub = format!("HostName=localhost:{};SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0", port.number);
    let variables = [("ADT_SERVICE_URL", "https://localhost:1"), ("IOTHUB_CONNECTION_STRING", hub.as_str())];
    let (code, _, error) = run_with(&["reconcile"], &variables);
    assert_eq!(code, 2);
    assert!(error.starts_with(&format!("error: IoT hub localhost:{} cannot be reached: ", port.number)), "{error}");
}

#[test]
fn a_time_that_reconcile_does_not_take_is_told_with_what_it_takes() {
    for wrong in ["soon", "-5m", "9999999h"] {
        let error = usage(&["reconcile", &format!("--grace={wrong}")]);
        let wanted = format!(
            "error: invalid value '{wrong}' for '--grace <TIME>': it takes a time from 0s to 8760h, for instance 90s, 15m or 2h"
        );
        assert!(error.starts_with(&wanted), "{error}");
    }
    let error = usage(&["reconcile", "--max-removals", "few"]);
    assert!(error.contains("it takes a whole number, for instance 100"), "{error}");
}

#[test]
fn doctor_says_which_setting_names_no_root_to_trust() {
    let variables = [("ADT_SERVICE_URL", "https://localhost:1"), ("ADT_CA_FILE", "absent.pem")];
    let (code, output, _) = run_with(&["doctor"], &variables);
    assert_eq!(code, 1);
    let wanted = "PROBLEM  trusted roots: ADT_CA_FILE absent.pem: No such file or directory (os error 2)\n         -> name a PEM file with the root to trust, or leave the setting out\n";
    assert!(output.contains(wanted), "{output}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = handler(&["map-test", THERMOSTAT, "-"], &[]).stdout(full).output().unwrap();
    let (code, _, error) = ended(&output);
    assert_eq!(code, 2);
    assert!(error.starts_with("error: the result cannot be written to standard output: No space left"), "{error}");
}

/// `map-test` of a message on standard input.
fn map_test(arguments: &[&str], message: &[u8]) -> (i32, String) {
    let mut command = handler(&["map-test"], &[]);
    let command = command.args(arguments).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(message).unwrap();
    let (code, output, error) = ended(&process.wait_with_output().unwrap());
    assert_eq!(error, "");
    (code, output)
}

#[test]
fn map_test_shows_what_a_message_of_the_simulator_writes() {
    let (code, output) = map_test(&[THERMOSTAT], br#"{"Temperature":24.19}"#);
    assert_eq!(code, 0);
    insta::assert_snapshot!(output, @r#"
    A twin of dtmi:contosocom:DigitalTwins:Thermostat;2 would be patched, each value with the message's time as its sourceTime:
    [
      {
        "op": "add",
        "path": "/Temperature",
        "value": 24.19
      }
    ]
    "#);
}

#[test]
fn map_test_says_what_is_not_written_and_why() {
    let message = br#"{"Temperature":"24,7","temprature":1,"HubName":"x","ComfortIndex":"0.5","red\u001b[31m":1}"#;
    let (code, output) =
        map_test(&[THERMOSTAT, "--with", SPACE, "--model-id", "dtmi:contosocom:DigitalTwins:Thermostat;2"], message);
    assert_eq!(code, 1);
    insta::assert_snapshot!(output, @r#"
    A twin of dtmi:contosocom:DigitalTwins:Thermostat;2 would be patched, each value with the message's time as its sourceTime:
    [
      {
        "op": "add",
        "path": "/ComfortIndex",
        "value": 0.5
      }
    ]
    Not written:
      /Temperature: expected a number (double), got the string "24,7"
      temprature: the model does not know it (names match exactly); the nearest is Temperature
      red\u{1b}[31m: the model does not know it (names match exactly)
      HubName: a bookkeeping property, which telemetry never writes
    The message would become a dead letter; what fits would be written all the same.
    "#);
    let (code, output) = map_test(&[THERMOSTAT], b"24.19");
    assert_eq!(code, 1);
    insta::assert_snapshot!(output, @"The message would become a dead letter: the body is a number; a JSON object was expected.");
    let (code, output) = map_test(&[THERMOSTAT], &vec![b' '; 3 << 19]);
    assert_eq!(code, 1);
    assert!(output.contains("more than any event can carry"), "{output}");
}

#[test]
fn map_test_follows_a_mapping() {
    let mapping = tempfile::NamedTempFile::new().unwrap();
    let rules = json!({ "version": 1, "models": { "dtmi:contosocom:DigitalTwins:Thermostat;2": [
        { "from": "/data/tempF", "to": "/Temperature", "scale": 0.5555555555555556, "offset": -17.77777777777778 },
        { "from": "/fw", "to": "/Firmware" }] } });
    std::fs::write(mapping.path(), rules.to_string()).unwrap();
    let file = mapping.path().to_str().unwrap();
    let (code, output) = map_test(&[THERMOSTAT, "--mapping", file], br#"{"data":{"tempF":77}}"#);
    assert_eq!(code, 1, "a rule does not fit");
    insta::assert_snapshot!(output, @r#"
    A rule of the mapping does not fit dtmi:contosocom:DigitalTwins:Thermostat;2: /fw to /Firmware: the model has no such property
    A twin of dtmi:contosocom:DigitalTwins:Thermostat;2 would be patched, each value with the message's time as its sourceTime:
    [
      {
        "op": "add",
        "path": "/Temperature",
        "value": 25.0
      }
    ]
    "#);
}

#[test]
fn map_test_names_a_file_that_it_cannot_use() {
    let graph = concat!(env!("CARGO_MANIFEST_DIR"), "/models/sample-graph.json");
    let error = |arguments: &[&str]| {
        let (code, output, error) = run(arguments);
        assert_eq!((code, output.as_str()), (2, ""));
        error.replace(env!("CARGO_MANIFEST_DIR"), "")
    };
    insta::assert_snapshot!(error(&["map-test", graph, "-"]), @"error: /models/sample-graph.json: model: In source, top-level JSON object has no @context specifier. Add a '@context' property whose value is a valid DTDL context specifier, such as 'dtmi:dtdl:context;2'.");
    insta::assert_snapshot!(error(&["map-test", "absent.json", "-"]), @"error: absent.json: No such file or directory (os error 2)");
    insta::assert_snapshot!(error(&["map-test", THERMOSTAT, "absent.json"]), @"error: absent.json: No such file or directory (os error 2)");
    insta::assert_snapshot!(error(&["map-test", THERMOSTAT, "-", "--with", SPACE]), @"error: which model does the twin have? Say it with --model-id, one of: dtmi:contosocom:DigitalTwins:Space;1, dtmi:contosocom:DigitalTwins:Thermostat;2");
    insta::assert_snapshot!(error(&["map-test", THERMOSTAT, "-", "--model-id", "dtmi:a:B;1"]), @"error: the files have no model dtmi:a:B;1; they have dtmi:contosocom:DigitalTwins:Thermostat;2");
}
