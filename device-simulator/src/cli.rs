//! The command line: its options, and what its exit codes mean.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use device_simulator::{DeviceError, GroupKey, ProvisioningError};

const AFTER_HELP: &str = "\
Settings, from the environment, else from --env-file, else from device-simulator/.env or .env
(template: device-simulator/.env.template):
  PROVISIONING_HOST             the DPS instance, host or host:port (the hub's port, too)
  PROVISIONING_IDSCOPE          the ID scope of the DPS instance
  PROVISIONING_REGISTRATION_ID  what the device calls itself, unless given as an argument
  ADT_MODEL_ID                  the model of its digital twin
  PROVISIONING_SYMMETRIC_KEY    the key of the enrollment group; the device's is derived from it
  PROVISIONING_CA_FILE          a PEM file with further root certificates to trust

Exit codes:
  0  stopped by Ctrl-C or SIGTERM, or all messages are acknowledged
  1  anything else
  2  an option or a setting is missing or wrong
  3  DPS refused the device, or the registration failed
  4  the hub refused the device or cannot be reached
  5  DPS cannot be reached, or gave no hub in time";

/// An IoT device: registers with the Device Provisioning Service (DPS), then sends its temperature to the IoT Hub that
/// it was assigned to, over MQTT.
///
/// One line a message on stdout, once the hub has acknowledged it; everything else on stderr. Ctrl-C stops it.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// What the device calls itself; comes before PROVISIONING_REGISTRATION_ID, and is taken in lower case.
    #[arg(value_name = "registrationId")]
    pub(crate) registration_id: Option<String>,

    /// How long from one message to the next: 500ms, 2s, 1m.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Stop after so many acknowledged messages; 0 goes on without end.
    #[arg(long, value_name = "N", default_value = "0", value_parser = messages)]
    pub(crate) messages: u64,

    /// Read the settings from this file instead of .env; variables of the environment come first.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// Help, or what is wrong. A key that was given as an argument is not repeated in its text.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, NotRead> {
        Self::try_parse_from(&arguments).map_err(|error| {
            let keys = arguments.iter().filter_map(|argument| argument.to_str()).filter(|text| looks_like_key(text));
            let text = keys.fold(error.render().to_string(), |text, key| text.replace(key, "(not shown)"));
            NotRead { error, text }
        })
    }
}

/// A command line that is not to be obeyed.
#[derive(Debug)]
pub(crate) struct NotRead {
    /// As the parser gives it, for terminals.
    pub(crate) error: clap::Error,
    /// The same without keys.
    pub(crate) text: String,
}

impl NotRead {
    /// How the program ends: help is no error.
    pub(crate) fn exit(&self) -> Exit {
        if self.error.use_stderr() { Exit::Settings } else { Exit::Done }
    }
}

fn looks_like_key(argument: &str) -> bool {
    argument.contains("SharedAccess") || GroupKey::from_base64(argument).is_ok()
}

/// What ended the program, for whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Other = 1,
    Settings = 2,
    ProvisioningRefused = 3,
    Hub = 4,
    ProvisioningUnreachable = 5,
}

impl Exit {
    pub(crate) fn because(error: &DeviceError) -> Self {
        match error {
            DeviceError::Provisioning(ProvisioningError::TimedOut { .. }) => Self::ProvisioningUnreachable,
            DeviceError::Provisioning(ProvisioningError::Connection(error)) if !error.is_unauthorized() => {
                Self::ProvisioningUnreachable
            }
            DeviceError::Provisioning(_) => Self::ProvisioningRefused,
            DeviceError::Hub(_) => Self::Hub,
            _ => Self::Other,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn messages(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a whole number; 0 goes on without end".to_owned())
}

/// Reads `500ms`, `1.5s` or `2m`, from 1 ms to 24 h.
fn interval(text: &str) -> Result<Duration, String> {
    let wanted = || "a number and ms, s, m or h, from 1ms to 24h, as in 500ms".to_owned();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wanted)?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wanted()),
    };
    let number: f64 = number.parse().map_err(|_| wanted())?;
    let duration = Duration::try_from_secs_f64(number * unit).map_err(|_| wanted())?;
    match (Duration::from_millis(1)..=Duration::from_secs(24 * 3600)).contains(&duration) {
        true => Ok(duration),
        false => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use device_simulator::Setting;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_setting_and_exit_code() {
        let help = Arguments::command().render_long_help().to_string();
        for setting in Setting::ALL {
            assert!(help.contains(setting.name), "{}", setting.name);
        }
        for code in 0..=5 {
            assert!(help.contains(&format!("\n  {code}  ")), "{code}");
        }
    }

    #[test]
    fn a_key_that_was_given_as_an_argument_is_not_repeated() {
        let read = |arguments: &[&str]| {
            let program = std::iter::once(&"device-simulator");
            Arguments::read(program.chain(arguments).map(OsString::from).collect()).unwrap_err()
        };
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let connection_string = "HostName=h;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0";
        for secret in [key, connection_string, &format!("--key={connection_string}")] {
            for arguments in [&["thermo-01", secret][..], &["--messages", secret], &["--interval", secret]] {
                let refused = read(arguments);
                assert_eq!(refused.exit(), Exit::Settings);
                let NotRead { text, .. } = refused;
                assert!(text.starts_with("error: ") && !text.contains("MDEy") && !text.contains("c2Vj"), "{text}");
            }
        }
        let NotRead { text, .. } = read(&["--messages", "many"]);
        let wanted = "error: invalid value 'many' for '--messages <N>': a whole number; 0 goes on without end";
        assert!(text.starts_with(wanted), "{text}");
        assert_eq!(read(&["--help"]).exit(), Exit::Done);
    }

    #[test]
    fn intervals_have_a_unit_and_bounds() {
        let cases = [("500ms", 500), ("2s", 2000), ("1.5s", 1500), ("1m", 60_000), ("24h", 86_400_000), ("1ms", 1)];
        for (text, millis) in cases {
            assert_eq!(interval(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "500", "0ms", "0.5ms", "25h", "-1s", "s", "1 s", "NaNs", "infs", "1d"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
