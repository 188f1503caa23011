//! Two instances that are given the same events: whatever comes between, the twin ends as if there had been one.

use std::future::Future;

use proptest::prelude::*;

use super::*;
use crate::scripted::Step;

const NAMES: [&str; 2] = ["Temperature", "Humidity"];

/// A message about one or both properties; each message has values of its own.
#[derive(Debug, Clone, Copy)]
struct Said {
    sequence: i64,
    seconds: i64,
    names: &'static [&'static str],
}

impl Said {
    fn event(self) -> Event {
        let body: serde_json::Map<String, Value> =
            self.names.iter().map(|name| ((*name).to_owned(), json!(self.value()))).collect();
        Event { sequence_number: Some(self.sequence), ..says("thermo-01", self.seconds, body.into()) }
    }

    fn value(self) -> f64 {
        self.sequence as f64 + 0.5
    }

    fn is_newest_of(self, name: &str, all: &[Said]) -> bool {
        newest(name, all).is_some_and(|newest| newest.sequence == self.sequence)
    }
}

/// The rule: the newest source time, then the higher sequence number.
fn newest(name: &str, all: &[Said]) -> Option<Said> {
    all.iter().filter(|said| said.names.contains(&name)).max_by_key(|said| (said.seconds, said.sequence)).copied()
}

fn partition() -> impl Strategy<Value = Vec<Said>> {
    let names = prop_oneof![Just(&NAMES[..1]), Just(&NAMES[1..]), Just(&NAMES[..])];
    proptest::collection::vec((0..6i64, names), 1..10).prop_map(|said| {
        said.into_iter().zip(0..).map(|((seconds, names), sequence)| Said { sequence, seconds, names }).collect()
    })
}

/// The events in batches, cut where `cuts` say.
fn batches(all: &[Said], cuts: &[usize]) -> Vec<Vec<Said>> {
    let mut batches = vec![Vec::new()];
    for (at, said) in all.iter().enumerate() {
        if cuts.contains(&at) {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(*said);
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Gives a batch to an instance until it is done with it, as the host does.
async fn deliver(function: &DeviceTelemetryToTwin, batch: &[Said]) -> Vec<Outcome> {
    loop {
        let found = outcomes(function, batch.iter().map(|said| said.event()).collect()).await;
        if let Some(all) = found.into_iter().collect() {
            return all;
        }
    }
}

fn assert_is_right(service: &Service, all: &[Said]) {
    assert_eq!(service.with_twins(|twins| twins.gone_back().to_vec()), Vec::<String>::new());
    for name in NAMES {
        let expected = newest(name, all).map_or(Value::Null, |newest| json!(newest.value()));
        assert_eq!(property(service, "thermo-01", name), expected, "{name} after {all:?}");
    }
}

/// Each event is applied or superseded, and what is the newest is applied.
fn assert_counted(outcomes: &[Outcome], batch: &[Said], all: &[Said]) {
    assert_eq!(outcomes.len(), batch.len());
    for (outcome, said) in outcomes.iter().zip(batch) {
        assert!(matches!(outcome, Outcome::Applied | Outcome::Superseded), "{outcome:?}");
        if said.names.iter().any(|name| said.is_newest_of(name, all)) {
            assert_eq!(outcome, &Outcome::Applied, "{said:?} of {all:?}");
        }
    }
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}

/// What comes before a batch is delivered to one of the instances.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    /// The answer to the next patch is lost.
    LostAnswer,
    /// The next patch comes after one of somebody else.
    OtherWriter,
    /// The process is killed; another takes its place.
    Restart,
}

fn before() -> impl Strategy<Value = Before> {
    prop_oneof![
        3 => Just(Before::Nothing),
        1 => Just(Before::LostAnswer),
        1 => Just(Before::OtherWriter),
        1 => Just(Before::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn two_instances_on_one_partition_leave_the_twin_that_one_would(
        all in partition(),
        cuts in proptest::array::uniform2(proptest::collection::vec(0..10usize, 0..5)),
        turns in proptest::collection::vec((any::<bool>(), before()), 0..20),
    ) {
        paused(async {
            let (service, first) = function();
            let settings = || Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut };
            let mut functions = [first, restarted(&service, settings())];
            let mut waiting = cuts.map(|cuts| batches(&all, &cuts).into_iter());
            // Whose turn it is; at the end both finish what they have.
            let turns = turns.into_iter().map(|(second, before)| (usize::from(second), before));
            let rest = [0, 1].into_iter().flat_map(|instance| std::iter::repeat_n((instance, Before::Nothing), 10));
            for (instance, before) in turns.chain(rest) {
                let Some(batch) = waiting[instance].next() else { continue };
                match before {
                    Before::Nothing => {}
                    Before::LostAnswer => service.script("PATCH thermo-01", Step::LoseAnswer),
                    Before::OtherWriter => {
                        service.script("PATCH thermo-01", Step::first(|twins| twins.renew("thermo-01")));
                    }
                    Before::Restart => functions[instance] = restarted(&service, settings()),
                }
                let found = deliver(&functions[instance], &batch).await;
                assert_counted(&found, &batch, &all);
            }
            assert_is_right(&service, &all);
        });
    }
}

#[test]
fn two_instances_at_once_leave_the_twin_that_one_would_while_calls_fail_by_chance() {
    for seed in 0..40_u8 {
        paused(async {
            let (service, first) = function();
            let second = restarted(&service, Telemetry { trust_dtid: false, without_twin: WithoutTwin::LeaveOut });
            // Times go up and down, and some are the same.
            let said = |sequence: i64| Said {
                sequence,
                seconds: (sequence * 7 + i64::from(seed)) % 13,
                names: [&NAMES[..1], &NAMES[1..], &NAMES[..]][sequence as usize % 3],
            };
            let all: Vec<_> = (0..40).map(said).collect();
            service.fail_by_chance(seed.into(), 40);
            let work = async |function: &DeviceTelemetryToTwin, size: usize| {
                for batch in all.chunks(size) {
                    let found = deliver(function, batch).await;
                    assert_counted(&found, batch, &all);
                }
            };
            tokio::join!(work(&first, 4), work(&second, 5));
            service.recover();
            assert_is_right(&service, &all);
        });
    }
}
