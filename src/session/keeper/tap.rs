//! Where a keeper says how its token stands, for whoever else asks the source with it.
//!
//! *Invariant:* it is told what changed, once, and never waits.

use crate::session::View;

/// Takes what a keeper says; beside it, how often the token was looked up.
pub type Tell = Box<dyn Fn(View, u64) + Send>;

/// Says how many leases those have who use the token through it.
pub type Count = Box<dyn Fn() -> usize + Send>;

/// See the module.
pub struct Tap {
    told: Option<(View, u64)>,
    looks: u64,
    tell: Tell,
    count: Count,
}

impl Tap {
    /// A tap that passes on what it is told, and knows how many leases there are beside the session's.
    pub fn new(tell: Tell, count: Count) -> Self {
        Self { told: None, looks: 0, tell, count }
    }

    /// How many leases there are beside the session's.
    pub(super) fn leases(&self) -> usize {
        (self.count)()
    }

    /// The token was looked up, whatever came of it.
    pub(super) fn looked(&mut self) {
        self.looks += 1;
    }

    /// Somebody else told in between: what is told next is told, whether it is known or not.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }

    pub(super) fn tell(&mut self, view: View) {
        let is_known =
            self.told.as_ref().is_some_and(|(told, looks)| told.is_like(&view) && *looks == self.looks);
        if !is_known {
            self.told = Some((view.clone(), self.looks));
            (self.tell)(view, self.looks);
        }
    }
}
