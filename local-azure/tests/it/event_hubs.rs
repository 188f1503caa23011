//! Event hubs: order, retention, consumer groups.

use std::num::NonZeroUsize;

use jiff::{SignedDuration, Timestamp};
use local_azure::{
    clock::Clock,
    event_hubs::{Error, EventData, EventHub, Log},
};
use proptest::prelude::*;
use serde_json::json;

fn event(body: impl Into<Vec<u8>>) -> EventData {
    EventData { body: body.into().into(), ..EventData::default() }
}

fn hub(partitions: usize) -> EventHub {
    let partitions = NonZeroUsize::new(partitions).unwrap();
    EventHub::new("deviceevents", partitions, ["adt-functions"], Clock::manual(Timestamp::UNIX_EPOCH))
}

/// Which of the events 0.. are still there.
fn retained(hub: &EventHub) -> Vec<u64> {
    hub.read(0, None, usize::MAX).iter().map(|event| event.sequence_number).collect()
}

#[test]
fn events_of_one_key_share_a_partition_and_keep_their_order() {
    let hub = hub(4);
    for n in 0..100_u8 {
        hub.append(&format!("device-{}", n % 7), event([n]));
    }
    for device in 0..7_u8 {
        let events = hub.read(hub.partition_of(&format!("device-{device}")), None, 100);
        let bodies: Vec<u8> = events.iter().map(|event| event.data.body[0]).filter(|n| n % 7 == device).collect();
        let sent: Vec<u8> = (0..100).filter(|n| n % 7 == device).collect();
        assert_eq!(bodies, sent);
    }
}

#[test]
fn the_event_hub_stamps_number_offset_and_time_in_milliseconds() {
    let clock = Clock::manual("2024-05-01T12:00:00.2500004Z".parse().unwrap());
    let hub = EventHub::new("deviceevents", NonZeroUsize::MIN, ["adt-functions"], clock.clone());
    hub.append("a", event("one"));
    clock.advance(SignedDuration::from_secs(1));
    hub.append("b", event("two"));

    let events = hub.read(0, None, 10);
    assert_eq!(events[0].sequence_number, 0);
    assert_eq!(events[0].offset, "0");
    assert_eq!(events[0].enqueued_time.to_string(), "2024-05-01T12:00:00.25Z");
    assert_eq!(events[1].sequence_number, 1);
    assert!(events[1].offset.parse::<u64>().unwrap() > 0);
    assert_eq!(events[1].enqueued_time.to_string(), "2024-05-01T12:00:01.25Z");
}

#[test]
fn a_consumer_group_lags_behind_by_what_it_has_not_checkpointed() {
    let hub = hub(1);
    for n in 0..5 {
        hub.append("a", event([n]));
    }
    assert_eq!(hub.lag("adt-functions"), Ok(vec![5]));
    hub.set_checkpoint("adt-functions", 0, 2).unwrap();
    assert_eq!(hub.lag("adt-functions"), Ok(vec![2]));
    assert_eq!(hub.checkpoint("adt-functions", 0), Ok(Some(2)));
    assert_eq!(hub.read(0, Some(2), 1)[0].sequence_number, 3);
}

#[test]
fn a_checkpoint_never_goes_back() {
    let hub = hub(1);
    for n in 0..5 {
        hub.append("a", event([n]));
    }
    hub.set_checkpoint("adt-functions", 0, 4).unwrap();
    hub.set_checkpoint("adt-functions", 0, 1).unwrap();
    assert_eq!(hub.checkpoint("adt-functions", 0), Ok(Some(4)));
}

#[test]
fn unknown_groups_and_partitions_are_errors_that_name_them() {
    let hub = hub(2);
    assert!(matches!(hub.lag("$Default"), Err(Error::NoSuchConsumerGroup { group, .. }) if group == "$Default"));
    let error = hub.set_checkpoint("adt-functions", 2, 0).unwrap_err();
    assert_eq!(error.to_string(), "event hub deviceevents has no partition 2; the last one is 1");
}

#[test]
fn finished_events_stay_for_a_look_back_and_no_more() {
    let hub = hub(1);
    for n in 0..1_000_u64 {
        hub.append("a", event(n.to_string()));
    }
    assert_eq!(retained(&hub).len(), 1_000);
    hub.set_checkpoint("adt-functions", 0, 899).unwrap();
    let kept = retained(&hub);
    assert_eq!(kept.last(), Some(&999));
    assert_eq!(kept.first(), Some(&(900 - 256)));
}

#[test]
fn a_partition_that_nobody_reads_is_bounded_and_counts_what_expired() {
    let hub = hub(1);
    let megabyte = vec![0_u8; 1024 * 1024];
    for _ in 0..130 {
        hub.append("a", event(megabyte.clone()));
    }
    let kept = retained(&hub);
    assert_eq!(kept.len(), 127);
    assert_eq!(kept.last(), Some(&129));
    assert_eq!(hub.log().read(Log::expired), 3);
    assert_eq!(hub.lag("adt-functions"), Ok(vec![127]));
}

#[tokio::test]
async fn a_reader_wakes_up_when_an_event_arrives() {
    let hub = hub(1);
    let reader = async {
        hub.wait_for_events(0, None).await;
        let first = hub.read(0, None, 1);
        hub.wait_for_events(0, Some(0)).await;
        (first[0].data.body.clone(), hub.read(0, Some(0), 1)[0].data.body.clone())
    };
    let writer = async {
        tokio::task::yield_now().await;
        hub.append("a", event("one"));
        tokio::task::yield_now().await;
        hub.append("a", event("two"));
    };
    assert_eq!(tokio::join!(reader, writer).0, ("one".into(), "two".into()));
}

#[tokio::test]
async fn caught_up_waits_for_the_last_checkpoint_of_every_partition() {
    let hub = hub(4);
    let positions: Vec<_> = (0..20).map(|n| hub.append(&format!("device-{n}"), event([n]))).collect();
    let reader = async {
        for position in positions {
            tokio::task::yield_now().await;
            hub.set_checkpoint("adt-functions", position.partition, position.sequence_number).unwrap();
        }
    };
    let (caught_up, ()) = tokio::join!(hub.caught_up("adt-functions"), reader);
    assert_eq!(caught_up, Ok(()));
    assert_eq!(hub.lag("adt-functions"), Ok(vec![0; 4]));
}

#[test]
fn a_group_goes_back_as_far_as_it_is_told_and_as_events_are_there() {
    let hub = hub(1);
    for n in 0..1_000_u64 {
        hub.append("a", event(n.to_string()));
    }
    let checkpoint = || hub.checkpoint("adt-functions", 0).unwrap();
    hub.rewind("adt-functions", 0, 5).unwrap();
    assert_eq!(checkpoint(), None, "there is nothing to go back from");
    hub.set_checkpoint("adt-functions", 0, 899).unwrap();
    hub.rewind("adt-functions", 0, 100).unwrap();
    assert_eq!((checkpoint(), hub.lag("adt-functions")), (Some(799), Ok(vec![200])));
    assert_eq!(hub.read(0, checkpoint(), 1)[0].sequence_number, 800);
    hub.rewind("adt-functions", 0, u64::MAX).unwrap();
    assert_eq!(checkpoint(), Some(900 - 256 - 1));
    assert!(matches!(hub.rewind("$Default", 0, 1), Err(Error::NoSuchConsumerGroup { .. })));
    assert!(matches!(hub.rewind("adt-functions", 1, 1), Err(Error::NoSuchPartition { .. })));
}

#[tokio::test]
async fn a_cleared_event_hub_begins_at_the_beginning() {
    let hub = hub(1);
    for n in 0..3 {
        hub.append("a", event([n]));
    }
    hub.set_checkpoint("adt-functions", 0, 2).unwrap();
    hub.clear();
    assert_eq!((hub.checkpoint("adt-functions", 0), hub.lag("adt-functions")), (Ok(None), Ok(vec![0])));
    let writer = async {
        tokio::task::yield_now().await;
        hub.append("a", event("new"));
    };
    assert_eq!(tokio::join!(hub.unfinished("adt-functions", 0), writer).0, Ok(None));
    assert_eq!(hub.read(0, None, 10)[0].sequence_number, 0);
}

#[tokio::test]
async fn a_reader_wakes_up_when_its_group_goes_back() {
    let hub = hub(1);
    for n in 0..3 {
        hub.append("a", event([n]));
    }
    hub.set_checkpoint("adt-functions", 0, 2).unwrap();
    let writer = async {
        tokio::task::yield_now().await;
        hub.rewind("adt-functions", 0, 2).unwrap();
    };
    assert_eq!(tokio::join!(hub.unfinished("adt-functions", 0), writer).0, Ok(Some(0)));
}

proptest! {
    #[test]
    fn a_log_that_was_written_and_read_back_goes_on_where_it_ended(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..40),
        finished in any::<prop::sample::Index>(),
    ) {
        let hub = hub(1);
        for body in &bodies {
            let data = EventData {
                application_properties: json!({ "n": body.len() }).as_object().unwrap().clone(),
                ..event(body.clone())
            };
            hub.append("a", data);
        }
        let checkpoint = u64::try_from(finished.index(bodies.len())).unwrap();
        hub.set_checkpoint("adt-functions", 0, checkpoint).unwrap();

        let text = hub.log().read(|log| serde_json::to_string(log).unwrap());
        let log = serde_json::from_str::<Log>(&text).unwrap();
        let resumed = EventHub::resume("deviceevents", log, Clock::manual(Timestamp::UNIX_EPOCH));

        prop_assert_eq!(resumed.read(0, None, usize::MAX), hub.read(0, None, usize::MAX));
        prop_assert_eq!(resumed.checkpoint("adt-functions", 0), Ok(Some(checkpoint)));
        let position = resumed.append("a", event("next"));
        prop_assert_eq!(position, hub.append("a", event("next")));
        prop_assert_eq!(resumed.read(0, None, usize::MAX), hub.read(0, None, usize::MAX));
    }
}
