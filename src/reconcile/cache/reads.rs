//! Lists of whole kinds and reads of single parts, beside which watches go on: what neither names is gone, and what is removed
//! meanwhile does not come back with the answer.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Availability, Cache, How, part_of, version};
use crate::{
    defect::{Defect, planted},
    reconcile::{index::Part, kinds::Kind},
    workload::text,
};

/// A read under way.
#[derive(Default)]
pub(super) struct Reading {
    /// Names and versions that were known when it began.
    pub(super) known: HashMap<String, u64>,
    /// What was removed meanwhile.
    pub(super) removed: HashMap<String, u64>,
}

/// A list under way.
pub(super) struct Listing {
    /// Namespaces and names that it has named so far.
    pub(super) named: HashSet<(String, String)>,
    /// Parts somebody was concerned by when it began: what it does not name of them is missing.
    pub(super) concerned: Vec<Part>,
    /// Versions that were known when it began, by namespace and name: it is newer than they are.
    pub(super) known: HashMap<(String, String), u64>,
}

impl Cache {
    /// A list of `kind` begins; what it does not name is gone. Parts that nobody was `concerned` by at its beginning
    /// may have been passed over.
    pub fn begin_list(&self, kind: Kind, concerned: Vec<Part>) {
        let mut inner = self.lock();
        let of_kind = inner.entries.iter().filter(|((of, _, _), _)| *of == kind);
        let known = of_kind
            .map(|((_, namespace, name), entry)| ((namespace.clone(), name.clone()), entry.version))
            .collect();
        let listing = Listing {
            named: HashSet::new(),
            concerned,
            known,
        };
        inner.listing.insert(kind, listing);
    }

    /// The list is complete. Returns the parts of objects that are gone.
    pub fn end_list(&self, kind: Kind) -> Vec<Part> {
        let mut inner = self.lock();
        let Some(Listing {
            named: listed,
            concerned,
            ..
        }) = inner.listing.remove(&kind)
        else {
            return Vec::new();
        };
        let mut gone = Vec::new();
        let mut told = Vec::new();
        for (key, entry) in &mut inner.entries {
            let (of, namespace, name) = key;
            let named = *of != kind || listed.contains(&(namespace.clone(), name.clone()));
            if !named && !planted(Defect::KeepsWhatIsGone) && entry.object.take().is_some() {
                gone.push(entry.part.clone());
                told.push((key.clone(), entry.version));
            }
        }
        inner.primed.extend(concerned);
        inner.availability.insert(kind, Availability::Ready);
        drop(inner);
        for (key, version) in told {
            self.followers.tell(&key, version);
        }
        gone
    }

    /// Whether a missing object of `part` is known to be missing.
    #[must_use]
    pub fn primed(&self, part: &Part) -> bool {
        part.kind.names_canary() || self.lock().primed.contains(part)
    }

    /// An object of `part` came by its watch, which keeps it from now on.
    pub fn watched(&self, part: &Part) {
        self.lock().primed.insert(part.clone());
    }

    /// `part` is about to be read: what is removed of it meanwhile must not come back with the answer.
    pub fn begin_read(&self, part: &Part) {
        let mut inner = self.lock();
        let names = inner.groups.get(part).cloned().unwrap_or_default();
        let known = names.into_iter().filter_map(|name| {
            let key = (part.kind, part.namespace.clone(), name);
            let version = inner.entries.get(&key)?.version;
            Some((key.2, version))
        });
        let known = known.collect();
        let removed = HashMap::new();
        inner.reading.insert(part.clone(), Reading { known, removed });
    }

    /// A write that was decided on `part` as it is known was refused: it is read once before the next decision, because
    /// its watch may be long in coming.
    pub fn doubt(&self, part: Part) {
        self.lock().doubted.insert(part);
    }

    /// Whether `part` must be read before the next decision.
    #[must_use]
    pub fn doubted(&self, part: &Part) -> bool {
        self.lock().doubted.contains(part)
    }

    /// `part` was read once, or could not be (`None`); from now on the watch keeps it.
    pub fn end_read(&self, part: &Part, found: Option<Vec<Value>>) {
        let reading = self.lock().reading.remove(part).unwrap_or_default();
        let Some(found) = found else { return };
        // A group is read with its whole namespace; of what is others' nothing is known to be still there.
        let found: Vec<Value> = found
            .into_iter()
            .filter(|object| part_of(part.kind, object) == *part)
            .collect();
        let there: HashSet<&str> = found
            .iter()
            .map(|object| text(object, "/metadata/name"))
            .collect();
        let gone = reading.known.iter();
        for (name, version) in gone.filter(|(name, _)| !there.contains(name.as_str())) {
            self.forget_read(part, name, *version);
        }
        for object in found {
            let name = text(&object, "/metadata/name");
            let (gone, known) = (reading.removed.get(name), reading.known.get(name));
            if gone.is_none_or(|gone| *gone < version(&object)) {
                self.take(part.kind, object, How::Listed(known.copied()));
            }
        }
        let mut inner = self.lock();
        inner.doubted.remove(part);
        if !part.kind.names_canary() {
            inner.primed.insert(part.clone());
        }
    }

    /// An object of `part` was not among what was read: what was known of it before the read is gone.
    fn forget_read(&self, part: &Part, name: &str, known: u64) {
        let mut inner = self.lock();
        let key = (part.kind, part.namespace.clone(), name.to_owned());
        let Some(entry) = inner.entries.get_mut(&key).filter(|entry| entry.version == known) else {
            return;
        };
        entry.object = None;
        if part.kind.known_by().is_some() {
            inner.drop_entry(&key, part);
        }
        drop(inner);
        self.followers.tell(&key, known);
    }
}
