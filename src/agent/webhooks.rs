//! Webhooks: the key stays here, and a delivery is brought to it.
//!
//! *Invariant:* pure. Who sends a webhook can have secrets fetched, and nothing else.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::{Agent, Effect, Instruction};
use crate::fact::{Fact, WebhookFact};
use crate::webhook::{Delivery, Guard, Refusal};

impl Agent {
    /// Whether a webhook may come from there; asked before any of it is read. `None` came by the socket.
    ///
    /// # Errors
    /// [`Refusal`], which is the answer.
    pub fn knock(&self, from: Option<IpAddr>) -> Result<(), Refusal> {
        let webhook = self.setup.plan.webhook.as_ref().ok_or(Refusal::Nothing)?;
        Guard::knock(&webhook.allow, from)
    }

    /// Follows a webhook if it is good, which is told. That it is refused is told as well, but for a flood.
    pub fn deliver(
        &mut self,
        delivery: &Delivery,
        from: Option<IpAddr>,
        now: Instant,
        wall: SystemTime,
    ) -> (Vec<Effect>, Result<(), Refusal>) {
        let Some(webhook) = &self.setup.plan.webhook else { return (Vec::new(), Err(Refusal::Nothing)) };
        let secrets = webhook.secrets.clone();
        let judged = self.guard.judge(delivery, from, now, wall).and_then(|()| {
            let refresh = Instruction::Refresh(secrets.clone());
            self.instruct(refresh, now).map_err(|refused| Refusal::NotDone(refused.to_string()))
        });
        match judged {
            Ok(mut effects) => {
                effects.insert(0, Effect::Report(Fact::Webhook(WebhookFact::Accepted { from, secrets })));
                (effects, Ok(()))
            }
            Err(why) => {
                let is_told = self.guard.complains(from, now);
                let fact =
                    || Effect::Report(Fact::Webhook(WebhookFact::Refused { from, why: why.to_string() }));
                (is_told.then(fact).into_iter().collect(), Err(why))
            }
        }
    }
}
