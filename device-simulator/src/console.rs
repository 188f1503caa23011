//! What the program prints: messages on stdout, everything else on stderr.

use std::io::Write as _;

use device_simulator::{Assignment, Event, Progress, RegistrationId, Summary, Telemetry};
use tokio_util::sync::CancellationToken;

use crate::cli::NotRead;

/// The longest text of somebody else's that is shown.
const MAX_SHOWN: usize = 200;

/// Prints what happens to a device.
pub(crate) struct Console {
    device: RegistrationId,
    shutdown: CancellationToken,
    /// The advice that was given last: once is enough until it is followed.
    advice: &'static str,
    /// Why messages cannot be shown any more, although somebody may read them: a disk is full, for instance.
    lost: Option<std::io::Error>,
}

impl Console {
    /// When nobody reads stdout any more, `shutdown` is cancelled.
    pub(crate) fn new(device: RegistrationId, shutdown: CancellationToken) -> Self {
        Self { device, shutdown, advice: "", lost: None }
    }

    pub(crate) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Acknowledged { sequence, telemetry } => self.show_message(*sequence, telemetry),
            other => self.show_news(other),
        }
    }

    fn show_message(&mut self, sequence: u64, telemetry: &Telemetry) {
        let body = String::from_utf8_lossy(telemetry.body());
        if let Err(error) = writeln!(std::io::stdout().lock(), "{} {sequence} {body}", self.device) {
            self.shutdown.cancel();
            self.lost = Some(error).filter(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
        }
    }

    fn show_news(&mut self, event: &Event<'_>) {
        let news = match event {
            Event::Registering { dps } => format!("registering with {dps}"),
            Event::Provisioning(Progress::Assigning { wait }) => {
                format!("DPS is choosing a hub; asking again in {}", seconds(*wait))
            }
            Event::Provisioning(Progress::Busy { error, wait }) => {
                format!("DPS is busy ({error}); asking again in {}", seconds(*wait))
            }
            Event::Provisioning(Progress::Unreachable { error, wait }) => {
                format!("{error}; trying again in {}{}", seconds(*wait), self.advise(error.hint()))
            }
            Event::NotRegistered { error, wait } => format!("{error}; trying again in {}", seconds(*wait)),
            Event::Assigned(assignment) => assigned(assignment),
            Event::Connected { hub } => {
                self.advice = "";
                format!("connected to {hub}")
            }
            Event::NotConnected { error, wait } => {
                format!("{error}; trying again in {}{}", seconds(*wait), self.advise(error.hint()))
            }
            Event::Lost { error, wait, unsent } => {
                format!("{error}; connecting again in {}, {unsent} messages to send", seconds(*wait))
            }
            Event::Renewing => "renewing the token".to_owned(),
            // Said less and less often, or a fast device would say little else.
            Event::Dropped { sequence, total } if total.is_power_of_two() => {
                format!("no room for more unsent messages: dropped {sequence} ({total} so far)")
            }
            _ => return,
        };
        tell(&format!("{}: {news}", self.device));
    }

    fn advise(&mut self, hint: &'static str) -> String {
        match std::mem::replace(&mut self.advice, hint) == hint {
            true => String::new(),
            false => format!(" ({hint})"),
        }
    }

    /// Whether every message that was to be shown is where it was to go.
    pub(crate) fn sum_up(&self, summary: &Summary) -> bool {
        let Summary { acknowledged, dropped, unsent } = summary;
        tell(&format!("{}: {acknowledged} acknowledged, {dropped} dropped, {unsent} not acknowledged", self.device));
        if let Some(error) = &self.lost {
            tell(&format!("error: messages cannot be written to standard output: {error}"));
        }
        self.lost.is_none()
    }
}

fn assigned(assignment: &Assignment) -> String {
    let Assignment { hub, device_id, payload, .. } = assignment;
    let payload: Option<String> = payload.as_ref().map(|p| p.to_string().chars().take(MAX_SHOWN).collect());
    match payload {
        Some(payload) => format!("assigned to {hub} as {device_id}, with {payload}"),
        None => format!("assigned to {hub} as {device_id}"),
    }
}

fn seconds(wait: std::time::Duration) -> String {
    format!("{:.1} s", wait.as_secs_f64())
}

/// What the parser of the command line has to say: help on stdout, errors on stderr.
pub(crate) fn show(NotRead { error, text }: &NotRead) {
    // Nothing is left to be done if nobody reads it.
    let _ = match error.render().to_string() == *text {
        true => error.print(),
        false => write!(std::io::stderr().lock(), "{text}"),
    };
}

/// A line on stderr.
pub(crate) fn tell(line: &str) {
    // Without stderr there is nobody to tell that there is no stderr.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
