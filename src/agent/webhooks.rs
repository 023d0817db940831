//! Webhooks: the key stays here, and a delivery is brought to it.
//!
//! *Invariant:* pure. Who sends a webhook can have secrets fetched, and nothing else.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::{Agent, Effect, Instruction};
use crate::fact::{Fact, WebhookFact};
use crate::webhook::{Delivery, Refusal};

impl Agent {
    /// Whether this sender may send a webhook now; asked before any of it is read. `None` came by the socket.
    ///
    /// # Errors
    /// [`Refusal`], which is the answer.
    pub fn knock(&mut self, from: Option<IpAddr>, now: Instant) -> Result<(), Refusal> {
        let webhook = self.setup.plan.webhook.as_ref().ok_or(Refusal::Nothing)?;
        self.guard.knock(&webhook.allow, from, now)
    }

    /// Follows a webhook if it is good. It is logged either way.
    pub fn deliver(
        &mut self,
        delivery: &Delivery,
        from: Option<IpAddr>,
        now: Instant,
        wall: SystemTime,
    ) -> (Vec<Effect>, Result<(), Refusal>) {
        let Some(webhook) = &self.setup.plan.webhook else { return (Vec::new(), Err(Refusal::Nothing)) };
        let (secrets, from) = (webhook.secrets.clone(), from.map(|address| address.to_canonical()));
        let judged = self.guard.judge(delivery, now, wall).and_then(|()| {
            let refresh = Instruction::Refresh(secrets.clone());
            self.instruct(refresh, now).map_err(|refused| Refusal::NotDone(refused.to_string()))
        });
        match judged {
            Ok(mut effects) => {
                effects.insert(0, Effect::Report(Fact::Webhook(WebhookFact::Accepted { from, secrets })));
                (effects, Ok(()))
            }
            Err(why) => {
                let fact = WebhookFact::Refused { from, why: why.to_string() };
                (vec![Effect::Report(Fact::Webhook(fact))], Err(why))
            }
        }
    }
}
