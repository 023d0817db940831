//! How the agent stands, in the words of [`crate::status`].
//!
//! *Invariant:* pure; reading it changes nothing.

use super::credentials::Credentials;
use super::reloading::differences;
use super::{Agent, Mode, Standing};
use crate::status::{AgentStatus, Clock, ConfigurationStatus, Generations};

impl Agent {
    fn configuration(&self) -> ConfigurationStatus {
        let problems = match self.standing() {
            Standing::Current => return ConfigurationStatus::default(),
            Standing::Refused(problems) => problems.clone(),
            Standing::Awaiting(missing, errors) => differences::awaited(missing, errors),
        };
        ConfigurationStatus { is_former: true, problems }
    }

    /// How releases and process stand.
    pub fn status(&self, clock: &Clock) -> AgentStatus {
        let live = self.rollout.live();
        let has_process = self.setup.plan.process.is_some() && self.mode == Mode::Run;
        AgentStatus {
            since: clock.at(self.startup.began),
            generation: Generations {
                wanted: self.gatherer.newest(),
                live: live.map(|release| release.generation),
                is_pending: self.gatherer.deadline().is_some() || self.rollout.is_under_way(),
            },
            on_hold_since: self.on_hold_since.map(|at| clock.at(at)),
            configuration: self.configuration(),
            process: has_process.then(|| self.runs.status(clock)),
            credentials: self.counter.as_ref().map(Credentials::stand).unwrap_or_default(),
            rollouts: self.history.status(clock),
            missing: self.gatherer.missing().clone(),
            held: self.gatherer.held().clone(),
            live: live.map(|release| release.revisions.clone()).unwrap_or_default(),
            trouble: if live.is_none() { self.trouble() } else { Vec::new() },
            unrendered: self.render_errors.clone(),
        }
    }
}
