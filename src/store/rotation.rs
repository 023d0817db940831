//! Rotations: a new version is made, set, tested, and only then becomes current.
//!
//! The four steps are those of AWS Secrets Manager. The pending version is kept from the first step on: an interrupted rotation continues
//! with the same value, so a system that already has it gets no other one.
//!
//! *Invariant:* no transaction is open while the commands of a step run. The secret is claimed meanwhile, so that no other rotation begins.
//! Whatever fails, the current version stays current.

use std::time::Duration;

use serde_json::Value;

use super::access::Store;
use super::audit::{Action, Outcome};
use super::error::{StoreError, unfit};
use super::generator::Generator;
use super::head::Head;
use super::hook::{self, Told};
use super::hooks::Hooks;
use super::journal::record;
use super::keys::{Environment, Id};
use super::late::Rotations;
use super::moment::Moment;
use super::path::{SecretPath, word};
use super::policy::{Approval, LONGEST_INTERVAL, LONGEST_TIMEOUT, Policy, Step};
use super::power::about;
use super::proof::{has_approval, has_policy};
use super::role::Right;
use super::rows::{administer, forget, parsed, read_value, sound_heads, write_head, write_value};
use super::standing::{How, Standing};
use super::values::undisturbed;
use crate::secret::{Fields, Secret};

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// There is a new current version.
    Done {
        /// Its number.
        version: u64,
    },
    /// It was not rotated now.
    Not(Standing),
    /// A step failed, and the current version stayed.
    Failed {
        /// The step.
        step: Step,
        /// Why, without values.
        why: String,
        /// When it is tried again automatically.
        again: Moment,
    },
}

/// The secrets to rotate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Those that are due now.
    pub now: Vec<SecretPath>,
    /// When to look again, if nobody changes the store before.
    pub next: Option<Moment>,
    /// Secrets whose policy or approval was written without the right to it: they are not rotated.
    pub forged: Vec<SecretPath>,
    /// How the rotations of all secrets stand that this identity may see, whoever makes them.
    pub rotations: Rotations,
}

/// The claim of a rotation.
struct Turn {
    /// The right with which it begins and ends.
    right: Right,
    policy: Policy,
    current: Secret<Fields>,
    /// The pending version of an earlier, interrupted rotation.
    pending: Option<(u64, Secret<Fields>)>,
}

impl Store {
    /// Sets or removes the policy of a secret; during a rotation only with `force`.
    ///
    /// # Errors
    /// If the policy could not be followed.
    pub fn set_policy(
        &mut self,
        path: &SecretPath,
        policy: Option<&Policy>,
        force: bool,
    ) -> Result<(), StoreError> {
        self.act(Action::Policy, Right::Admin, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            if policy.is_none() {
                undisturbed(&head, force, now)?;
            }
            if let Some(policy) = policy {
                let current = read_value(writing, id, environment, (&row, &head, head.current))?;
                fits(path, policy, current.expose())?;
            }
            head.policy = policy.cloned();
            (head.rotation.failures, head.rotation.rests_until) = (0, None);
            // An approval was given under the former policy.
            head.rotation.approval = None;
            administer(id, environment, &mut head)?;
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok(((), None, Some(change)))
        })
    }

    /// Approves the next rotation of a secret.
    pub fn approve(&mut self, path: &SecretPath) -> Result<(), StoreError> {
        self.act(Action::Approve, Right::Admin, path, |writing, id, keys, _| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            if !head.policy.as_ref().is_some_and(|policy| policy.needs_approval) {
                return Err(unfit(
                    path.to_string(),
                    "needs no approval: its policy does not ask for one".to_owned(),
                ));
            }
            authentic(id, environment, &head)?;
            head.rotation.approval = Some(Approval { by: keys.who.clone(), version: head.next() });
            administer(id, environment, &mut head)?;
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok(((), None, Some(change)))
        })
    }

    /// The secrets that are due and that this identity may rotate. It reveals no value and is not recorded: an agent asks often.
    pub fn due(&mut self) -> Result<Due, StoreError> {
        let id = self.id;
        self.look(|reading, keys, now| {
            let mut due = Due::default();
            for environment in &keys.environments {
                for head in sound_heads(reading, &id, environment)? {
                    let (Some(policy), Ok(path)) = (&head.policy, parsed(&head.path)) else { continue };
                    let may_rotate = keys.allows(Right::Rotate, &path);
                    if !head.is_live() || !(may_rotate || keys.allows(Right::Read, &path)) {
                        continue;
                    }
                    due.rotations.count(policy, &head);
                    if !may_rotate {
                        continue;
                    }
                    match policy.standing(&head, How::Due, now) {
                        Standing::Due if authentic(&id, environment, &head).is_err() => due.forged.push(path),
                        Standing::Due => due.now.push(path),
                        Standing::Later { at: None } | Standing::Unapproved => {}
                        Standing::Later { at: Some(at) }
                        | Standing::Closed { until: at }
                        | Standing::Resting { until: at }
                        | Standing::Claimed { until: at } => {
                            due.next = Some(due.next.map_or(at, |next| next.min(at)));
                        }
                    }
                }
            }
            Ok(due)
        })
    }

    /// Rotates a secret.
    ///
    /// # Errors
    /// If it could not begin, or its result could not be written.
    pub fn rotate(&mut self, path: &SecretPath, how: How, hooks: &Hooks) -> Result<Rotated, StoreError> {
        let turn = match self.begin(path, how)? {
            Ok(turn) => turn,
            Err(standing) => return Ok(Rotated::Not(standing)),
        };
        match self.take(path, &turn, hooks) {
            Ok(version) => Ok(Rotated::Done { version }),
            Err(Stopped::Store(error)) => Err(error),
            Err(Stopped::At(step, why)) => {
                let again = self.failed(path, &turn.policy, step, &why)?;
                Ok(Rotated::Failed { step, why, again })
            }
        }
    }

    fn begin(&mut self, path: &SecretPath, how: How) -> Result<Result<Turn, Standing>, StoreError> {
        let right = if how == How::Emergency { Right::Admin } else { Right::Rotate };
        self.act(Action::RotateBegin, right, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            let Some(policy) = head.policy.clone() else {
                return Err(unfit(
                    path.to_string(),
                    "has no policy to be rotated by: give it one with `squire store policy`".to_owned(),
                ));
            };
            authentic(id, environment, &head)?;
            let version = head.readable(None, now);
            version.map_err(|why| StoreError::Unreadable { path: path.to_string(), why })?;
            let standing = policy.standing(&head, how, now);
            if standing != Standing::Due {
                return Ok((Err(standing), None, None));
            }
            let current = read_value(writing, id, environment, (&row, &head, head.current))?;
            // The policy may have been written by any program, so it is checked again.
            fits(path, &policy, current.expose())?;
            let pending = match head.rotation.pending {
                Some(number) => Some((number, read_value(writing, id, environment, (&row, &head, number))?)),
                None => None,
            };
            head.rotation.claimed_until = Some(now.plus(policy.claim()));
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok((Ok(Turn { right, policy, current, pending }), None, Some(change)))
        })
    }

    fn take(&mut self, path: &SecretPath, turn: &Turn, hooks: &Hooks) -> Result<u64, Stopped> {
        let Turn { right, policy, current, pending } = turn;
        let stopped = |step| move |why| Stopped::At(step, why);
        let hook = hooks.of(path, policy).map_err(stopped(Step::Create))?;
        let run = |step, version, fields: &Secret<Fields>| {
            let told = Told { step, path: path.as_str(), version, fields, current };
            hook.map_or(Ok(Secret::new(Vec::new())), |hook| {
                hook::run(hook, &told, (policy.timeout, hooks.limits()))
            })
            .map_err(stopped(step))
        };
        let (version, fields) = if let Some((version, fields)) = pending {
            (*version, fields.clone())
        } else {
            let made = policy.generator.generate(&mut rand::rng(), field(policy, current.expose()));
            let written = run(Step::Create, None, &Secret::new(made.clone()))?;
            let fields = new_fields(policy, current.expose(), made, written.expose())
                .map_err(|why| Stopped::At(Step::Create, why))?;
            let text = super::values::text(path, &fields)
                .map_err(|error| Stopped::At(Step::Create, error.to_string()))?;
            (self.pend(path, *right, &text)?, fields)
        };
        for step in [Step::Set, Step::Test, Step::Finish] {
            run(step, Some(version), &fields)?;
        }
        self.promote(path, *right, version, policy.grace)?;
        Ok(version)
    }

    /// Stores the pending version.
    fn pend(&mut self, path: &SecretPath, right: Right, text: &Secret<Vec<u8>>) -> Result<u64, StoreError> {
        self.act(Action::RotatePending, right, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            let number = head.pend(&keys.who, now);
            write_value(writing, id, environment, (&row, &mut head, number), text.expose())?;
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok((number, Some(number), Some(change)))
        })
    }

    fn promote(
        &mut self,
        path: &SecretPath,
        right: Right,
        version: u64,
        grace: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.act(Action::Rotate, right, path, |writing, id, keys, now| {
            let (environment, row, mut head) = keys.find(writing, id, path)?;
            if head.rotation.pending != Some(version) {
                return Err(unfit(
                    path.to_string(),
                    format!("was changed while version {version} was made, which is kept and not current"),
                ));
            }
            let forgotten = head.promote(grace, now);
            forget(writing, environment, &row, &forgotten)?;
            let change = write_head(writing, id, environment, &row, &mut head)?;
            Ok(((), Some(version), Some(change)))
        })
    }

    /// Stores the failure, and when to try again.
    fn failed(
        &mut self,
        path: &SecretPath,
        policy: &Policy,
        step: Step,
        why: &str,
    ) -> Result<Moment, StoreError> {
        let id = self.id;
        self.transact(|writing, keys, now| {
            let (environment, row, mut head) = keys.find(writing, &id, path)?;
            let rotation = &mut head.rotation;
            rotation.failures = rotation.failures.saturating_add(1);
            let again = now.plus(policy.rest(rotation.failures));
            (rotation.claimed_until, rotation.rests_until) = (None, Some(again));
            rotation.trouble = Some(format!("{}: {why}", step.word()));
            let change = write_head(writing, &id, environment, &row, &mut head)?;
            record(writing, &id, keys, Action::Rotate, Outcome::Failed, about(path, None, Some(change)))?;
            Ok(Ok(again))
        })
    }
}

/// Why a rotation did not finish.
enum Stopped {
    Store(StoreError),
    At(Step, String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The field for a single text.
fn field<'a>(policy: &'a Policy, current: &'a Fields) -> &'a str {
    const USUAL: &str = "password";
    match (&policy.field, current.len()) {
        (Some(field), _) => field,
        (None, 1) => current.keys().next().map_or(USUAL, String::as_str),
        (None, _) => USUAL,
    }
}

/// Checks that roles with the right to it signed the policy and the approval of a head.
fn authentic(id: &Id, environment: &Environment, head: &Head) -> Result<(), StoreError> {
    let forged = |what: &str| Err(StoreError::Forged { what: format!("the {what} of {}", head.path) });
    if head.policy.is_some() && !has_policy(id, environment, head) {
        return forged("policy");
    }
    if head.rotation.approval.is_some() && !has_approval(id, environment, head) {
        return forged("approval");
    }
    Ok(())
}

/// Whether a policy can be followed.
fn fits(path: &SecretPath, policy: &Policy, current: &Fields) -> Result<(), StoreError> {
    let unfit = |why: &str| Err(unfit(path.to_string(), why.to_owned()));
    let name = field(policy, current);
    if policy.generator.is_text() && !current.contains_key(name) {
        return unfit(&format!("has no field {name} to put a new value into: name one with --field"));
    }
    if let Some(why) = policy.hook.as_deref().and_then(|hook| word(hook).err()) {
        return unfit(&format!("names a hook that {why}"));
    }
    if policy.generator == Generator::Command && policy.hook.is_none() {
        return unfit("is to be made by a command, and there is none: name a hook with --hook");
    }
    if policy.generator.to_string().parse().as_ref() != Ok(&policy.generator) {
        return unfit("has a generator that no command of Squire accepts: give it another policy");
    }
    if policy.timeout.is_zero() || policy.every.is_some_and(|every| every.is_zero()) {
        return unfit("cannot be rotated all the time: write times above 0");
    }
    if policy.timeout > LONGEST_TIMEOUT {
        return unfit("would let a command take more than an hour: write a shorter --timeout");
    }
    if [policy.every, policy.grace].into_iter().flatten().any(|time| time > LONGEST_INTERVAL) {
        return unfit("would be rotated, or kept, over more than a hundred years: write a shorter time");
    }
    super::standing::windows(&policy.windows)
        .map(drop)
        .or_else(|why| unfit(&format!("has a window that {why}")))
}

/// The new fields over the fields that stay; if a command makes the value, its output has the new fields.
fn new_fields(
    policy: &Policy,
    current: &Fields,
    made: Fields,
    written: &[u8],
) -> Result<Secret<Fields>, String> {
    let made = if policy.generator == Generator::Command {
        let text = std::str::from_utf8(written).map_err(|_| "its command wrote something that is no text")?;
        let text = text.trim_end_matches(['\n', '\r']);
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) => fields,
            _ if text.is_empty() => return Err("its command wrote nothing to stdout".to_owned()),
            _ => Fields::from_iter([(field(policy, current).to_owned(), text.into())]),
        }
    } else {
        made
    };
    if made.is_empty() {
        return Err("nothing new was made".to_owned());
    }
    let mut fields = current.clone();
    fields.extend(made);
    Ok(Secret::new(fields))
}
