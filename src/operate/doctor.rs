//! `handler doctor`: what is wrong, and what to do about it.
//!
//! Findings are said as they are made: what takes long, or does not answer, comes after what is known already.

mod finding;
mod models;
mod twins;

use self::finding::{Finding, Level};
use super::command_line::DoctorArguments;
use super::console::{counted, say};
use super::{Error, Exit, iot_hub, settings};
use crate::digital_twins::{Client, ConnectError};
use crate::settings::{Credentials, Settings};
use crate::telemetry::Mapping;

pub(super) async fn run(arguments: &DoctorArguments) -> Result<Exit, Error> {
    let mut report = Report::to(|finding| say(finding));
    check(arguments, &mut report).await;
    say(&report);
    Ok(if report.problems == 0 { Exit::Fine } else { Exit::Attention })
}

async fn check(arguments: &DoctorArguments, report: &mut Report) {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(problems) => {
            let problems = problems.as_slice().iter();
            problems.for_each(|problem| report.tell(Finding::problem("settings", problem)));
            return;
        }
    };
    report.tell(Finding::good("settings", format_args!("for {}", settings.digital_twins.endpoint)));
    let mapping = match Mapping::read_if_named(settings.telemetry_mapping_file.as_deref()) {
        Ok(mapping) => mapping,
        Err(error) => {
            report
                .tell(Finding::problem("mapping", error).advise("the app does not start with it; see docs/mapping.md"));
            Mapping::default()
        }
    };
    match Client::connect(&settings.digital_twins, &settings.credentials) {
        Ok(client) => {
            report.tell(credentials(&settings.credentials));
            twins::check(&client, &settings, &mapping, report).await;
        }
        Err(error @ (ConnectError::CaFile { .. } | ConnectError::NoCertificate { .. })) => {
            let advice = "name a PEM file with the root to trust, or leave the setting out";
            report.tell(Finding::problem("trusted roots", error).advise(advice));
        }
        Err(error) => report.tell(Finding::problem("credentials", error)),
    }
    hubs(arguments, &settings, report).await;
}

/// Whose rights are looked at.
fn credentials(credentials: &Credentials) -> Finding {
    let finding = Finding::good("credentials", credentials);
    match credentials {
        Credentials::DeveloperTools => {
            finding.advise("what follows is about this login; the app in Azure has an identity, and roles, of its own")
        }
        Credentials::ManagedIdentity { .. } | Credentials::ClientSecret { .. } => finding,
    }
}

async fn hubs(arguments: &DoctorArguments, settings: &Settings, report: &mut Report) {
    let hubs = match iot_hub::hubs(&arguments.hubs, settings) {
        Ok(hubs) => hubs,
        Err(error) => return report.tell(Finding::problem("IoT Hub", error)),
    };
    if hubs.is_empty() {
        report.tell(
            Finding::note("IoT Hub", "not checked: no hub is named")
                .advise("the app needs no access to it; to check yours, use IOTHUB_CONNECTION_STRING or --hub"),
        );
    }
    for hub in hubs {
        report.tell(match hub.check().await {
            Ok(()) => Finding::good("IoT Hub", format_args!("{} answers, and device twins can be read", hub.name())),
            Err(error) => Finding::problem("IoT Hub", error),
        });
    }
}

/// What was found so far.
#[derive(Debug)]
struct Report {
    say: fn(&Finding),
    problems: usize,
    warnings: usize,
}

impl Report {
    fn to(say: fn(&Finding)) -> Self {
        Self { say, problems: 0, warnings: 0 }
    }

    fn tell(&mut self, finding: Finding) {
        match finding.level {
            Level::Problem => self.problems += 1,
            Level::Warning => self.warnings += 1,
            Level::Good | Level::Note => {}
        }
        (self.say)(&finding);
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", counted(self.problems, "problem"), counted(self.warnings, "warning"))
    }
}
