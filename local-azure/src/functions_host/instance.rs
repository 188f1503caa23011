//! One instance of the app: a host with its handler, which reads a share of the partitions.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    invoker::Invoker,
    pump::{Pump, Surroundings},
};

/// How long invocations may take to end when the host stops. The real host gives them up to 10 s; somebody who presses
/// Ctrl-C waits less, and a batch that is cut off comes again.
const DRAIN: Duration = Duration::from_secs(1);

/// One instance of the app.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) invoker: Invoker,
    pub(super) pumps: Vec<Arc<Pump>>,
    /// Requests to HTTP functions that are being answered.
    pub(super) requests: TaskTracker,
    /// How long the platform takes to start a new host in place of one that stopped.
    pub(super) platform_restart: Duration,
}

impl Instance {
    /// Runs hosts, one after the other, until `shutdown`: then no new invocation begins, those in flight may end, and
    /// the handler is killed.
    pub(super) async fn run(self: Arc<Self>, around: Surroundings, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.run_host(&around, &shutdown).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(self.platform_restart) => {}
            }
        }
    }

    /// One host's life: it ends with `shutdown`, or when its handler failed too often.
    async fn run_host(self: &Arc<Self>, around: &Surroundings, shutdown: &CancellationToken) {
        let kill = CancellationToken::new();
        let mut pumps = self.start_pumps(around, shutdown);
        tokio::select! {
            result = self.invoker.handler.run(&kill) => {
                if let Err(error) = result {
                    tracing::error!(restart = ?self.platform_restart, "the host stops: {error}");
                }
                // Dropping the pumps leaves the batches in flight without a checkpoint: they come again.
                pumps.shutdown().await;
            }
            () = self.drain(&mut pumps, shutdown, &kill) => {}
        }
    }

    fn start_pumps(self: &Arc<Self>, around: &Surroundings, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut pumps = JoinSet::new();
        for pump in self.pumps.iter().cloned() {
            let (instance, around, shutdown) = (Arc::clone(self), around.clone(), shutdown.clone());
            pumps.spawn(async move {
                if let Err(error) = pump.run(&instance.invoker, &around, &shutdown).await {
                    tracing::error!(function = pump.function.name, "no more events are read: {error}");
                }
            });
        }
        pumps
    }

    /// Never ends by itself: it has the handler killed, which ends the host.
    async fn drain(&self, pumps: &mut JoinSet<()>, shutdown: &CancellationToken, kill: &CancellationToken) {
        shutdown.cancelled().await;
        self.requests.close();
        let in_flight = async {
            while pumps.join_next().await.is_some() {}
            self.requests.wait().await;
        };
        if timeout(DRAIN, in_flight).await.is_err() {
            tracing::warn!("invocations were still running {DRAIN:?} after the host was asked to stop");
        }
        kill.cancel();
        std::future::pending::<()>().await;
    }
}
