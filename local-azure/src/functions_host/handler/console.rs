//! What handlers write on stdout and stderr.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::clock::Clock;

/// Lines kept.
const KEPT: usize = 1_000;
/// A longer line is cut into several.
const LONGEST_LINE: usize = 64 * 1024;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
}

/// How serious the host takes a line to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the host itself, not for the app's log.
    Debug,
    /// Every line on stdout.
    Information,
    /// A line on stderr that says "warn".
    Warning,
    /// Any other line on stderr.
    Error,
}

/// A line of a handler.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleLine {
    /// When it came.
    pub time: Timestamp,
    /// Which handler wrote it, counted from 0.
    pub handler: usize,
    /// On which stream.
    pub stream: Stream,
    /// How serious it is.
    pub level: Level,
    /// The line.
    pub text: String,
}

/// The last lines of all handlers.
#[derive(Debug)]
pub struct Console {
    lines: Mutex<VecDeque<ConsoleLine>>,
    clock: Clock,
}

impl Console {
    pub(in crate::functions_host) fn new(clock: Clock) -> Self {
        Self { lines: Mutex::new(VecDeque::new()), clock }
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<ConsoleLine> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn add(&self, handler: usize, stream: Stream, stderr_is_for_errors: bool, text: &str) {
        let (level, text) = classify(stream, stderr_is_for_errors, text);
        // The log of this program shows warnings that the host would file under information.
        match declared(text).map_or(level, |declared| declared.max(level)) {
            Level::Debug => tracing::debug!(handler, "{text}"),
            Level::Information => tracing::info!(handler, "{text}"),
            Level::Warning => tracing::warn!(handler, "{text}"),
            Level::Error => tracing::error!(handler, "{text}"),
        }
        let line = ConsoleLine { time: self.clock.now(), handler, stream, level, text: text.to_owned() };
        let mut lines = self.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<ConsoleLine>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Level and text of a line (azure-functions-host: `WorkerProcess.cs`).
fn classify(stream: Stream, stderr_is_for_errors: bool, text: &str) -> (Level, &str) {
    for prefix in ["LanguageWorkerConsoleLog", "azfuncjsonlog:"] {
        if let Some(text) = text.strip_prefix(prefix) {
            return (Level::Debug, text);
        }
    }
    let lower = text.to_ascii_lowercase();
    let level = match stream {
        Stream::Stdout => Level::Information,
        Stream::Stderr if lower.contains("warn") => Level::Warning,
        Stream::Stderr if stderr_is_for_errors => Level::Error,
        Stream::Stderr if ["error", "fail", "severe"].iter().any(|word| lower.contains(word)) => Level::Error,
        Stream::Stderr => Level::Information,
    };
    (level, text)
}

/// How serious a line says itself that it is, in the member `level` of its JSON. The host does not look there.
fn declared(text: &str) -> Option<Level> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
    }
    let line: Line = text.starts_with('{').then(|| serde_json::from_str(text).ok())??;
    match line.level.to_ascii_lowercase().as_str() {
        "warn" | "warning" => Some(Level::Warning),
        "error" | "fatal" | "critical" => Some(Level::Error),
        _ => None,
    }
}

/// Calls `line` for each line of `stream` until it ends.
pub(super) async fn read_lines(mut stream: impl AsyncRead + Unpin, mut line: impl FnMut(&str)) {
    let mut buffer = Vec::with_capacity(8 * 1024);
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        let mut start = 0;
        while let Some(rest) = buffer.get(start..) {
            let newline = rest.iter().take(LONGEST_LINE + 1).position(|&byte| byte == b'\n');
            let Some(end) = newline.or_else(|| (rest.len() >= LONGEST_LINE).then_some(LONGEST_LINE)) else { break };
            line(&text(rest.get(..end).unwrap_or_default()));
            start += end + usize::from(newline.is_some());
        }
        buffer.drain(..start.min(buffer.len()));
    }
    if !buffer.is_empty() {
        line(&text(&buffer));
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_an_error_unless_it_warns() {
        let cases = [
            (Stream::Stdout, true, "ERROR on stdout", Level::Information, "ERROR on stdout"),
            (Stream::Stderr, true, "anything", Level::Error, "anything"),
            (Stream::Stderr, true, "a Warning", Level::Warning, "a Warning"),
            (Stream::Stderr, false, "anything", Level::Information, "anything"),
            (Stream::Stderr, false, "it FAILED", Level::Error, "it FAILED"),
            (Stream::Stdout, true, "LanguageWorkerConsoleLog hello", Level::Debug, " hello"),
        ];
        for (stream, errors_only, line, level, text) in cases {
            assert_eq!(classify(stream, errors_only, line), (level, text), "{line}");
        }
    }

    #[test]
    fn a_line_of_json_says_its_level_itself() {
        for (line, level) in [
            (r#"{"level":"WARN","message":"odd"}"#, Some(Level::Warning)),
            (r#"{"message":"bad","level":"error"}"#, Some(Level::Error)),
            (r#"{"level":"INFO","message":"an error, it says"}"#, None),
            (r#"{"level":40}"#, None),
            ("WARN odd", None),
            ("{", None),
        ] {
            assert_eq!(declared(line), level, "{line}");
        }
    }

    #[tokio::test]
    async fn streams_fall_into_lines_of_bounded_length() {
        let long = "x".repeat(LONGEST_LINE + 10);
        let input = format!("one\r\ntwo\n\n{long}\nlast");
        let mut lines = Vec::new();
        read_lines(input.as_bytes(), |line| lines.push(line.to_owned())).await;
        assert_eq!(lines, ["one", "two", "", &"x".repeat(LONGEST_LINE), &"x".repeat(10), "last"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let console = Console::new(Clock::system());
        for n in 0..=KEPT {
            console.add(0, Stream::Stdout, true, &n.to_string());
        }
        let lines = console.lines();
        assert_eq!((lines.len(), lines[0].text.as_str()), (KEPT, "1"));
    }
}
