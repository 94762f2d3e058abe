//! The store: every object with its version, and the log of changes that watches read.
//!
//! Invariant: versions rise by one with every change, over all kinds; the log holds the changes since `compacted`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

use serde_json::Value;

use super::resources::Kind;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Key {
        Key {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone; the object is its last state.
    Deleted,
}

impl Happened {
    /// The word in a watch event.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Happened::Added => "ADDED",
            Happened::Modified => "MODIFIED",
            Happened::Deleted => "DELETED",
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version that it made.
    pub version: u64,
    /// The object.
    pub key: Key,
    /// What happened.
    pub happened: Happened,
    /// The object after the change, or its last state.
    pub object: Arc<Value>,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// Who did it.
    pub actor: &'static str,
}

/// The store.
#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
    version: u64,
    /// The version of the latest change of what proxies are told.
    routed: u64,
    compacted: u64,
    missing: BTreeSet<Kind>,
}

/// Changes that are remembered for watches.
const REMEMBERED: usize = 5000;

impl Store {
    /// The latest version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version of the latest change of what proxies are told.
    #[must_use]
    pub fn routed(&self) -> u64 {
        self.routed
    }

    /// The oldest version from which a watch can go on.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.compacted
    }

    /// Forgets all changes so far: watches that are behind must list again.
    pub fn compact(&mut self) {
        self.log.clear();
        self.compacted = self.version;
    }

    /// Others write so many objects that nobody looks at.
    pub fn skip(&mut self, versions: u64) {
        self.version += versions;
    }

    /// Counts on from so many versions before, as etcd that is restored from a backup.
    pub fn rewind(&mut self, versions: u64) {
        self.version -= versions;
        self.compact();
    }

    /// Whether the kind is served.
    #[must_use]
    pub fn serves(&self, kind: Kind) -> bool {
        !self.missing.contains(&kind)
    }

    /// Serves the kind, or does not.
    pub fn set_served(&mut self, kind: Kind, served: bool) {
        if served {
            self.missing.remove(&kind);
        } else {
            self.missing.insert(kind);
        }
    }

    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a kind in order, in one namespace or all.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key::new(kind, namespace.unwrap_or_default(), "");
        self.objects
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && namespace.is_none_or(|n| key.namespace == n))
    }

    /// Every object.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Puts an object in under the next version, which it must not carry yet.
    pub fn put(&mut self, key: Key, mut object: Value, actor: &'static str) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), object.clone());
        let happened = if before.is_some() {
            Happened::Modified
        } else {
            Happened::Added
        };
        self.note(key, happened, object.clone(), before, actor);
        object
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key, actor: &'static str) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&before);
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        let last = Arc::new(last);
        self.note(key.clone(), Happened::Deleted, last.clone(), Some(before), actor);
        Some(last)
    }

    /// The changes after `version`, oldest first.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Change> {
        let skip = self.log.partition_point(|change| change.version <= version);
        self.log.iter().skip(skip)
    }

    fn note(
        &mut self,
        key: Key,
        happened: Happened,
        object: Arc<Value>,
        before: Option<Arc<Value>>,
        actor: &'static str,
    ) {
        let routes = [
            Kind::VIRTUAL_SERVICE,
            Kind::DESTINATION_RULE,
            Kind::SERVICE,
            Kind::ENDPOINT_SLICE,
        ];
        if routes.contains(&key.kind) {
            self.routed = self.version;
        }
        tracing::trace!(
            version = self.version, actor, kind = key.kind.resource().kind, namespace = %key.namespace, name = %key.name,
            ?happened, spec = %object["spec"], "written"
        );
        self.log.push_back(Change {
            version: self.version,
            key,
            happened,
            object,
            before,
            actor,
        });
        while self.log.len() > REMEMBERED {
            if let Some(change) = self.log.pop_front() {
                self.compacted = change.version;
            }
        }
    }
}
