//! `squire run` and `squire render`: the main thread hosts processes, a second one is the agent.

mod audience;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::load::{Loaded, Origin, STDOUT, complain, load, load_template};
use super::output::say;
use super::{USAGE, admin};
use crate::admin::place::Place;
use crate::agent::keepers::Keepers;
use crate::agent::publisher::{Premises, Publisher};
use crate::agent::{Event, Mode, Patience, Task, chain, gives_back, lifecycle};
use crate::config::{CREDENTIAL_VARIABLES, LedgerConfig, MountKind, SourceConfig};
use crate::fact;
use crate::harden;
use crate::ledger::file::Ledger;
use crate::names::SourceName;
use crate::publish::mount::mount_output;
use crate::secret::DigestKey;
use crate::session::Settings;
#[cfg(feature = "aws")]
use crate::source::aws::Aws;
use crate::source::store::Embedded;
use crate::source::vault::Vault;
use crate::supervise::host::{Endowment, Host, HostError, Order, Orders};
use crate::supervise::{Ending, FAILED, Listeners};
use audience::Audience;

/// How long `render` waits for a whole release where the configuration does not say.
const RENDER_TIMEOUT: Duration = Duration::from_mins(1);

/// Said of a configuration that asks for nothing.
pub(super) const NOTHING_TO_DO: &str = "there is nothing to do: add a [[file]] with path and inline, or a process with process.command or after \
                                        `--`; both may refer to a [secret.NAME]";

/// Runs until the process ends, or a signal ends Squire; answers with the exit code.
pub(super) fn run(origin: &Origin, command: Option<Vec<String>>) -> u8 {
    // References in the environment are for one process, and whoever starts it is told at once what is wrong with them.
    let ends_early = matches!(origin, Origin::Environment(_));
    start(load(origin, command), origin, Mode::Run, ends_early)
}

/// Publishes one release, or renders one template to stdout; answers with the exit code.
pub(super) fn render(origin: &Origin, template: Option<&Path>) -> u8 {
    let loaded = match template {
        Some(template) => load_template(origin, template),
        None => load(origin, None),
    };
    start(loaded, origin, Mode::Once, true)
}

/// `ends_early` gives up a start that waiting does not help.
fn start(loaded: Result<Loaded, Vec<String>>, origin: &Origin, mode: Mode, ends_early: bool) -> u8 {
    let failed = if mode == Mode::Once { 1 } else { FAILED };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return USAGE;
        }
    };
    if loaded.plan.is_idle() {
        complain(&[NOTHING_TO_DO.to_owned()]);
        return USAGE;
    }
    let place = Some(()).filter(|()| mode == Mode::Run).and_then(|()| admin::place(&loaded.config, origin));
    host(loaded, place, mode, ends_early).unwrap_or_else(|error| {
        tracing::error!(error, "squire cannot go on");
        failed
    })
}

/// Hosts processes on this thread while the agent runs on another.
fn host(loaded: Loaded, place: Option<Place>, mode: Mode, ends_early: bool) -> Result<u8, String> {
    let limits = harden::seal();
    // Before any thread, and so that it goes last.
    let _mounted = match &loaded.config.mount {
        Some(mount) if mount.kind == MountKind::Private && mode == Mode::Once => {
            return Err("output.mount = \"private\" is for a process that Squire runs; with `render` nobody could see the files".to_owned());
        }
        Some(mount) => mount_output(mount).map_err(|error| chain(&error))?,
        None => None,
    };
    if loaded.config.agent.mlock
        && let Err(error) = harden::lock()
    {
        tracing::warn!(error = chain(&error), "memory is not locked");
    }
    let (sender, events) = mpsc::unbounded_channel();
    let reports = sender.clone();
    let report = Box::new(move |report| drop(reports.send(Event::Reported(report))));
    let process = loaded.plan.process.as_ref().filter(|_| mode == Mode::Run);
    let listen = process.map(|process| process.listen.as_slice()).unwrap_or_default();
    let listeners = Listeners::bind(listen).map_err(|error| chain(&error))?;
    let stop_timeout = loaded.config.process.stop_timeout;
    let endowment = Endowment { environment: std::env::vars_os().collect(), listeners, limits, stop_timeout };
    harden::forget(&CREDENTIAL_VARIABLES);
    let (host, orders) = Host::new(endowment, report).map_err(|error| chain(&error))?;
    let agent = thread::Builder::new().name("agent".to_owned());
    let agent = agent
        .spawn(move || {
            let _end = EndOfAgent(orders.clone());
            let timeout = loaded.config.startup_timeout.or((mode == Mode::Once).then_some(RENDER_TIMEOUT));
            agent_thread(loaded, place, mode, Patience { timeout, ends_early }, orders, (sender, events))
        })
        .map_err(|error| format!("cannot start the agent's thread: {error}"))?;
    let hosted = host.run();
    if let Err(HostError::Unanswered { signal }) = &hosted {
        // Its thread hangs, so it is not waited for.
        tracing::error!(signal = signal.as_str(), "the agent did not answer, squire ends without it");
        return Ok(Ending::Signal(*signal as i32).code());
    }
    let code = agent.join().map_err(|_| "the agent panicked".to_owned())?;
    hosted.map_err(|error| chain(&error))?;
    code
}

/// However the agent ends, the main thread hears of it.
struct EndOfAgent(Orders);

impl Drop for EndOfAgent {
    fn drop(&mut self) {
        self.0.send(Order::End);
    }
}

fn agent_thread(
    loaded: Loaded,
    place: Option<Place>,
    mode: Mode,
    patience: Patience,
    orders: Orders,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let code = runtime.block_on(agent(loaded, place, mode, patience, orders, events));
    // A name that is still being looked up must not hold back the end.
    runtime.shutdown_background();
    code
}

async fn agent(
    loaded: Loaded,
    place: Option<Place>,
    mode: Mode,
    patience: Patience,
    orders: Orders,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
) -> Result<u8, String> {
    let Loaded { config, plan, engine } = loaded;
    // From here on, although the audit is opened later: it is confined with the agent. Where nobody listens, this end is dropped.
    let heard = fact::hear();
    for warning in plan.unused() {
        tracing::warn!(warning, "a secret is not used");
    }
    let key = DigestKey::new(random()?);
    let (mut places, devices) = (harden::places(&config, &plan), harden::devices(&config));
    places.extend(place.as_ref().and_then(Place::directory).map(Path::to_owned));
    let confine = config.agent.confine;
    let allow_disk = config.output.allow_disk;
    let ledger = config.agent.ledger.as_ref().and_then(|ledger| open_ledger(ledger, allow_disk));
    let beside = config.agent.ledger.as_ref().filter(|_| ledger.is_some());
    let sweeps = gives_back(config.agent.on_stop, mode, &plan);
    let premises = Premises::new(config.output, &plan, beside.map(|ledger| ledger.directory.clone()), sweeps);
    let publisher = Publisher::new(premises, key.clone()).map_err(|error| chain(&error))?;
    let (asks, asked) = mpsc::channel(1);
    let followers = admin::open(place.as_ref(), config.agent.listen, asks)?;
    if confine {
        // The directories are there by now, and no other thread is yet.
        match harden::confine(&places, &devices) {
            Ok(()) => tracing::debug!("the agent can write only where it publishes and keeps its ledger"),
            Err(error) => tracing::warn!(error = chain(&error), "the agent is not confined by the kernel"),
        }
    }
    let audience =
        Audience::gather(config.audit, followers, heard, &events.0).map_err(|error| chain(&error))?;
    let mut keepers = Keepers::new(audience.gate());
    for (name, wants) in &plan.wants {
        let Some(source) = config.sources.get(name) else { continue };
        keep(&mut keepers, name, source, wants.clone(), &key, ledger.clone())?;
    }
    let task = Task {
        plan,
        engine,
        key,
        mode,
        on_stop: config.agent.on_stop,
        rollout: config.rollout,
        patience,
        first: publisher.next_generation(),
        superseded: publisher.superseded().clone(),
    };
    let ended = lifecycle::run(task, keepers, publisher, orders, events, asked).await;
    audience.dismiss().await;
    let (code, live) = ended.map_err(|error| error.to_string())?;
    match live.as_ref().and_then(|live| live.env.get(STDOUT)).filter(|_| mode == Mode::Once) {
        // To the letter.
        Some(text) => Ok(Some(say(text.expose())).filter(|failed| *failed != 0).unwrap_or(code)),
        None => Ok(code),
    }
}

/// Without its ledger an agent still does its work; only a later run has to begin anew.
fn open_ledger(config: &LedgerConfig, allow_disk: bool) -> Option<Arc<Ledger>> {
    match Ledger::open(config, allow_disk) {
        Ok(ledger) => Some(Arc::new(ledger)),
        Err(error) => {
            tracing::warn!(error = chain(&error), "going on without the ledger");
            None
        }
    }
}

/// The one place that turns a source's configuration into its backend.
fn keep(
    keepers: &mut Keepers,
    name: &SourceName,
    source: &SourceConfig,
    wants: Vec<crate::plan::Want>,
    key: &DigestKey,
    ledger: Option<Arc<Ledger>>,
) -> Result<(), String> {
    let seed = u64::from_le_bytes(random()?);
    match source {
        SourceConfig::Vault(config) => {
            let look_up_every = config.look_up_every;
            let settings = Settings { source: name.clone(), wants, look_up_every, seed, adopt: None };
            let vault = Vault::new(config).map_err(|error| format!("source {name}: {}", chain(&error)))?;
            let vault = match &ledger {
                Some(ledger) => vault.with_ledger(Arc::clone(ledger), name.clone()),
                None => vault,
            };
            keepers.keep(vault, settings, key, ledger);
        }
        SourceConfig::Store(config) => {
            let look_up_every = config.refresh;
            let settings = Settings { source: name.clone(), wants, look_up_every, seed, adopt: None };
            let store = Embedded::new(config);
            let store = match ledger {
                Some(ledger) => store.with_ledger(ledger, name.clone()),
                None => store,
            };
            // It has no lease that could outlive us, and no token: what it leaves in the ledger is its own.
            keepers.keep(store, settings, key, None);
        }
        #[cfg(feature = "aws")]
        SourceConfig::Aws(config) => {
            let look_up_every = config.refresh;
            let settings = Settings { source: name.clone(), wants, look_up_every, seed, adopt: None };
            let aws = Aws::new(config).map_err(|error| format!("source {name}: {}", chain(&error)))?;
            // It has no lease either, and its credentials are kept by whoever gave them.
            keepers.keep(aws, settings, key, None);
        }
        #[cfg(not(feature = "aws"))]
        SourceConfig::Aws(_) => return Err(format!("source {name}: this build has no AWS")),
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    Ok(bytes)
}
