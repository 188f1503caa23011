//! Whole batches, against an oracle that takes one message after the other.

use proptest::prelude::*;

use super::*;

/// Messages about a few properties, at a few times, with values that fit or do not, each with a number of its own.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let value = prop_oneof![4 => (0..50i64).prop_map(Value::from), 1 => Just(json!("bad"))];
    let name = prop_oneof![Just("Temperature"), Just("Humidity"), Just("HubName"), Just("Unknown")];
    let members = proptest::collection::hash_map(name, value, 0..4);
    proptest::collection::vec((members, -4..1i64), 1..12).prop_map(|messages| {
        let read = |(event, (members, seconds)): (usize, (HashMap<&str, Value>, i64))| {
            message(event, stamp(seconds, i64::try_from(event).unwrap()), json!(members))
        };
        messages.into_iter().enumerate().map(read).collect()
    })
}

fn stamps() -> impl Strategy<Value = Stamps> {
    let name = prop_oneof![Just("Temperature"), Just("Humidity")].prop_map(PropertyPath::root);
    let known = prop_oneof![
        (-4..1i64).prop_map(stored),
        (-4..1i64, 0..12i64).prop_map(|(seconds, sequence)| stamp(seconds, sequence)),
        Just(stored(3600)),
    ];
    proptest::collection::hash_map(name, known, 0..3)
}

/// A twin as the oracle has it: how new each property is, and what it holds.
type Twin = BTreeMap<PropertyPath, (Stamp, Option<Value>)>;

fn twin(stamps: &Stamps) -> Twin {
    let believed = stamps.iter().filter(|(_, stamp)| stamp.time <= now() + SignedDuration::from_mins(5));
    believed.map(|(path, stamp)| (path.clone(), (*stamp, None))).collect()
}

/// What would happen if messages came one by one in the order of their stamps: the rules said in the plainest way.
fn one_by_one(messages: &[Message], mut twin: Twin) -> (Twin, BTreeMap<usize, &'static str>) {
    let mut sorted: Vec<_> = messages.iter().collect();
    sorted.sort_by_key(|message| message.stamp);
    let properties = |message: &Message| {
        let known = ["Temperature", "Humidity"].into_iter();
        let values = known.filter_map(|name| Some((PropertyPath::root(name), message.members.get(name)?.clone())));
        values.collect::<Vec<_>>()
    };
    for message in &sorted {
        for (path, value) in properties(message).into_iter().filter(|(_, value)| value.is_number()) {
            if twin.get(&path).is_none_or(|(last, _)| *last < message.stamp) {
                twin.insert(path, (message.stamp, Some(value)));
            }
        }
    }
    let outcome = |message: &Message| {
        let values = properties(message);
        if values.iter().any(|(_, value)| !value.is_number()) {
            "dead letter"
        } else if values.iter().any(|(path, _)| twin.get(path).is_some_and(|(last, _)| *last == message.stamp)) {
            "applied"
        } else if values.is_empty() {
            "left out"
        } else {
            "superseded"
        }
    };
    let outcomes = messages.iter().map(|message| (message.event, outcome(message))).collect();
    (twin, outcomes)
}

/// The twin after the plan, and the stamps that are known then.
fn written(plan: &TwinPlan, stamps: &Stamps) -> (Twin, Stamps) {
    let (mut twin, mut stamps) = (twin(stamps), stamps.clone());
    for change in &plan.changes {
        twin.insert(change.path.clone(), (change.stamp, Some(change.value.clone())));
        stamps.insert(change.path.clone(), change.stamp);
    }
    (twin, stamps)
}

fn outcomes(plan: &TwinPlan) -> BTreeMap<usize, &'static str> {
    let name = |outcome: &Outcome| match outcome {
        Outcome::Applied => "applied",
        Outcome::Superseded => "superseded",
        Outcome::LeftOut(_) => "left out",
        Outcome::DeadLetter(_) => "dead letter",
    };
    plan.outcomes.iter().map(|(event, outcome)| (*event, name(outcome))).collect()
}

/// The oracle's twin, without what it only knows to be there.
fn values(twin: Twin) -> Twin {
    twin.into_iter().filter(|(_, (_, value))| value.is_some()).collect()
}

proptest! {
    #[test]
    fn a_batch_does_what_its_messages_would_do_one_by_one(messages in messages(), stamps in stamps()) {
        let plan = planned(&messages, &stamps);
        let (expected, expected_outcomes) = one_by_one(&messages, twin(&stamps));
        prop_assert_eq!(values(written(&plan, &stamps).0), values(expected));
        prop_assert_eq!(plan.outcomes.len(), messages.len());
        prop_assert_eq!(outcomes(&plan), expected_outcomes);
    }

    #[test]
    fn the_order_of_a_batch_does_not_matter(
        (messages, shuffled) in messages().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
        stamps in stamps(),
    ) {
        let (one, other) = (planned(&messages, &stamps), planned(&shuffled, &stamps));
        prop_assert_eq!(&one.changes, &other.changes);
        prop_assert_eq!(outcomes(&one), outcomes(&other));
    }

    #[test]
    fn a_batch_that_comes_again_changes_nothing(messages in messages(), stamps in stamps()) {
        let first = planned(&messages, &stamps);
        let again = planned(&messages, &written(&first, &stamps).1);
        prop_assert_eq!(&again.changes, &vec![]);
        prop_assert_eq!(outcomes(&first), outcomes(&again));
    }

    #[test]
    fn batches_can_come_in_any_pieces_and_order(
        messages in messages().prop_shuffle(),
        at in 0..12usize,
        stamps in stamps(),
    ) {
        let (head, tail) = messages.split_at(at.min(messages.len()));
        let (_, after_head) = written(&planned(head, &stamps), &stamps);
        let (_, after_both) = written(&planned(tail, &after_head), &after_head);
        let (_, after_all) = written(&planned(&messages, &stamps), &stamps);
        prop_assert_eq!(after_both, after_all);
    }

    #[test]
    fn no_property_goes_back_in_time(messages in messages(), stamps in stamps()) {
        for change in planned(&messages, &stamps).changes {
            let last = stamps.get(&change.path).filter(|last| last.time <= now() + SignedDuration::from_mins(5));
            prop_assert!(last.is_none_or(|last| *last < change.stamp));
        }
    }
}
