//! Serves the sockets that systemd asks for credentials, on the agent's runtime.
//!
//! Who attacks: another user who reaches a socket, and keeps connections or does not read. Root's connections have seats of their own.
//!
//! A unit must not start with an empty credential because of us, and a connection that is closed looks like one: systemd reads to the end, and a
//! socket of this kind cannot be reset by who accepted it. So whoever is refused gets more than systemd takes, and the unit's start fails. And
//! nobody is accepted before there is a value: whoever waits is in the hands of the service manager, also when Squire is killed meanwhile.

use std::io;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::held::Given;
use super::peer::Peer;
use super::{LARGEST, Refusal, Scope, Shown, ShownCredential, Wanted};
use crate::audit::Gate;
use crate::fact::{CredentialFact, Fact};
use crate::names::Generation;

/// So many connections at once; the next ones wait until they are taken.
const CONNECTIONS: usize = 256;

/// So many others are told that they are refused at once; what comes beyond is closed.
const STRANGERS: usize = 16;

/// Whoever asks before the first release is there waits so long at most.
const VALUE_WITHIN: Duration = Duration::from_mins(1);

/// Whoever does not read its answer within this time does not get it.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The end waits so long for those who still read.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// How often it is said that somebody else is refused.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Without a free descriptor the next connection waits this long.
const PAUSE: Duration = Duration::from_millis(100);

/// A refusal has so many bytes: more than systemd takes, of an encrypted credential too.
const REFUSAL: usize = 2 * LARGEST;

/// What the rest of a refusal is made of.
static FILLING: [u8; 16 * 1024] = [b'\n'; 16 * 1024];

/// What a person reads who asks by hand.
const REFUSED: &[u8] = b"squire: refused, its log says why\n";

/// Hears who got what.
pub type Tell = Arc<dyn Fn(Given) + Send + Sync>;

/// Gives out what the agent shows.
#[derive(Clone)]
pub struct Counter {
    scope: Scope,
    gate: Gate,
    shown: watch::Receiver<Option<Arc<Shown>>>,
    tell: Tell,
    seats: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    ending: Arc<watch::Sender<bool>>,
}

impl Counter {
    /// Serves whoever is in this scope, with what comes by `shown`.
    pub fn new(scope: Scope, gate: Gate, shown: watch::Receiver<Option<Arc<Shown>>>, tell: Tell) -> Self {
        let [seats, strangers] = [CONNECTIONS, STRANGERS].map(|many| Arc::new(Semaphore::new(many)));
        Self { scope, gate, shown, tell, seats, strangers, ending: Arc::new(watch::Sender::new(false)) }
    }

    /// Serves a socket, until the end.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn serve(&self, listener: StdUnixListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let counter = self.clone();
        drop(tokio::spawn(async move {
            let mut ended = counter.ending.subscribe();
            tokio::select! {
                _ = ended.wait_for(|is_over| *is_over) => {}
                () = counter.welcome_all(listener) => {}
            }
        }));
        Ok(())
    }

    /// The end: nobody is accepted any more, and who was has what it asked for.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        // Who does not read is left.
        drop(timeout(ENDS_WITHIN, self.seats.acquire_many(all)).await);
    }

    /// One after the other gets a seat, and then is taken: whoever waits, waits where the end of Squire gives it nothing.
    async fn welcome_all(&self, listener: UnixListener) {
        let mut pace = Pace::default();
        let mut shown = self.shown.clone();
        loop {
            let is_shown =
                timeout(VALUE_WITHIN, shown.wait_for(Option::is_some)).await.map(|shown| shown.is_ok());
            // Those who have waited for long enough are refused, with whoever came since.
            let patience = match is_shown {
                Ok(true) => None,
                // The agent is gone.
                Ok(false) => return,
                Err(_) => Some(Duration::ZERO),
            };
            loop {
                // It is never closed.
                let Ok(seat) = Arc::clone(&self.seats).acquire_owned().await else { return };
                let accepted = match patience {
                    None => listener.accept().await,
                    Some(patience) => match timeout(patience, listener.accept()).await {
                        Ok(accepted) => accepted,
                        // Nobody else is there.
                        Err(_) => break,
                    },
                };
                match accepted {
                    Ok((stream, _)) => self.welcome(stream, seat, &mut pace),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    }

    fn welcome(&self, stream: UnixStream, seat: OwnedSemaphorePermit, pace: &mut Pace) {
        match Peer::of(&stream) {
            Some(peer) if peer.user == self.scope.user() => {
                let wanted = Wanted::parse(peer.address.as_deref());
                drop(tokio::spawn(self.clone().answer(stream, peer, wanted, seat)));
            }
            stranger => {
                pace.refused(stranger.map(|peer| peer.user));
                if let Ok(seat) = Arc::clone(&self.strangers).try_acquire_owned() {
                    drop(tokio::spawn(refuse(stream, seat)));
                }
            }
        }
    }

    async fn answer(
        self,
        stream: UnixStream,
        peer: Peer,
        wanted: Result<Wanted, Refusal>,
        seat: OwnedSemaphorePermit,
    ) {
        let given = wanted.clone().and_then(|wanted| self.give(&peer, &wanted).map(|given| (wanted, given)));
        let why = match given {
            Ok((wanted, (generation, shown))) => {
                let Wanted { unit, name } = wanted.clone();
                let secrets = shown.terms.secrets.clone();
                // Whoever gets it is known before the value can change.
                (self.tell)(Given { wanted, stamp: shown.stamp });
                match write(stream, shown.contents.expose()).await {
                    Ok(()) => {
                        let given = CredentialFact::Given { unit, credential: name, secrets, generation };
                        return Fact::from(given).tell();
                    }
                    Err(_) => Refusal::NotRead,
                }
            }
            Err(why) => {
                refuse(stream, seat).await;
                why
            }
        };
        let (unit, credential) = wanted.ok().map(|wanted| (wanted.unit, wanted.name)).unzip();
        Fact::from(CredentialFact::Refused { unit, credential, why: why.to_string() }).tell();
    }

    fn give(&self, peer: &Peer, wanted: &Wanted) -> Result<(Generation, ShownCredential), Refusal> {
        peer.require_unit(self.scope, &wanted.unit)?;
        let shown = self.shown.borrow().clone().ok_or(Refusal::NoValue)?;
        let credential = shown.give(wanted)?;
        if self.gate.is_closed() {
            return Err(Refusal::NotAudited);
        }
        Ok((shown.generation, credential.clone()))
    }
}

/// Whoever closes early has what it wanted.
async fn write(mut stream: UnixStream, bytes: &[u8]) -> io::Result<()> {
    let written = timeout(READ_WITHIN, async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    });
    written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Sends more than systemd takes, and keeps none of it: at the end of the first minute of an outage all units of a machine are refused at once.
async fn refuse(mut stream: UnixStream, _seat: OwnedSemaphorePermit) {
    let refusal = async {
        stream.write_all(REFUSED).await?;
        for _ in 0..REFUSAL / FILLING.len() {
            stream.write_all(&FILLING).await?;
        }
        stream.shutdown().await
    };
    // It stops reading when it has had enough.
    drop(timeout(READ_WITHIN, refusal).await);
}

/// Says that others are refused, not each time.
#[derive(Debug, Default)]
struct Pace {
    said_at: Option<Instant>,
    since: u64,
}

impl Pace {
    fn refused(&mut self, user: Option<u32>) {
        self.since += 1;
        if self.said_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said_at = Some(Instant::now());
            let times = std::mem::take(&mut self.since);
            Fact::from(CredentialFact::Stranger { user, times }).tell();
        }
    }
}
