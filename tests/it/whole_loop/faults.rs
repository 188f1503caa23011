//! What becomes of events when handlers die at the worst of moments and events come again.

use std::num::NonZeroUsize;
use std::time::Duration;

use local_azure::gate::{Effect, Fault, Service};

use super::site::{Site, TELEMETRY, temperature};

/// Two instances, and a device whose twin was created and patched before.
async fn two_instances() -> (Site, super::site::Device) {
    let site = Site::with(|config| config.instances = NonZeroUsize::new(2).unwrap()).await;
    let pump = site.register("pump-1").await;
    site.send(&pump, [temperature(0.0)]).await;
    site.caught_up().await;
    (site, pump)
}

async fn killed_at_the_second_patch(effect: Effect) {
    let (site, pump) = two_instances().await;
    let fault = Fault::new(Service::DigitalTwins, effect).on("DigitalTwins_Update").after(1).times(1);
    site.running.faults().inject(fault).unwrap();
    for n in 1..=3 {
        site.send(&pump, [temperature(f64::from(n))]).await;
        site.caught_up().await;
        assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], f64::from(n));
    }
    assert_eq!(site.running.faults().all()[0].fired, 1);
    // There is one partition: the first instance reads it.
    let restarts: Vec<u64> = site.running.instances().iter().map(|instance| instance.restarts).collect();
    assert_eq!(restarts, [1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_handler_dies_before_its_second_patch_is_carried_out() {
    killed_at_the_second_patch(Effect::KillBefore(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_handler_dies_after_its_second_patch_was_carried_out() {
    killed_at_the_second_patch(Effect::KillAfter(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_again_change_nothing() {
    let (site, pump) = two_instances().await;
    site.send(&pump, [temperature(1.0), temperature(2.0)]).await;
    site.caught_up().await;
    let twin = site.twin("pump-1").await;
    site.outcomes(TELEMETRY);
    site.running.faults().inject(Fault::new(Service::EventHubs, Effect::Rewind(10)).on("deviceevents")).unwrap();
    site.caught_up().await;
    assert_eq!(site.twin("pump-1").await, twin);
    assert_eq!(site.outcomes(TELEMETRY), super::site::counts([("applied", 1), ("superseded", 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_at_work_on_one_batch_leave_the_newest_value() {
    let (site, pump) = two_instances().await;
    let faults = site.running.faults();
    // The first patch takes its time, while the other instance is done with this batch and the next.
    let slow = Effect::Delay(Duration::from_millis(300));
    faults.inject(Fault::new(Service::DigitalTwins, slow).on("DigitalTwins_Update").times(1)).unwrap();
    faults.inject(Fault::new(Service::EventHubs, Effect::Move).on("deviceevents").times(1)).unwrap();
    let mut invocations = site.running.services().functions.invocations();
    for n in 1..=2 {
        site.send(&pump, [temperature(f64::from(n))]).await;
        site.caught_up().await;
    }
    let mut telemetry = 0;
    while telemetry < 3 {
        telemetry += u32::from(invocations.recv().await.unwrap().function == TELEMETRY);
    }
    assert_eq!(faults.all().iter().map(|fault| fault.fired).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(site.twin("pump-1").await.unwrap()["Temperature"], 2.0);
}
