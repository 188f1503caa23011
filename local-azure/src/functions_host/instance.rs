//! One instance of the app: a host with its handler, which reads the partitions whose leases it has.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    app::Function,
    envelope::System,
    invoker::Invoker,
    output::write_blobs,
    ownership::Ownership,
    pause::Pause,
    pump::{Reader, Surroundings},
};
use crate::gate::{Caller, Class, Refusal, Request, Service};

/// How long invocations may take to end when the host stops. The real host gives them up to 10 s; somebody who presses
/// Ctrl-C waits less, and a batch that is cut off comes again.
const DRAIN: Duration = Duration::from_secs(1);

/// One instance of the app.
#[derive(Debug)]
pub(super) struct Instance {
    /// Its number, counted from 0.
    pub(super) index: usize,
    pub(super) invoker: Invoker,
    /// Which partitions are whose.
    pub(super) ownership: Arc<Ownership>,
    /// Requests to HTTP functions that are being answered.
    pub(super) requests: TaskTracker,
    /// How long the platform takes to start a new host in place of one that stopped.
    pub(super) platform_restart: Duration,
    pub(super) pause: Pause,
}

impl Instance {
    /// Calls a function with the envelope that `envelope` makes of what the host knows, and writes the blobs that the
    /// handler answers; gives the answer's `Logs`.
    ///
    /// # Errors
    /// Why the invocation failed.
    pub(super) async fn call(
        &self,
        function: &Function,
        id: Uuid,
        around: &Surroundings,
        envelope: impl FnOnce(System) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<String>, String> {
        let request =
            Request { service: Service::Functions, operation: function.name, class: Class::Other, subject: "" };
        let passage = around.gate.pass_from(Caller::Handler(self.index), request).await.map_err(refused)?;
        let system = System { function: function.name, now: around.clock.now(), guid: Uuid::new_v4() };
        let answer = self.invoker.call(function.name, id, envelope(system)?).await;
        if !passage.is_answered().await {
            return Err("the handler's answer was lost: a fault that was asked for".to_owned());
        }
        let answer = answer?;
        write_blobs(&function.blob_outputs, &answer.outputs, &around.blobs, around.clock.now())
            .map_err(|error| error.to_string())?;
        Ok(answer.logs)
    }

    /// Runs hosts, one after the other, until `shutdown`: then no new invocation begins, those in flight may end, and
    /// the handler is killed.
    pub(super) async fn run(self: Arc<Self>, around: Surroundings, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.pause.enter() => {}
            }
            self.ownership.came(self.index);
            self.run_host(&around, &shutdown).await;
            if !shutdown.is_cancelled() {
                self.ownership.went(self.index);
            }
            self.pause.leave();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.pause.wanted() => {}
                () = tokio::time::sleep(self.platform_restart) => {}
            }
        }
    }

    /// One host's life: it ends with `shutdown`, when there is to be none, or when its handler failed too often.
    async fn run_host(self: &Arc<Self>, around: &Surroundings, shutdown: &CancellationToken) {
        let kill = CancellationToken::new();
        // Before anything is read: what the host before left behind is no answer to a new one's calls.
        self.invoker.handler.begin();
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
            () = self.end_for_pause(&kill) => {}
        }
    }

    /// Never ends by itself: it has the handler killed, which ends the host.
    async fn end_for_pause(&self, kill: &CancellationToken) {
        self.pause.wanted().await;
        kill.cancel();
        std::future::pending::<()>().await;
    }

    fn start_pumps(self: &Arc<Self>, around: &Surroundings, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut pumps = JoinSet::new();
        for pump in self.ownership.pumps().iter().cloned() {
            let (instance, around, shutdown) = (Arc::clone(self), around.clone(), shutdown.clone());
            pumps.spawn(async move {
                let reader = Reader { instance: &instance, around: &around, stop: &shutdown };
                if let Err(error) = pump.run(reader).await {
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

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::Status { status, .. } => format!("the host failed ({status}): a fault that was asked for"),
        Refusal::Reset => "the connection to the handler was reset: a fault that was asked for".to_owned(),
    }
}
