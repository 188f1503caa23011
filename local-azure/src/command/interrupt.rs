//! Ctrl-C, and the signals by which other programs say the same.

/// Who asks the program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C at the terminal: every program that runs there hears it.
    Terminal,
    /// A signal that was meant for this process alone.
    Process,
}

/// Waits until somebody asks the program to end.
///
/// # Errors
/// When the system hands out no signals.
pub(super) async fn interrupted() -> std::io::Result<Interrupt> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Interrupt::Terminal),
            _ = terminate.recv() => Ok(Interrupt::Process),
            _ = hang_up.recv() => Ok(Interrupt::Process),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.map(|()| Interrupt::Terminal)
}
