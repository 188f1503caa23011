//! What a command says: results on standard output, progress and errors on standard error.
//!
//! Much of what is said comes from devices, files and services. It is shown so that it does nothing to the terminal
//! that shows it, and keys in it are not shown at all.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::filter::EnvFilter;

/// How often progress is told where nobody watches a bar.
const PLAIN_LINE_EVERY: u64 = 1000;

/// What comes before a key or a signature, in lower case.
const BEFORE_SECRETS: [&str; 3] = ["sharedaccesskey=", "sharedaccesssignature ", "sig="];

/// Why a part of the result could not be said.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Says a line of the result.
pub(super) fn say(line: impl Display) {
    match writeln!(io::stdout().lock(), "{}", harmless(&line.to_string())) {
        // Nothing is left to be done if nobody reads it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// Why a part of the result is not where it was to go, if that is so: a disk is full, for instance.
pub(super) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Says what went wrong.
pub(super) fn complain(error: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "error: {}", harmless(&redacted(&error.to_string())));
}

/// Shows what the parser of the command line has to say: help on standard output, errors on standard error. Whoever
/// gave a connection string as an argument does not find it in a log.
pub(super) fn show(message: &clap::Error) {
    let plain = message.render().to_string();
    let shown = redacted(&plain);
    let _ = if message.use_stderr() && shown != plain {
        write!(std::io::stderr().lock(), "{shown}")
    } else {
        message.print()
    };
}

/// So many of something: `no twins`, `1 twin`, `2 twins`.
pub(super) fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    }
}

/// A text of others as a part of a line: it begins no line of its own.
pub(super) fn inline(text: &str) -> Cow<'_, str> {
    escaped(text, false)
}

fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, true)
}

/// Control characters steer terminals, and so do those that change the direction of writing.
fn escaped(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && !(keeps_lines && c == '\n'))
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The text without keys and signatures.
fn redacted(text: &str) -> Cow<'_, str> {
    // Only ASCII letters change: places stay the same.
    let lower = text.to_ascii_lowercase();
    let mut shown = Cow::Borrowed(text);
    let starts = BEFORE_SECRETS.iter().flat_map(|mark| lower.match_indices(mark).map(|(at, mark)| at + mark.len()));
    let mut starts: Vec<usize> = starts.collect();
    starts.sort_unstable_by(|one, other| other.cmp(one));
    for start in starts {
        let rest = shown.get(start..).unwrap_or_default();
        let length = rest.find(|c: char| c.is_whitespace() || ";&'\"".contains(c)).unwrap_or(rest.len());
        // What is wanted is said in our own words, which hold no key.
        if rest.get(..length) != Some("...") {
            shown.to_mut().replace_range(start..start + length, "(not shown)");
        }
    }
    shown
}

/// What is logged unless `RUST_LOG` says otherwise. A certificate that is not trusted is told once, and not at each try.
const LOGGED: &str = "error,function_app=warn,rustls_platform_verifier=off";

/// Shows the app's own warnings, and what `RUST_LOG` asks for, on standard error.
pub(super) fn log_warnings() {
    let filter = std::env::var("RUST_LOG").ok().and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(LOGGED));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // Fails only where another subscriber is installed, which then has the word.
    let _ = lines.without_time().with_ansi(std::io::stderr().is_terminal() && !is_plain).try_init();
}

/// Long work: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    what: &'static str,
    bar: ProgressBar,
}

impl Progress {
    /// Begins `what`, of `total` items if that is known.
    pub(super) fn begin(what: &'static str, total: Option<usize>) -> Self {
        let total = total.map(|total| u64::try_from(total).unwrap_or(u64::MAX));
        let (bar, style) = match total {
            Some(total) => (ProgressBar::new(total), "{msg} {wide_bar} {pos}/{len}"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {pos}"),
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { what, bar }
    }

    /// `items` more are done.
    pub(super) fn advance(&self, items: usize) {
        let before = self.bar.position();
        self.bar.inc(u64::try_from(items).unwrap_or(u64::MAX));
        let now = self.bar.position();
        // Where standard error is no terminal, and on one that can do nothing but print.
        if self.bar.is_hidden() && before / PLAIN_LINE_EVERY != now / PLAIN_LINE_EVERY {
            let _ = writeln!(std::io::stderr().lock(), "{}: {now}", self.what);
        }
    }

    /// Says something beside the bar.
    pub(super) fn suspend(&self, speak: impl FnOnce()) {
        self.bar.suspend(speak);
    }

    /// Says a line of the result beside the bar.
    pub(super) fn say(&self, line: impl Display) {
        self.suspend(|| say(line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_the_terminal() {
        assert_eq!(inline("red \u{1b}[31m\r\nerror: forged"), r"red \u{1b}[31m\r\nerror: forged");
        assert_eq!(harmless("one\ntwo\u{7}\u{202e}"), "one\ntwo\\u{7}\\u{202e}");
        assert!(matches!(harmless("Größe 1\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn keys_and_signatures_are_not_shown() {
        for (text, shown) in [
            ("no secret; ß", "no secret; ß"),
            ("'HostName=h;SharedAccessKey=c2Vj+/=;x=y' found", "'HostName=h;SharedAccessKey=(not shown);x=y' found"),
            ("SHAREDACCESSKEY=c2Vj", "SHAREDACCESSKEY=(not shown)"),
            (
                "it takes HostName=...;SharedAccessKey=... (always)",
                "it takes HostName=...;SharedAccessKey=... (always)",
            ),
            ("sr=h&sig=c2Vj%3D&se=1 and sig=abc", "sr=h&sig=(not shown)&se=1 and sig=(not shown)"),
            ("SharedAccessSignature sr=h&sig=c2Vj", "SharedAccessSignature (not shown)&sig=(not shown)"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
