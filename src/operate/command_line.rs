//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dtdl::ModelId;
use jiff::SignedDuration;

const AFTER_HELP: &str = "\
Without a command it serves the Azure Functions host that started it, see customHandler in host.json. To do that on \
its own, set FUNCTIONS_CUSTOMHANDLER_PORT and ADT_SERVICE_URL.

Commands read the same settings from the environment as the app does (ADT_SERVICE_URL and so on), and use the login of \
Azure CLI or Azure Developer CLI unless the environment says otherwise.

Exit codes: 0 all is well; 1 something wants attention, and was told; 2 the command could not be run to its end; 64 \
the command line is wrong; 78 the settings are wrong.";

/// Keeps the digital twins of devices that DPS provisions in step with them.
#[derive(Debug, Parser)]
#[command(name = "handler", bin_name = "handler", version, max_term_width = 110, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true, subcommand_value_name = "COMMAND")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply dead letters again
    ///
    /// Every event goes the way it would have gone: decoded, planned and applied by the same rules and settings. A
    /// value that the twin has a newer one of stays out, and a device that registered since keeps its twin, so that to
    /// replay a file twice does no harm. Files are read one after the other and never changed.
    ///
    /// An event of a device without a twin stays a dead letter, whatever TELEMETRY_WITHOUT_TWIN says.
    ///
    /// Exit code 0: every event is applied, superseded, or left out by a rule. 1: some are not, or a file could not be
    /// read. 2: it ended early, because nothing could be applied any more.
    Replay(ReplayArguments),
    /// Check settings, credentials, roles and models, and say what to do
    ///
    /// Changes nothing: to see whether twins can be written, it asks to delete one that does not exist. What it says of
    /// roles holds for the credentials that it used, which are not those of the app unless it runs where the app does.
    ///
    /// Exit code 0: no problem was found. 1: some were. Warnings and notes are no problems.
    Doctor(DoctorArguments),
    /// Compare the devices of IoT hubs with their twins
    ///
    /// Finds twins that are bound to devices which their hub no longer has, devices without a twin, and tags (dtId,
    /// dtmi) or HubName that disagree. Only shows what it would do, unless --apply is given. Twins that wait for their
    /// device's first registration are no difference, and twins of hubs that are not named are left alone.
    ///
    /// What is changed is read again first, every change is conditional, and a twin is removed by the guards, and the
    /// setting LIFECYCLE_ON_DELETE, by which the event of the deletion would have removed it.
    ///
    /// IoT Hub is reached by the connection strings in IOTHUB_CONNECTION_STRING or --connection-string-file (policy
    /// "service" is enough), or by login (--hub; role "IoT Hub Twin Contributor").
    ///
    /// Exit code 0: there is no difference (left). 1: there are some.
    Reconcile(ReconcileArguments),
    /// Show what a telemetry message would write, without Azure
    ///
    /// Exit code 0: the message would be applied whole. 1: something of it would not be written, or it would become a
    /// dead letter.
    MapTest(MapTestArguments),
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Dead-letter documents (blobs of the container dead-letters)
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Only show what is in the files; needs no settings
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    pub(super) hubs: HubArguments,
}

#[derive(Debug, Args)]
pub(super) struct HubArguments {
    /// Host name of an IoT hub, reached by login; can be given several times
    #[arg(long = "hub", value_name = "HOST")]
    pub(super) hosts: Vec<String>,
    /// File with connection strings of IoT hubs, one a line [default: the value of IOTHUB_CONNECTION_STRING]
    #[arg(long, value_name = "FILE")]
    pub(super) connection_string_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReconcileArguments {
    #[command(flatten)]
    pub(super) hubs: HubArguments,
    /// Do what was found to be done
    #[arg(long)]
    pub(super) apply: bool,
    /// The hubs named are all that there are: also twins without HubName count as theirs
    #[arg(long)]
    pub(super) all_hubs: bool,
    /// Leave twins alone that were bound less than this ago: their device may not have appeared in its hub yet [default:
    /// 15m]
    #[arg(long, value_name = "TIME", default_value = "15m", hide_default_value = true, value_parser = grace)]
    pub(super) grace: SignedDuration,
    /// Apply nothing if more twins than this would be removed [default: 100]
    #[arg(long, value_name = "N", default_value = "100", hide_default_value = true, value_parser = max_removals)]
    pub(super) max_removals: usize,
}

#[derive(Debug, Args)]
pub(super) struct MapTestArguments {
    /// DTDL file with the twin's model
    #[arg(value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// The message's body; - for standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Further DTDL file, with what the model extends or contains; can be given several times
    #[arg(long = "with", value_name = "MODEL")]
    pub(super) others: Vec<PathBuf>,
    /// The twin's model, where there are several [default: the one that no other extends or contains]
    #[arg(long, value_name = "DTMI")]
    pub(super) model_id: Option<ModelId>,
    /// The component that the message is about (dt-subject)
    #[arg(long, value_name = "NAME")]
    pub(super) component: Option<String>,
    /// Mapping file [default: the value of TELEMETRY_MAPPING_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) mapping: Option<PathBuf>,
}

/// A year is longer than any device takes to appear in its hub.
const LONGEST_GRACE: SignedDuration = SignedDuration::from_hours(24 * 365);

fn grace(text: &str) -> Result<SignedDuration, String> {
    let time = text.parse().ok().filter(|time| (SignedDuration::ZERO..=LONGEST_GRACE).contains(time));
    time.ok_or_else(|| "it takes a time from 0s to 8760h, for instance 90s, 15m or 2h".to_owned())
}

fn max_removals(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "it takes a whole number, for instance 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
