//! What whoever else asks the source with the session's token has to know, and has to say.
//!
//! *Invariant:* pure. A view changes nothing.

use super::{BREAKER_OPENS_AT, Phase, Serial, Session};
use crate::source::Grant;

/// How the token stands, for whoever else uses it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The token; `None` while there is none, and at the end.
    pub grant: Option<(Serial, Grant)>,
    /// The source answers, as far as the session knows.
    pub is_reachable: bool,
}

impl View {
    /// Whether nothing differs that its reader would act on.
    pub fn is_like(&self, other: &Self) -> bool {
        let serial = |view: &Self| view.grant.as_ref().map(|(serial, _)| *serial);
        serial(self) == serial(other) && self.is_reachable == other.is_reachable
    }
}

impl Session {
    /// How the token stands now.
    pub fn view(&self) -> View {
        let is_reachable = self.unreachable_in_a_row < BREAKER_OPENS_AT;
        let grant = self.grant.as_ref().filter(|_| self.phase == Phase::Keeping);
        View { grant: grant.map(|held| (held.serial, held.grant.clone())), is_reachable }
    }

    /// The grant of this number was refused something. A newer one was not.
    pub(super) fn doubt(&mut self, serial: Serial) {
        if let Some(held) = self.grant.as_mut().filter(|held| held.serial == serial) {
            held.doubted();
        }
    }
}
