//! `squire run` and `squire render`: the main thread hosts processes, a second one is the agent.

mod audience;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::load::{Origin, Reader, STDOUT, complain, load, load_template};
use super::output::say;
use super::prepare::{Means, prepare, random};
use super::{USAGE, admin, credentials, otlp, proxy};
use crate::admin::place::Place;
use crate::agent::keepers::Keepers;
use crate::agent::lifecycle::{Farewell, Rereading, Settled, Showing};
use crate::agent::publisher::{Premises, Publisher};
use crate::agent::reloads::{Loaded, Seen};
use crate::agent::{Event, Mode, Patience, Setup, Task, chain, gives_back, lifecycle};
use crate::config::{
    COLLECTOR_VARIABLES, CREDENTIAL_VARIABLES, CredentialConfig, LedgerConfig, MountKind, Problem,
};
use crate::fact;
use crate::harden;
use crate::ledger::file::Ledger;
use crate::names::Edition;
use crate::publish::mount::mount_output;
use crate::secret::{DigestKey, Secret};
use crate::session::sink;
use crate::supervise::host::{Endowment, Host, HostError, Order, Orders};
use crate::supervise::{Ending, FAILED, ListenError, Listeners};
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
    let reader = Reader::at_start();
    let loaded = load(&reader, origin, command.clone());
    let again = Again {
        seen: reader.seen(),
        reader: reader.of_reload(),
        origin: origin.clone(),
        command,
        require: refuse_credentials,
    };
    let loaded = loaded.and_then(refuse_credentials);
    start(loaded, origin, Terms { ends_early, again: Some(again), ..Terms::of(Mode::Run) })
}

/// Serves credentials to units of systemd until a signal ends Squire; answers with the exit code.
pub(super) fn serve_credentials(origin: &Origin, wanted: credentials::Wanted) -> u8 {
    let reader = Reader::at_start();
    let loaded = load(&reader, origin, None).and_then(credentials::require);
    let again = Again {
        seen: reader.seen(),
        reader: reader.of_reload(),
        origin: origin.clone(),
        command: None,
        require: credentials::require,
    };
    start(loaded, origin, Terms { again: Some(again), counter: Some(wanted), ..Terms::of(Mode::Run) })
}

/// Nobody would serve them.
fn refuse_credentials(setup: Setup) -> Result<Setup, Vec<String>> {
    match setup.config.credentials.first() {
        None => Ok(setup),
        Some(CredentialConfig { place, .. }) => Err(vec![
            Problem::new(
                place.clone(),
                "units get credentials from `squire serve-credentials`: start that with this configuration, or take [[credential]] away",
            )
            .to_string(),
        ]),
    }
}

/// What a reload needs to read the configuration as the start did.
struct Again {
    reader: Reader,
    origin: Origin,
    command: Option<Vec<String>>,
    seen: Seen,
    /// What it has to have, or must not have, for this command.
    require: fn(Setup) -> Result<Setup, Vec<String>>,
}

impl Again {
    /// Reads the configuration, and makes the sources of its secrets: a file of certificates may be wrong, too.
    fn rereading(
        self,
        means: Means,
        settled: Settled,
        farewell: Farewell,
        showing: Option<Showing>,
    ) -> Rereading {
        let Self { reader, origin, command, seen, require } = self;
        let load = move || {
            let loaded = load(&reader, &origin, command.clone()).and_then(require).and_then(|setup| {
                for warning in setup.plan.unused() {
                    tracing::warn!(warning, "a secret is not used");
                }
                let sources = means.sources(&setup)?;
                Ok(Loaded { setup, sources })
            });
            (loaded, reader.seen())
        };
        Rereading { load: Some(Box::new(load)), seen, settled, farewell, showing }
    }
}

/// Publishes one release, or renders one template to stdout; answers with the exit code.
pub(super) fn render(origin: &Origin, template: Option<&Path>) -> u8 {
    let loaded = match template {
        Some(template) => load_template(origin, template),
        None => load(&Reader::at_start(), origin, None).and_then(refuse_credentials),
    };
    start(loaded, origin, Terms { ends_early: true, ..Terms::of(Mode::Once) })
}

fn start(loaded: Result<Setup, Vec<String>>, origin: &Origin, terms: Terms) -> u8 {
    let mode = terms.mode;
    let failed = if mode == Mode::Once { 1 } else { FAILED };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(&problems);
            return USAGE;
        }
    };
    if loaded.plan.is_idle() && loaded.config.proxy.is_none() {
        complain(&[NOTHING_TO_DO.to_owned()]);
        return USAGE;
    }
    let place = Some(()).filter(|()| mode == Mode::Run).and_then(|()| admin::place(&loaded.config, origin));
    host(loaded, Terms { place, ..terms }).unwrap_or_else(|error| {
        tracing::error!(error, "squire cannot go on");
        failed
    })
}

/// Renders the variables of a configuration once, and hands them over in place of publishing anything; or answers with the exit code.
#[cfg(feature = "import")]
pub(super) fn rendered(loaded: Setup) -> Result<BTreeMap<String, Secret<str>>, u8> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let terms = Terms { ends_early: true, rendered: Some(sender), ..Terms::of(Mode::Once) };
    let code = host(loaded, terms).unwrap_or_else(|error| {
        tracing::error!(error, "squire cannot go on");
        1
    });
    match receiver.try_recv() {
        Ok(rendered) if code == 0 => Ok(rendered),
        Ok(_) | Err(_) => Err(code.max(1)),
    }
}

/// Hosts processes on this thread while the agent runs on another.
fn host(loaded: Setup, mut terms: Terms) -> Result<u8, String> {
    let mode = terms.mode;
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
    let listeners = match terms.counter.take() {
        Some(wanted) => {
            terms.doors = Some(wanted.open()?);
            Listeners::default()
        }
        None => listeners(&loaded, mode).map_err(|error| chain(&error))?,
    };
    let stop_timeout = loaded.config.process.stop_timeout;
    let endowment = Endowment { environment: std::env::vars_os().collect(), listeners, limits, stop_timeout };
    terms.collector = (mode == Mode::Run).then(otlp::collector).flatten();
    harden::forget(&[&CREDENTIAL_VARIABLES, COLLECTOR_VARIABLES].concat());
    let (host, orders) = Host::new(endowment, report).map_err(|error| chain(&error))?;
    let agent = thread::Builder::new().name("agent".to_owned());
    let agent = agent
        .spawn(move || {
            let _end = EndOfAgent(orders.clone());
            let timeout = loaded.config.startup_timeout.or((mode == Mode::Once).then_some(RENDER_TIMEOUT));
            let patience = Patience { timeout, ends_early: terms.ends_early };
            agent_thread(loaded, terms, patience, orders, (sender, events))
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

/// The sockets for the process.
fn listeners(loaded: &Setup, mode: Mode) -> Result<Listeners, ListenError> {
    let handed_over = Listeners::handed_over()?;
    if let Some(process) = loaded.plan.process.as_ref().filter(|_| mode == Mode::Run) {
        return handed_over.bind(&process.listen);
    }
    if !handed_over.is_empty() {
        tracing::warn!("the service manager handed over sockets, and there is no process to pass them to");
    }
    Ok(Listeners::default())
}

/// However the agent ends, the main thread hears of it.
struct EndOfAgent(Orders);

impl Drop for EndOfAgent {
    fn drop(&mut self) {
        self.0.send(Order::End);
    }
}

/// How a configuration is run.
struct Terms {
    place: Option<Place>,
    mode: Mode,
    /// Gives up a start that waiting does not help.
    ends_early: bool,
    again: Option<Again>,
    /// Where traces and metrics go.
    collector: Option<otlp::Collector>,
    /// Where the variables go that were rendered once, if somebody asks for them.
    rendered: Option<std::sync::mpsc::Sender<BTreeMap<String, Secret<str>>>>,
    /// Units are to get credentials.
    counter: Option<credentials::Wanted>,
    /// They get them here.
    doors: Option<credentials::Doors>,
}

impl Terms {
    fn of(mode: Mode) -> Self {
        Self {
            place: None,
            mode,
            ends_early: false,
            again: None,
            collector: None,
            rendered: None,
            counter: None,
            doors: None,
        }
    }
}

fn agent_thread(
    loaded: Setup,
    terms: Terms,
    patience: Patience,
    orders: Orders,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let code = runtime.block_on(agent(loaded, terms, patience, orders, events));
    // A name that is still being looked up must not hold back the end.
    runtime.shutdown_background();
    code
}

async fn agent(
    setup: Setup,
    Terms { place, mode, again, collector, rendered, doors, .. }: Terms,
    patience: Patience,
    orders: Orders,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
) -> Result<u8, String> {
    let Setup { config, plan, .. } = &setup;
    // From here on, although the audit is opened later: it is confined with the agent. Where nobody listens, this end is dropped.
    let heard = fact::hear();
    for warning in plan.unused() {
        tracing::warn!(warning, "a secret is not used");
    }
    let key = DigestKey::new(random()?);
    let allow_disk = config.output.allow_disk;
    let ledger = config.agent.ledger.as_ref().and_then(|ledger| open_ledger(ledger, allow_disk));
    let beside = config.agent.ledger.as_ref().filter(|_| ledger.is_some());
    let sweeps = gives_back(config.agent.on_stop, mode, plan);
    let beside = beside.map(|ledger| ledger.directory.clone());
    let premises = Premises::new(config.output.clone(), plan, beside, sweeps);
    let publisher = Publisher::new(premises, key.clone()).map_err(|error| chain(&error))?;
    let (asks, asked) = mpsc::channel(1);
    let is_measured = collector.as_ref().is_some_and(otlp::Collector::is_measured);
    let opened = admin::open(config, place.as_ref(), is_measured, asks)?;
    let (followers, server) = opened.unzip();
    let bound =
        config.proxy.as_ref().filter(|_| mode == Mode::Run).map(|proxied| proxy::bind(proxied, config));
    let bound = bound.transpose()?;
    let sockets = place.iter().filter_map(Place::directory);
    let sockets = sockets.chain(doors.as_ref().and_then(credentials::Doors::directory));
    let confined = confine(&setup, sockets);
    let exports = collector.map(|collector| otlp::open(collector, server.as_ref()));
    let audience = Audience::gather(config.audit.clone(), followers, exports, heard, &events.0)
        .map_err(|error| chain(&error))?;
    let mut keepers = Keepers::new(audience.gate()).with_sinks(sink::sinks(plan));
    let proxied = bound.map(|bound| bound.open(config, audience.gate())).transpose()?;
    let opened =
        doors.map(|doors| doors.serve(audience.gate(), ledger.clone(), events.0.clone())).transpose()?;
    let (counter, showing, serving, _bound) = match opened {
        Some(credentials::Open { counter, showing, serving, bound }) => {
            (Some(counter), Some(showing), Some(serving), bound)
        }
        None => (None, None, None, None),
    };
    let means = Means { key: key.clone(), ledger, proxied: proxied.as_ref().map(proxy::Open::line) };
    for (name, wants) in &plan.wants {
        let Some(source) = config.sources.get(name) else { continue };
        prepare(&means, name, source)?(&mut keepers, wants.clone(), Edition::default());
    }
    let (settled, farewell) = (proxy::settled(proxied.as_ref()), proxy::farewell(proxied));
    let farewell: Farewell = Box::pin(async move {
        if let Some(serving) = serving {
            serving.end().await;
        }
        farewell.await;
    });
    let rereading = match again {
        Some(again) => again.rereading(means, settled, farewell, showing),
        None => Rereading { load: None, seen: Seen::new(), settled, farewell, showing },
    };
    let task = Task {
        setup: Arc::new(setup),
        confined,
        key,
        mode,
        patience,
        first: publisher.next_generation(),
        superseded: publisher.superseded().clone(),
        counter,
    };
    let run = lifecycle::run(task, keepers, publisher, orders, events, asked, rereading);
    let ended = Box::pin(run).await;
    audience.dismiss().await;
    let (code, live) = ended.map_err(|error| error.to_string())?;
    if let (Some(live), Some(rendered)) = (&live, rendered) {
        // Whoever asked may have gone.
        rendered.send(live.env.clone()).ok();
    }
    match live.as_ref().and_then(|live| live.env.get(STDOUT)).filter(|_| mode == Mode::Once) {
        // To the letter.
        Some(text) => Ok(Some(say(text.expose())).filter(|failed| *failed != 0).unwrap_or(code)),
        None => Ok(code),
    }
}

/// Where the agent can write from now on, if the kernel keeps it from writing elsewhere.
fn confine<'a>(setup: &Setup, sockets: impl Iterator<Item = &'a Path>) -> Option<BTreeSet<PathBuf>> {
    let Setup { config, plan, .. } = setup;
    if !config.agent.confine {
        return None;
    }
    let mut places = harden::places(config, plan);
    places.extend(sockets.map(Path::to_owned));
    // The directories are there by now, and no other thread is yet.
    match harden::confine(&places, &harden::devices(config)) {
        Ok(()) => {
            tracing::debug!("the agent can write only where it publishes and keeps its ledger");
            Some(setup.places())
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "the agent is not confined by the kernel");
            None
        }
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
