//! A short soak: devices come, go, move and send, and one call in five goes wrong. `lab soak` does the same for longer.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use lab::{
    site::Handler,
    soak::{Chaos, Outage, Report},
};

/// Any would do; with one, two runs try the same.
const SEED: u64 = 67;
const INSTANCES: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn handler() -> Handler {
    Handler::binary(Path::new(env!("CARGO_BIN_EXE_handler")))
}

fn must_hold(report: &Report) {
    assert!(report.violations.is_empty(), "{report}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_comes_through_a_soak_in_which_handlers_die() {
    let chaos = Chaos {
        handler: handler(),
        instances: INSTANCES,
        seed: SEED,
        duration: Duration::from_secs(8),
        devices: 16,
        kill_every: Some(Duration::from_secs(3)),
    };
    must_hold(&chaos.run().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_waits_for_azure_digital_twins_and_is_made_good_when_it_is_back() {
    let (before, down) = (Duration::from_secs(2), Duration::from_secs(5));
    let outage = Outage { handler: handler(), instances: INSTANCES, seed: SEED, devices: 16, before, down };
    must_hold(&outage.run().await.unwrap());
}
