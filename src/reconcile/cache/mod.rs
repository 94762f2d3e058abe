//! What the API server last told us, of the objects that matter.
//!
//! Our own writes go in with the server's answer, so that the next decision sees them (the watch may be late); events
//! older than what is known are ignored. Invariant: an entry goes back to an older resourceVersion only by a list or a read
//! that began after it was known: then etcd was restored from a backup, and its versions count on from an older one.

mod followers; // who waits for the changes of one object
mod reads; // lists and reads, beside which watches go on
mod slim; // what is kept of an object
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

pub use self::slim::UNAPPLIED;
use self::{
    followers::Followers,
    reads::{Listing, Reading},
};
use super::{index::Part, kinds::Kind};
use crate::{
    defect::{Defect, planted},
    workload::text,
};

/// Kind, namespace and name.
type Key = (Kind, String, String);

/// What is known of a kind as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not listed yet.
    Unknown,
    /// Listed and watched.
    Ready,
    /// The API server does not serve it.
    NotServed,
    /// It cannot be listed; why.
    Failing(String),
}

#[derive(Clone)]
struct Entry {
    /// The group under which it is looked up: its own name, or the name of its Service.
    part: Part,
    version: u64,
    /// Whether nobody was woken by it yet: the watch has not shown it.
    ahead: bool,
    object: Option<Arc<Value>>,
}

/// How an object comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By a watch, or a round's own write.
    Watched,
    /// By a list or a read, before which this version of it was known, if any.
    Listed(Option<u64>),
    /// By a write beside the rounds, ahead of the watch.
    Ahead,
    /// The same, and only if it is known to be there.
    Known,
}

struct Inner {
    entries: BTreeMap<Key, Entry>,
    groups: HashMap<Part, HashSet<String>>,
    primed: HashSet<Part>,
    availability: HashMap<Kind, Availability>,
    listing: HashMap<Kind, Listing>,
    /// Parts that are being read.
    reading: HashMap<Part, Reading>,
    /// Parts that are not as they are known: a write that was decided on them was refused.
    doubted: HashSet<Part>,
    /// The newest version that any object had: versions of all kinds are numbers of one count.
    newest: u64,
    /// How often the count began anew.
    restores: u64,
}

/// The cache of every kind.
pub struct Cache {
    inner: Mutex<Inner>,
    followers: Followers,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            inner: Mutex::new(Inner {
                entries: BTreeMap::new(),
                groups: HashMap::new(),
                primed: HashSet::new(),
                availability: HashMap::new(),
                listing: HashMap::new(),
                reading: HashMap::new(),
                doubted: HashSet::new(),
                newest: 0,
                restores: 0,
            }),
            followers: Followers::default(),
        }
    }
}

/// The part that `object` of `kind` belongs to.
#[must_use]
pub fn part_of(kind: Kind, object: &Value) -> Part {
    let name = text(object, kind.known_by().unwrap_or("/metadata/name"));
    Part {
        kind,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: name.to_owned(),
    }
}

fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

impl Inner {
    fn drop_entry(&mut self, key: &Key, part: &Part) {
        self.entries.remove(key);
        if let Some(names) = self.groups.get_mut(part) {
            names.remove(&key.2);
            if names.is_empty() {
                self.groups.remove(part);
            }
        }
    }
}

impl Cache {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object as the server returned it. Returns whether it is news.
    pub fn put(&self, kind: Kind, object: Value) -> bool {
        self.take(kind, object, How::Watched)
    }

    /// Takes in an object that the list under way names. Returns whether it is news.
    pub fn put_listed(&self, kind: Kind, object: Value) -> bool {
        let key = (
            text(&object, "/metadata/namespace").to_owned(),
            text(&object, "/metadata/name").to_owned(),
        );
        let known = self
            .lock()
            .listing
            .get(&kind)
            .and_then(|listing| listing.known.get(&key).copied());
        self.take(kind, object, How::Listed(known))
    }

    /// Takes in an object that somebody outside of a round made. When the watch shows it, it is news all the same, so that
    /// whoever is concerned is woken.
    pub fn put_ahead(&self, kind: Kind, object: Value) {
        self.take(kind, object, How::Ahead);
    }

    /// Takes in the answer to a write to an object, unless the object is not known any more: it may be gone.
    pub fn put_known(&self, kind: Kind, object: Value) {
        self.take(kind, object, How::Known);
    }

    /// The API server told of an object, whether it is kept or not.
    pub fn heard(&self, object: &Value) {
        let mut inner = self.lock();
        inner.newest = inner.newest.max(version(object));
    }

    /// The newest version that any object had; 0 if there was none, or versions are no numbers.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// How often the API server began to count versions anew, as far as it was noticed.
    #[must_use]
    pub fn restores(&self) -> u64 {
        self.lock().restores
    }

    /// A list that was asked for when `known` was the newest version bears `version`: if that is older, etcd was restored from a
    /// backup, and everything is to be listed again.
    pub fn look_at_version(&self, version: &str, known: u64) {
        let Some(version) = version.parse().ok().filter(|version| *version < known) else {
            return;
        };
        let mut inner = self.lock();
        inner.newest = version;
        inner.restores += 1;
    }

    fn take(&self, kind: Kind, object: Value, how: How) -> bool {
        let part = part_of(kind, &object);
        let version = version(&object);
        let name = text(&object, "/metadata/name").to_owned();
        let mut inner = self.lock();
        let key = (kind, part.namespace.clone(), name.clone());
        let there = inner
            .entries
            .get(&key)
            .is_some_and(|entry| entry.object.is_some());
        if how == How::Known && !there {
            return false;
        }
        inner.newest = inner.newest.max(version);
        if let Some(listing) = inner.listing.get_mut(&kind) {
            listing.named.insert((part.namespace.clone(), name.clone()));
        }
        let ahead = matches!(how, How::Ahead | How::Known);
        let goes_back = |known: &Entry| {
            matches!(how, How::Listed(before) if before == Some(known.version)) && known.version > version
        };
        if let Some(known) = inner.entries.get_mut(&key)
            && known.version >= version
            && !goes_back(known)
            && !planted(Defect::TrustsAStaleCache)
        {
            let shown = known.ahead && known.version == version && !ahead;
            known.ahead &= !shown;
            return shown;
        }
        inner.groups.entry(part.clone()).or_default().insert(name);
        inner.entries.insert(
            key.clone(),
            Entry {
                part,
                version,
                ahead,
                object: Some(Arc::new(slim::slim(kind, object))),
            },
        );
        drop(inner);
        self.followers.tell(&key, version);
        true
    }

    /// A receiver that is told whenever the object changes.
    #[must_use]
    pub fn follow(&self, kind: Kind, namespace: &str, name: &str) -> watch::Receiver<u64> {
        self.followers
            .follow((kind, namespace.to_owned(), name.to_owned()))
    }

    /// How many follow an object.
    #[must_use]
    pub fn followers(&self, kind: Kind, namespace: &str, name: &str) -> usize {
        self.followers
            .count(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Takes in that an object is gone. Returns whether it is news.
    pub fn remove(&self, kind: Kind, object: &Value) -> bool {
        let key = (
            kind,
            text(object, "/metadata/namespace").to_owned(),
            text(object, "/metadata/name").to_owned(),
        );
        let version = version(object);
        let mut inner = self.lock();
        if let Some(reading) = inner.reading.get_mut(&part_of(kind, object)) {
            reading.removed.insert(key.2.clone(), version);
        }
        match inner.entries.get_mut(&key) {
            Some(known) if known.object.is_some() && known.version <= version => {
                known.object = None;
                known.version = version;
                if kind.known_by().is_some() {
                    // They come and go under ever new names. The late answer to a write of ours may revive one, until the
                    // next write to it is refused and its group is read.
                    let part = known.part.clone();
                    inner.drop_entry(&key, &part);
                }
            }
            _ => return false,
        }
        drop(inner);
        self.followers.tell(&key, version);
        true
    }

    /// Notes that `kind` cannot be watched at present. Returns whether that is news.
    pub fn unavailable(&self, kind: Kind, why: Availability) -> bool {
        self.lock().availability.insert(kind, why.clone()) != Some(why)
    }

    /// What is known of `kind` as a whole.
    #[must_use]
    pub fn availability(&self, kind: Kind) -> Availability {
        self.lock()
            .availability
            .get(&kind)
            .cloned()
            .unwrap_or(Availability::Unknown)
    }

    /// The object of `part`.
    #[must_use]
    pub fn get(&self, part: &Part) -> Option<Arc<Value>> {
        let inner = self.lock();
        inner
            .entries
            .get(&(part.kind, part.namespace.clone(), part.name.clone()))?
            .object
            .clone()
    }

    /// Every object of `part`: the EndpointSlices of a Service, the Promotions of a Canary.
    #[must_use]
    pub fn group(&self, part: &Part) -> Vec<Arc<Value>> {
        let inner = self.lock();
        let Some(names) = inner.groups.get(part) else {
            return Vec::new();
        };
        let mut names: Vec<_> = names.iter().collect();
        names.sort();
        names
            .into_iter()
            .filter_map(|name| {
                inner
                    .entries
                    .get(&(part.kind, part.namespace.clone(), name.clone()))?
                    .object
                    .clone()
            })
            .collect()
    }

    /// Every object of `kind`, by namespace and name.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        let inner = self.lock();
        inner
            .entries
            .iter()
            .filter(|((of, _, _), _)| *of == kind)
            .filter_map(|(_, entry)| entry.object.clone())
            .collect()
    }

    /// Forgets that `part` is gone, unless it is there again.
    pub fn forget_gone(&self, part: &Part) {
        let mut inner = self.lock();
        let key = (part.kind, part.namespace.clone(), part.name.clone());
        if inner
            .entries
            .get(&key)
            .is_some_and(|entry| entry.object.is_none())
        {
            inner.drop_entry(&key, part);
        }
    }

    /// Forgets `part` altogether: nobody is concerned by it any more.
    pub fn forget(&self, part: &Part) {
        let mut inner = self.lock();
        inner.primed.remove(part);
        inner.doubted.remove(part);
        // A list that has passed it over does not tell that it is missing.
        if let Some(listing) = inner.listing.get_mut(&part.kind) {
            listing.concerned.retain(|concerned| concerned != part);
        }
        let names = inner.groups.remove(part).unwrap_or_default();
        let keys = names
            .into_iter()
            .map(|name| (part.kind, part.namespace.clone(), name));
        let gone: Vec<_> = keys
            .filter_map(|key| Some((inner.entries.remove(&key)?.version, key)))
            .collect();
        drop(inner);
        for (version, key) in gone {
            self.followers.tell(&key, version);
        }
    }
}
