//! Sends words to the service manager, by the socket in `NOTIFY_SOCKET`.
//!
//! A manager that does not read makes whoever sends wait. So a thread of its own sends, where there is a manager at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};

use super::Word;
use crate::agent::Ask;

/// So many words may wait for a manager that does not read; what is told beyond is dropped.
const WAITING: usize = 1024;

/// The way to the service manager.
#[derive(Clone, Debug)]
pub struct Manager {
    words: SyncSender<Word>,
    waiting: Arc<AtomicUsize>,
}

impl Manager {
    /// The manager that started Squire; `None` if none listens.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn of_this_process() -> io::Result<Option<Self>> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(None);
        }
        let (words, told) = sync_channel(WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        thread::Builder::new().name("notify".to_owned()).spawn(move || send_all(&told, &counted))?;
        Ok(Some(Self { words, waiting }))
    }

    /// Tells it, without waiting.
    pub fn tell(&self, words: Vec<Word>) {
        for word in words {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            if self.words.try_send(word).is_err() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// If the unit has a watchdog (`WatchdogSec`), tells it twice in its time that the agent answers. If the agent does not, nobody does.
    pub async fn keep_watchdog(self, asks: mpsc::Sender<Ask>) {
        let Some(time) = sd_notify::watchdog_enabled().filter(|time| !time.is_zero()) else { return };
        let mut beat = tokio::time::interval((time / 2).max(Duration::from_millis(10)));
        loop {
            beat.tick().await;
            let (sender, answer) = oneshot::channel();
            if asks.send(Ask::Alive(sender)).await.is_err() || answer.await.is_err() {
                return;
            }
            // A beat that waits behind others would say nothing new, and could keep out what is new.
            if self.waiting.load(Ordering::Relaxed) == 0 {
                self.tell(vec![Word::Alive]);
            }
        }
    }
}

fn send_all(told: &Receiver<Word>, waiting: &AtomicUsize) {
    for word in told {
        let states = match &word {
            Word::Ready => vec![NotifyState::Ready],
            // The time is for units of the type notify-reload, which tell by it whether this is the reload that they asked for.
            Word::Reloading => {
                [NotifyState::Reloading].into_iter().chain(NotifyState::monotonic_usec_now().ok()).collect()
            }
            Word::Stopping => vec![NotifyState::Stopping],
            Word::Alive => vec![NotifyState::Watchdog],
            Word::Status(text) => vec![NotifyState::Status(text)],
        };
        if let Err(error) = sd_notify::notify(&states) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
