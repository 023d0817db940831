//! Who hears of facts besides the log: events, metrics, audit.
//!
//! Facts happen on several threads and in many modules. So the way to their hearer is the process's own, as that of the log lines is; it is
//! set once, by `run`. Without it, facts are only logged.

use std::sync::OnceLock;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::Fact;

static HEARER: OnceLock<mpsc::UnboundedSender<Told>> = OnceLock::new();

/// A fact, and when it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What happened.
    pub fact: Fact,
    /// When, by the wall clock.
    pub at: SystemTime,
}

/// From now on every fact arrives here, in the order in which they were told. `None` if somebody hears already. The channel has no bound,
/// since whoever tells a fact must never wait: the hearer has to take them as they come.
pub fn hear() -> Option<mpsc::UnboundedReceiver<Told>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    HEARER.set(sender).is_ok().then_some(receiver)
}

pub(super) fn pass_on(fact: Fact) {
    if let Some(hearer) = HEARER.get() {
        // Whoever has stopped to listen needs no more facts.
        drop(hearer.send(Told { fact, at: SystemTime::now() }));
    }
}
