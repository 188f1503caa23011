//! `handler map-test`: what a message would write, offline.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::command_line::MapTestArguments;
use super::console::{inline, say};
use super::{Error, Exit, model_files, variable};
use crate::outcome::Outcome;
use crate::telemetry::{Mapping, Preview, preview};

/// The most of a message that is read: what is larger than any event says so when it is read.
const MAX_MESSAGE: u64 = 2 * 1024 * 1024;

pub(super) fn run(arguments: &MapTestArguments) -> Result<Exit, Error> {
    let models = model_files::read(std::iter::once(&arguments.model).chain(&arguments.others).map(AsRef::as_ref))?;
    let model = model_files::choose(&models, arguments.model_id.as_ref())?;
    let named = variable("TELEMETRY_MAPPING_FILE").filter(|path| !path.trim().is_empty()).map(Into::into);
    let mapping = Mapping::read_if_named(arguments.mapping.clone().or(named).as_deref())?;
    let body = message(&arguments.file).map_err(|error| Error::File(arguments.file.display().to_string(), error))?;
    let mut exit = Exit::Fine;
    for fault in mapping.check(&model, &models) {
        say(format_args!("A rule of the mapping does not fit {model}: {fault}"));
        exit = Exit::Attention;
    }
    match preview(&body, arguments.component.as_deref(), &model, &models, &mapping) {
        Ok(preview) => {
            show(&preview, model.as_str());
            let is_whole = preview.left_out.is_empty() && preview.outcome == Outcome::Applied;
            Ok(if is_whole { exit } else { Exit::Attention })
        }
        Err(reason) => {
            say(format_args!("The message would become a dead letter: {}.", inline(&reason)));
            Ok(Exit::Attention)
        }
    }
}

fn show(Preview { patch, outcome, left_out }: &Preview, model: &str) {
    if patch.is_empty() {
        say(format_args!("A twin of {model} would stay as it is."));
    } else {
        say(format_args!("A twin of {model} would be patched, each value with the message's time as its sourceTime:"));
        say(format_args!("{:#}", patch.to_json()));
    }
    if !left_out.is_empty() {
        say("Not written:");
        left_out.iter().for_each(|line| say(format_args!("  {}", inline(line))));
    }
    match outcome {
        Outcome::DeadLetter(reason) if left_out.is_empty() => {
            say(format_args!("The message would become a dead letter: {}.", inline(&reason.detail)));
        }
        Outcome::DeadLetter(_) if patch.is_empty() => say("The message would become a dead letter."),
        Outcome::DeadLetter(_) => {
            say("The message would become a dead letter; what fits would be written all the same.");
        }
        Outcome::LeftOut(rule) => say(format_args!("The message would be left out by the rule {}.", rule.label())),
        Outcome::Applied | Outcome::Superseded => {}
    }
}

fn message(path: &Path) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    source.take(MAX_MESSAGE).read_to_end(&mut body)?;
    Ok(body)
}
