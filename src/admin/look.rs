//! How everything stands, looked at once for all who ask at about the same time.
//!
//! Who attacks: whoever reaches the listener, and asks again and again. The agent's thread says how everything stands, and with ten thousand
//! secrets that takes a while, in which it renews nothing.
//!
//! *Invariant:* however many ask, looking takes at most a tenth of the time, or happens once a second.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::serve::ANSWER_WITHIN;
use crate::status::Status;

/// A look is good for everybody for so long at least, and at most.
const GOOD_FOR: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How everything stood.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) status: Status,
    json: OnceLock<Bytes>,
}

impl Look {
    pub(super) fn new(status: Status) -> Self {
        Self { status, json: OnceLock::new() }
    }

    /// As `GET /v1/status` has it, with a newline; made once.
    pub(super) fn json(&self) -> Bytes {
        let made = || serde_json::to_string(&self.status).map(|text| Bytes::from(text + "\n"));
        // Names, numbers and times can always be written.
        self.json.get_or_init(|| made().unwrap_or_default()).clone()
    }
}

/// The latest look, and until when it is good.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Option<(Arc<Look>, Instant)>>);

impl Looks {
    /// The latest look if it is still good, else a new one. `None` if the agent does not answer.
    pub(super) async fn get(&self, ask: impl Future<Output = Option<Status>>) -> Option<Arc<Look>> {
        let mut latest = timeout(ANSWER_WITHIN, self.0.lock()).await.ok()?;
        if let Some((look, _)) = latest.as_ref().filter(|(_, good_until)| Instant::now() < *good_until) {
            return Some(Arc::clone(look));
        }
        let began = Instant::now();
        let look = Arc::new(Look::new(ask.await?));
        let (least, most) = GOOD_FOR;
        let good_for = (began.elapsed() * 10).clamp(least, most);
        *latest = Some((Arc::clone(&look), Instant::now() + good_for));
        Some(look)
    }
}
