//! What the service manager is told: ready, stopping, how it goes (`Type=notify`, systemd.service(5)).
//!
//! *Invariant:* this file is pure; `systemd/` sends.

pub mod notify;

use crate::fact::{AuditFact, Fact, ProcessFact, ReloadFact, RolloutFact, SourceFact};
use crate::names::Generation;
use crate::plain::plain;

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The first release is live; with a process, that is well with it.
    Ready,
    /// The configuration is read anew. [`Word::Ready`] ends it.
    Reloading,
    /// Squire ends.
    Stopping,
    /// The agent answers.
    Alive,
    /// How it goes, in one line.
    Status(String),
}

/// Turns facts into what the service manager is to know.
#[derive(Debug, Default)]
pub struct Herald {
    is_ready: bool,
    is_reloading: bool,
}

impl Herald {
    /// What is to be told because of this fact.
    pub fn hear(&mut self, fact: &Fact) -> Vec<Word> {
        match fact {
            Fact::Rollout(_, fact) => self.hear_rollout(fact),
            Fact::Source(source, SourceFact::Unreachable { error }) => {
                status(&format!("source {source} cannot be reached, what is served stays: {error}"))
            }
            Fact::Source(source, SourceFact::Reachable) => status(&format!("source {source} answers again")),
            Fact::Reload(fact) => self.hear_reload(fact),
            Fact::Process(ProcessFact::Stopping { cause }) => {
                vec![Word::Stopping, Word::Status(format!("stopping: {cause}"))]
            }
            Fact::Audit(AuditFact::NotAsLeft { .. }) => status("the audit is not as squire left it"),
            Fact::Audit(AuditFact::NotWritten { then, .. }) => {
                status(&format!("the audit cannot be written: {then}"))
            }
            Fact::Audit(AuditFact::WrittenAgain { .. }) => status("the audit can be written again"),
            Fact::Source(..)
            | Fact::Secret(..)
            | Fact::Process(_)
            | Fact::Question(..)
            | Fact::Webhook(_)
            | Fact::Credential(_) => Vec::new(),
        }
    }

    /// Each reload that begins comes to one of these ends, unless a newer one overtakes it, which comes to its own.
    fn hear_reload(&mut self, fact: &ReloadFact) -> Vec<Word> {
        let said = match fact {
            ReloadFact::Begun => {
                let begins = self.is_ready && !std::mem::replace(&mut self.is_reloading, true);
                return begins.then_some(Word::Reloading).into_iter().collect();
            }
            ReloadFact::UpToDate => status("configuration read anew, nothing differs"),
            ReloadFact::Reloaded { .. } => status("configuration reloaded"),
            // It may wait for ever, and meanwhile the one before holds.
            ReloadFact::Awaited { errors, .. } => {
                status(&format!("new configuration waits, the one before holds: {}", errors.join("; ")))
            }
            ReloadFact::NotReloaded { problems } => {
                status(&format!("configuration not reloaded, the one before holds: {}", problems.join("; ")))
            }
        };
        let ends = std::mem::take(&mut self.is_reloading).then_some(Word::Ready);
        ends.into_iter().chain(said).collect()
    }

    fn hear_rollout(&mut self, fact: &RolloutFact) -> Vec<Word> {
        match fact {
            // With a release that stays although the process is not well with it, whoever waits for this unit waits no longer either.
            RolloutFact::Committed { generation } | RolloutFact::NoWayBack { generation, .. } => {
                self.live(*generation)
            }
            RolloutFact::NotPassed { generation, why, .. } | RolloutFact::Unhealthy { generation, why } => {
                status(&format!("generation {generation} failed: {why}"))
            }
            RolloutFact::NotPublished { generation, error, .. } => {
                status(&format!("generation {generation} cannot be written: {error}"))
            }
            RolloutFact::TakenBack { from, to, .. } => {
                status(&format!("generation {to} is live again, {from} was taken back"))
            }
            RolloutFact::Waiting { errors, .. } | RolloutFact::Hopeless { errors } => {
                status(&format!("waiting for the first release: {}", errors.join("; ")))
            }
            RolloutFact::OnHold => status("rollouts are on hold"),
            RolloutFact::HoldEnded => status("rollouts are released"),
            RolloutFact::NotRendered { .. }
            | RolloutFact::Published { .. }
            | RolloutFact::Held { .. }
            | RolloutFact::AwaitsWindow { .. }
            | RolloutFact::BeforeWindow { .. }
            | RolloutFact::AwaitsRelease { .. }
            | RolloutFact::RollingBack { .. }
            | RolloutFact::Over { .. }
            | RolloutFact::NotDiscarded { .. }
            | RolloutFact::NotRetired { .. }
            | RolloutFact::TimedOut { .. }
            | RolloutFact::Exposed(_)
            | RolloutFact::FormerCleared { .. }
            | RolloutFact::NotEnrolled { .. }
            | RolloutFact::Swept
            | RolloutFact::NotSwept { .. } => Vec::new(),
        }
    }

    fn live(&mut self, generation: Generation) -> Vec<Word> {
        let ready = (!std::mem::replace(&mut self.is_ready, true)).then_some(Word::Ready);
        ready.into_iter().chain(status(&format!("generation {generation} is live"))).collect()
    }
}

/// One line: what others wrote in it forges no other word.
fn status(text: &str) -> Vec<Word> {
    vec![Word::Status(plain(text).into_owned())]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::names::SourceName;

    #[test]
    fn a_unit_that_is_not_ready_reloads_unheard_and_each_end_of_a_reload_is_ready_again() {
        let mut herald = Herald::default();
        assert_eq!(herald.hear(&ReloadFact::Begun.into()), []);
        let refused = ReloadFact::NotReloaded { problems: vec!["no\nSTOPPING=1".to_owned()] };
        let said = "configuration not reloaded, the one before holds: no\\nSTOPPING=1".to_owned();
        assert_eq!(herald.hear(&refused.clone().into()), [Word::Status(said)], "it was never ready");
        drop(herald.hear(&RolloutFact::Committed { generation: Generation::FIRST }.into()));
        let waits = ReloadFact::Awaited { missing: Vec::new(), errors: Vec::new() };
        let done = ReloadFact::Reloaded { added: Vec::new(), removed: Vec::new(), changed: Vec::new() };
        for end in [refused, waits, done, ReloadFact::UpToDate] {
            assert_eq!(herald.hear(&ReloadFact::Begun.into()), [Word::Reloading]);
            assert_eq!(herald.hear(&end.clone().into())[0], Word::Ready);
            assert!(!herald.hear(&end.into()).contains(&Word::Ready), "once");
        }
    }

    #[test]
    fn ready_comes_once_and_no_text_forges_it() {
        let mut herald = Herald::default();
        let (first, again_in) = (Generation::FIRST, Duration::from_secs(1));
        let why = "bad\nREADY=1".to_owned();
        let failed = RolloutFact::NotPassed { generation: first, why, again_in }.into();
        assert_eq!(herald.hear(&failed), [Word::Status("generation 1 failed: bad\\nREADY=1".to_owned())]);
        let live = RolloutFact::Committed { generation: first }.into();
        let said = Word::Status("generation 1 is live".to_owned());
        assert_eq!(herald.hear(&live), [Word::Ready, said.clone()]);
        assert_eq!(herald.hear(&live), [said]);
        assert_eq!(herald.hear(&ReloadFact::Begun.into()), [Word::Reloading]);
        assert_eq!(herald.hear(&ReloadFact::Begun.into()), [], "the one before is overtaken");
        assert_eq!(herald.hear(&ReloadFact::UpToDate.into())[0], Word::Ready);
        let token = Fact::Source(SourceName::new("vault"), SourceFact::TokenDead);
        assert_eq!(herald.hear(&token), []);
    }
}
