//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dtdl::ModelId;

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
    Doctor,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }
}
