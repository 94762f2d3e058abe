//! An API server in this process: what `kube::Client` talks to in a simulation.
//!
//! Requests come as HTTP through a tower service without a socket, so that the controller runs unchanged. Every request
//! passes one point where a fault can be put in ([`Faults`]), and every change one where it can be looked at
//! ([`Witness`]). Time is tokio's, which a simulation pauses; chance comes from one seed.

mod apply;
pub mod defaults;
pub mod fields;
mod identity;
pub mod list;
pub mod notice;
pub mod refusal;
pub mod request;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod serve;
pub mod store;
pub mod watch;
pub mod write;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Clock;
use list::Pages;
use request::{Request, Verb};
use store::{Change, Store};
use write::{By, Writer};

pub use refusal::Refusal;
pub use resources::Kind;
pub use store::Key;

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is refused with this status and not carried out.
    Refuse(u16),
    /// It is not carried out and never answered; the connection breaks after a while.
    LoseRequest,
    /// It is carried out and never answered; the connection breaks after a while.
    LoseAnswer,
    /// It is carried out so much later, whatever became of whoever asked, who never gets an answer.
    Late(Duration),
    /// Whoever asks dies before it is carried out.
    DieBefore,
    /// Whoever asks dies after it was carried out.
    DieAfter,
}

/// How events reach a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How long they take. What happens meanwhile comes with them.
    pub delay: Duration,
    /// The watch is closed instead.
    pub close: bool,
    /// They come twice.
    pub repeat: bool,
    /// Of several changes of one object only the last comes.
    pub merge: bool,
}

impl Delivery {
    /// Events that come once, after `delay`.
    #[must_use]
    pub fn after(delay: Duration) -> Delivery {
        Delivery {
            delay,
            close: false,
            repeat: false,
            merge: false,
        }
    }
}

/// Puts faults into requests.
pub trait Faults: Send {
    /// What goes wrong with this request.
    fn strike(&mut self, actor: &'static str, verb: Verb, kind: Kind) -> Fault;
    /// How long a request and its answer take together.
    fn latency(&mut self, actor: &'static str) -> Duration;
    /// How events reach this watcher.
    fn deliver(&mut self, actor: &'static str, kind: Kind) -> Delivery;
}

/// Looks at every change.
pub trait Witness: Send {
    /// `change` was made; `store` is as it is now.
    fn saw(&mut self, change: &Change, store: &Store);
    /// `actor` sends a request, whatever becomes of it.
    fn asked(&mut self, _actor: &'static str, _verb: Verb, _kind: Kind, _store: &Store) {}
}

/// Nothing goes wrong, and everything takes a little.
#[derive(Debug)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn strike(&mut self, _: &'static str, _: Verb, _: Kind) -> Fault {
        Fault::None
    }

    fn latency(&mut self, _: &'static str) -> Duration {
        Duration::from_millis(2)
    }

    fn deliver(&mut self, _: &'static str, _: Kind) -> Delivery {
        Delivery::after(Duration::from_millis(1))
    }
}

struct Inner {
    writer: Writer,
    faults: Box<dyn Faults>,
    witnesses: Vec<Box<dyn Witness>>,
    seen: u64,
    stopped: bool,
    denied: BTreeSet<Key>,
    /// Objects whose spec cannot be changed because of an error of the server.
    broken: BTreeSet<Key>,
    /// Kinds and namespaces of which a quota lets nobody make another object.
    full: BTreeSet<(Kind, String)>,
    pages: Pages,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
    changed: notice::Sender,
}

impl ApiServer {
    /// An empty server.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> ApiServer {
        let mut writer = Writer::default();
        for kind in Kind::POLICIES {
            writer.store.set_served(kind, false);
        }
        ApiServer {
            inner: Arc::new(Mutex::new(Inner {
                writer,
                faults: Box::new(NoFaults),
                witnesses: Vec::new(),
                seen: 0,
                stopped: false,
                denied: BTreeSet::new(),
                broken: BTreeSet::new(),
                full: BTreeSet::new(),
                pages: Pages::default(),
            })),
            clock,
            changed: notice::Sender::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets these faults happen from now on.
    pub fn set_faults(&self, faults: Box<dyn Faults>) {
        self.lock().faults = faults;
    }

    /// Ends the process of the server: connections are refused, watches break off.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.nudge();
    }

    /// Starts it again on the same store. As the real one it does not know what changed before, so that watches must
    /// begin with a list.
    pub fn start(&self) {
        {
            let mut inner = self.lock();
            inner.stopped = false;
            inner.writer.store.compact();
            inner.pages = Pages::default();
        }
        self.nudge();
    }

    /// Others write so many objects that nobody looks at.
    pub fn skip(&self, versions: u64) {
        let mut inner = self.lock();
        inner.writer.store.skip(versions);
        inner.seen = inner.writer.store.version();
        drop(inner);
        self.nudge();
    }

    /// Starts it on a store that was restored from a backup: versions count on from so many before.
    pub fn restore(&self, versions: u64) {
        let mut inner = self.lock();
        inner.stopped = false;
        inner.writer.store.rewind(versions);
        inner.seen = inner.writer.store.version();
        inner.pages = Pages::default();
        drop(inner);
        self.nudge();
    }

    /// Whether it is stopped.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Lets nobody change an object, as an admission policy would, or everybody again. Parts of the cluster may.
    pub fn deny(&self, key: Key, on: bool) {
        let denied = &mut self.lock().denied;
        if on {
            denied.insert(key);
        } else {
            denied.remove(&key);
        }
    }

    /// Answers 500 to every patch of an object's spec from now on.
    pub fn break_spec(&self, key: Key) {
        self.lock().broken.insert(key);
    }

    /// Lets nobody make another object of a kind in a namespace, as a quota would, or everybody again.
    pub fn set_full(&self, kind: Kind, namespace: &str, on: bool) {
        let full = &mut self.lock().full;
        let place = (kind, namespace.to_owned());
        if on {
            full.insert(place);
        } else {
            full.remove(&place);
        }
    }

    /// Serves a kind, or does not; without it its objects go and its watches end.
    pub fn serve(&self, kind: Kind, served: bool) {
        self.write("user", |writer, by| {
            writer.store.set_served(kind, served);
            if !served {
                writer.remove_all(by, kind);
            }
        });
        self.nudge();
    }

    /// Wakes whoever waits for changes: something else is different.
    pub fn nudge(&self) {
        self.changed.tell();
    }

    /// Shows every change to `witness` from now on.
    pub fn add_witness(&self, witness: Box<dyn Witness>) {
        self.lock().witnesses.push(witness);
    }

    /// A receiver that is told the version of the latest change.
    #[must_use]
    pub fn changes(&self) -> notice::Receiver {
        self.changed.subscribe()
    }

    /// Looks at the store.
    pub fn read<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&self.lock().writer.store)
    }

    /// Writes as a part of the cluster would, past faults and latency.
    pub fn write<T>(&self, actor: &'static str, write: impl FnOnce(&mut Writer, By<'_>) -> T) -> T {
        let by = By {
            actor,
            manager: actor,
            now: self.clock.now(),
        };
        let mut inner = self.lock();
        let outcome = write(&mut inner.writer, by);
        self.show(&mut inner);
        outcome
    }

    fn show(&self, inner: &mut Inner) {
        let version = inner.writer.store.version();
        if version == inner.seen {
            return;
        }
        let store = &inner.writer.store;
        for change in store.since(inner.seen) {
            for witness in &mut inner.witnesses {
                witness.saw(change, store);
            }
        }
        inner.seen = version;
        self.changed.tell();
    }

    fn strike(&self, actor: &'static str, request: &Request) -> (Fault, Duration) {
        let inner = &mut *self.lock();
        let (verb, kind) = (request.verb(), request.kind());
        for witness in &mut inner.witnesses {
            witness.asked(actor, verb, kind, &inner.writer.store);
        }
        let fault = inner.faults.strike(actor, verb, kind);
        (fault, inner.faults.latency(actor))
    }
}
