//! Log lines: JSON, each exactly once, each with the invocation that it belongs to.
//!
//! Warnings and errors go to standard output at once, so that they survive whatever becomes of the invocation. The
//! other lines of an invocation are kept: the server puts them into the answer where the host reads them there
//! ([`take_lines`]), else prints them ([`print_lines`]). Standard error is left alone: the host takes every line on it
//! for an error (Azure/azure-functions-host, `WorkerProcess.cs`).

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::host::InvocationId;

/// What is logged without `RUST_LOG`: our own lines from information on, warnings of libraries.
const DEFAULT_FILTER: &str = "warn,function_app=info,handler=info";
/// Lines of one invocation that are kept; further ones are printed at once.
const MAX_KEPT_LINES: usize = 1000;
const INVOCATION: &str = "invocation";

/// Makes this process log to standard output. `filter` is in the syntax of `RUST_LOG`; without one, and with one that
/// cannot be read, the default holds. Does nothing in a process that logs already.
pub fn init(filter: Option<&str>) {
    let given = filter.map(EnvFilter::try_new);
    let unreadable = matches!(given, Some(Err(_)));
    let filter = given.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    // Fails only where another subscriber is installed, which then has the word.
    let _ = Registry::default().with(filter).with(JsonLines::new(std::io::stdout())).try_init();
    if unreadable {
        tracing::warn!("RUST_LOG is no filter, such as {DEFAULT_FILTER}: left out");
    }
}

/// Makes panics lines of the log: they belong to an invocation like any other.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic: {message}");
    }));
}

/// The span that everything belongs to that is done for one invocation.
#[must_use]
pub fn invocation_span(function: &str, id: &InvocationId) -> Span {
    // The highest level: no filter takes away what says where lines belong.
    tracing::error_span!(INVOCATION, function, invocation = id.as_str())
}

/// The lines kept for the invocation of `span`, to be sent with its answer. Later ones are printed.
#[must_use]
pub fn take_lines(span: &Span) -> Vec<String> {
    with_kept(span, Kept::close).unwrap_or_default()
}

/// Prints the lines kept for the invocation of `span`, and later ones as they come.
pub fn print_lines(span: &Span) {
    with_kept(span, Kept::print);
}

fn with_kept<T>(span: &Span, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.extensions_mut().get_mut::<Kept>().map(change)
    })?
}

type Out = Arc<Mutex<dyn Write + Send>>;

fn write_line(out: &Out, line: &str) {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody reads the output any more: there is nowhere left to say so.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What an invocation's span remembers.
struct Kept {
    function: String,
    invocation: String,
    lines: Vec<String>,
    open: bool,
    out: Out,
}

impl Kept {
    fn close(&mut self) -> Vec<String> {
        self.open = false;
        std::mem::take(&mut self.lines)
    }

    fn print(&mut self) {
        for line in self.close() {
            write_line(&self.out, &line);
        }
    }

    fn take(&mut self, line: String) {
        if self.open && self.lines.len() < MAX_KEPT_LINES {
            self.lines.push(line);
        } else {
            write_line(&self.out, &line);
        }
    }
}

/// The layer that makes lines of events.
struct JsonLines {
    out: Out,
}

impl JsonLines {
    fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(out)) }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.name() != INVOCATION || metadata.target() != module_path!() {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let text = |name: &str| fields.0.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Kept {
                function: text("function"),
                invocation: text("invocation"),
                lines: Vec::new(),
                open: true,
                out: Arc::clone(&self.out),
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        let invocation = context
            .event_scope(event)
            .and_then(|mut scope| scope.find(|span| span.extensions().get::<Kept>().is_some()));
        let Some(span) = invocation else {
            return write_line(&self.out, &line(event, None));
        };
        let mut extensions = span.extensions_mut();
        let Some(kept) = extensions.get_mut::<Kept>() else { return };
        let line = line(event, Some(kept));
        if level <= Level::WARN {
            write_line(&self.out, &line);
        } else {
            kept.take(line);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(mut kept) = context.span(&id).and_then(|span| span.extensions_mut().remove::<Kept>()) {
            // Whoever was to answer did not come to it.
            kept.print();
        }
    }
}

fn line(event: &Event<'_>, invocation: Option<&Kept>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut line = Map::new();
    let mut put = |name: &str, value: &str| line.insert(name.to_owned(), Value::String(value.to_owned()));
    put("timestamp", &format!("{:.6}", Timestamp::now()));
    put("level", event.metadata().level().as_str());
    put("target", event.metadata().target());
    if let Some(invocation) = invocation {
        put("function", &invocation.function);
        put("invocation", &invocation.invocation);
    }
    // The message first; a field that bears the name of one of the above does not take its place.
    if let Some(message) = fields.0.shift_remove("message") {
        line.insert("message".to_owned(), message);
    }
    for (name, value) in fields.0 {
        line.entry(name).or_insert(value);
    }
    Value::Object(line).to_string()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// Lets a test see all that is logged under its own subscriber, whatever other tests do at the same time.
///
/// `tracing` remembers of each line in the code whether anybody wants it, and where there is only one subscriber it asks
/// that of the thread which comes by first: a thread of another test, which has none. With one for all threads that
/// wants everything, the answer is right on every thread.
#[cfg(test)]
pub(crate) fn want_everything() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Registry::default()).unwrap());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was printed, line by line, without what differs from run to run.
    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Printed {
        fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }

        fn messages(&self) -> Vec<String> {
            self.lines().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
        }
    }

    fn logged(run: impl FnOnce()) -> Printed {
        want_everything();
        let printed = Printed::default();
        let subscriber = Registry::default().with(EnvFilter::new("info")).with(JsonLines::new(printed.clone()));
        tracing::subscriber::with_default(subscriber, run);
        printed
    }

    fn span() -> Span {
        invocation_span("F", &InvocationId::from_header(Some("id-1")))
    }

    #[test]
    fn every_line_says_which_invocation_it_belongs_to() {
        let printed = logged(|| {
            let _inside = span().entered();
            tracing::warn!(twin = "pump-1", count = 2_u64, "odd");
        });
        let mut line = printed.lines().remove(0);
        assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
        line.as_object_mut().unwrap().shift_remove("timestamp");
        insta::assert_snapshot!(line, @r#"{"level":"WARN","target":"function_app::logging::tests","function":"F","invocation":"id-1","message":"odd","twin":"pump-1","count":2}"#);
    }

    #[test]
    fn warnings_are_printed_at_once_and_the_rest_goes_into_the_answer() {
        let printed = logged(|| {
            let span = span();
            span.in_scope(|| {
                tracing::info!("kept");
                tracing::error!("printed");
            });
            let lines = take_lines(&span);
            assert_eq!(lines.len(), 1);
            assert!(lines[0].contains(r#""message":"kept""#));
        });
        assert_eq!(printed.messages(), ["printed"]);
    }

    #[test]
    fn what_an_answer_cannot_carry_is_printed_once() {
        let printed = logged(|| {
            let span = span();
            span.in_scope(|| tracing::info!("first"));
            print_lines(&span);
            span.in_scope(|| tracing::info!("late"));
        });
        assert_eq!(printed.messages(), ["first", "late"]);
    }

    #[test]
    fn an_invocation_that_is_never_answered_prints_its_lines() {
        let printed = logged(|| span().in_scope(|| tracing::info!("orphan")));
        assert_eq!(printed.messages(), ["orphan"]);
    }

    #[test]
    fn spans_inside_an_invocation_belong_to_it() {
        let printed = logged(|| {
            let outer = span();
            let inner = outer.in_scope(|| tracing::info_span!("inner"));
            inner.in_scope(|| tracing::info!("deep"));
            assert_eq!(take_lines(&outer).len(), 1);
        });
        assert!(printed.messages().is_empty());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let printed = logged(|| {
            let span = span();
            span.in_scope(|| (0..MAX_KEPT_LINES + 3).for_each(|number| tracing::info!(number, "many")));
            assert_eq!(take_lines(&span).len(), MAX_KEPT_LINES);
        });
        assert_eq!(printed.lines().len(), 3);
    }

    #[test]
    fn a_line_outside_of_an_invocation_is_printed() {
        assert_eq!(logged(|| tracing::info!("start")).messages(), ["start"]);
    }

    #[test]
    fn a_field_does_not_take_the_place_of_the_line_s_own() {
        let printed = logged(|| {
            span().in_scope(|| tracing::warn!(invocation = "forged", "odd"));
        });
        assert_eq!(printed.lines()[0]["invocation"], "id-1");
    }
}
