//! Sends words to the service manager, by the socket in `NOTIFY_SOCKET`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};

use super::Word;
use crate::agent::Ask;

/// Whether a service manager listens.
pub fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells it. If it cannot be told, the log says so, and everything goes on.
pub fn tell(words: &[Word]) {
    let states: Vec<_> = words
        .iter()
        .map(|word| match word {
            Word::Ready => NotifyState::Ready,
            Word::Stopping => NotifyState::Stopping,
            Word::Status(text) => NotifyState::Status(text),
        })
        .collect();
    if !states.is_empty()
        && let Err(error) = sd_notify::notify(&states)
    {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// If the unit has a watchdog (`WatchdogSec`), tells it twice in its time that the agent answers. If the agent does not, nobody does.
pub async fn keep_watchdog(asks: mpsc::Sender<Ask>) {
    let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else { return };
    let mut beat = tokio::time::interval((time / 2).max(Duration::from_millis(10)));
    loop {
        beat.tick().await;
        let (sender, answer) = oneshot::channel();
        if asks.send(Ask::Alive(sender)).await.is_err() || answer.await.is_err() {
            return;
        }
        if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}
