//! Ctrl-C, and the signals by which other programs say the same.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Who asks the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C at the terminal: every program that runs there hears it.
    Terminal,
    /// A signal that was meant for this process alone.
    Process,
}

/// Hears from its beginning on whoever asks the program to end.
#[derive(Debug)]
pub(super) struct Interrupts {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    hang_up: Signal,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system hands out no signals.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody asks the program to end.
    ///
    /// # Errors
    /// When the system hands out no signals.
    pub(super) async fn next(&mut self) -> std::io::Result<Interrupt> {
        #[cfg(unix)]
        {
            Ok(tokio::select! {
                _ = self.interrupt.recv() => Interrupt::Terminal,
                _ = self.terminate.recv() => Interrupt::Process,
                _ = self.hang_up.recv() => Interrupt::Process,
            })
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map(|()| Interrupt::Terminal)
    }
}
