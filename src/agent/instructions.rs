//! What an operator tells the agent to do.
//!
//! *Invariant:* pure. An instruction that cannot be followed is refused with its reason, and changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::{Agent, Effect, Outcome};
use crate::fact::RolloutFact;
use crate::names::SecretName;
use crate::ordered::Order as _;
use crate::rollout;
use crate::snapshot;
use crate::status::Status;
use crate::webhook::{Delivery, Refusal};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Fetch these secrets now, all if there are none; of what is held the newest value is tried again.
    Refresh(Vec<SecretName>),
    /// Begin no rollout until they are released.
    Hold,
    /// Begin rollouts again.
    Release,
    /// Go back to the values that the process had before.
    RollBack,
    /// End as by SIGTERM.
    Quit,
}

/// What the agent is asked from outside, with the way back for its answer.
#[derive(Debug)]
pub enum Ask {
    /// Whether it answers.
    Alive(oneshot::Sender<()>),
    /// How everything stands.
    Status(oneshot::Sender<Status>),
    /// Read the configuration anew; answered when that is decided.
    Reload(oneshot::Sender<Outcome>),
    /// Follow this.
    Instruct(Instruction, oneshot::Sender<Result<(), Refused>>),
    /// Whether this sender may send a webhook now; none is the socket.
    Knock(Option<IpAddr>, oneshot::Sender<Result<(), Refusal>>),
    /// Follow this webhook of this sender.
    Webhook(Option<IpAddr>, Delivery, oneshot::Sender<Result<(), Refusal>>),
}

/// Why an instruction is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such secret.
    #[error("there is no [secret.{0}] that anything uses")]
    Unknown(SecretName),
    /// Two rollouts cannot go on at once.
    #[error("a rollout is under way: ask again when it is over")]
    UnderWay,
    /// There was no other value before.
    #[error("there is nothing to go back to: no secret had another value before the present one")]
    NothingBefore,
    /// The value before is dead.
    #[error("there is no way back: the value that {0} had before is dead")]
    Dead(SecretName),
}

impl Agent {
    /// Follows an instruction, or says why not.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn instruct(&mut self, instruction: Instruction, now: Instant) -> Result<Vec<Effect>, Refused> {
        let mut effects = Vec::new();
        match instruction {
            Instruction::Refresh(secrets) => {
                self.know(&secrets)?;
                effects.push(Effect::Refresh(secrets.clone()));
                self.reloading.hear_retry(&secrets, now);
                self.gather(snapshot::Event::RetryAsked(secrets), now, &mut effects);
            }
            Instruction::Hold => self.hold(true, now, &mut effects),
            Instruction::Release => self.hold(false, now, &mut effects),
            Instruction::RollBack => self.roll_back(now, &mut effects)?,
            Instruction::Quit => self.signalled(Signal::SIGTERM, now, &mut effects),
        }
        Ok(self.after(effects, now))
    }

    /// What a reload waits for is asked for, too: its policy may just have been put right.
    fn know(&self, secrets: &[SecretName]) -> Result<(), Refused> {
        let setups = std::iter::once(&*self.setup).chain(self.reloading.candidate());
        let wants = setups.flat_map(|setup| setup.plan.wants.values().flatten());
        let mut wanted = wants.map(|want| &want.name).collect::<BTreeSet<_>>();
        match secrets.iter().find(|secret| wanted.insert(secret)) {
            Some(unknown) => Err(Refused::Unknown(unknown.clone())),
            None => Ok(()),
        }
    }

    fn hold(&mut self, on_hold: bool, now: Instant, effects: &mut Vec<Effect>) {
        self.on_hold_since = on_hold.then(|| self.on_hold_since.unwrap_or(now));
        self.roll(rollout::Event::HoldAsked(on_hold), now, effects);
    }

    /// The values before are rolled out like any others, in a generation of their own.
    fn roll_back(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        if self.rollout.is_under_way() {
            return Err(Refused::UnderWay);
        }
        let former = self.gatherer.former();
        if former.is_empty() {
            return Err(Refused::NothingBefore);
        }
        if let Some(dead) = self.rollout.dead(&former, now) {
            return Err(Refused::Dead(dead.clone()));
        }
        let secrets: Vec<_> = former.keys().cloned().collect();
        effects.push(Effect::Report(RolloutFact::RollingBack { secrets }.into()));
        self.roll(rollout::Event::RollbackAsked(former.into_keys().ordered()), now, effects);
        self.gather(snapshot::Event::RollbackAsked, now, effects);
        Ok(())
    }
}
