//! Which Canary is concerned by which object. Filled before the first observation, so that a change wakes exactly
//! the Canaries concerned, and nobody else's objects are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
};

use super::{
    kinds::Kind,
    mesh::{Mesh, Touched},
};
use crate::rollout::CanaryId;

/// Kind, namespace and name of an object, or the name that it is known by ([`Kind::known_by`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

#[derive(Default)]
struct Inner {
    by_part: BTreeMap<Part, BTreeSet<CanaryId>>,
    by_canary: BTreeMap<CanaryId, BTreeSet<Part>>,
}

/// The index.
#[derive(Default)]
pub struct Index {
    inner: RwLock<Inner>,
    /// What names the Services of a Canary by its hosts.
    pub mesh: Mesh,
}

impl Index {
    /// Sets what `id` is concerned by; returns the parts that nobody is concerned by any more.
    pub fn set(&self, id: &CanaryId, parts: BTreeSet<Part>) -> Vec<Part> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for part in &parts {
            inner.by_part.entry(part.clone()).or_default().insert(id.clone());
        }
        let old = inner.by_canary.remove(id).unwrap_or_default();
        let gone: Vec<Part> = old.difference(&parts).cloned().collect();
        inner.by_canary.insert(id.clone(), parts);
        for part in &gone {
            inner.unlink(part, id);
        }
        gone.into_iter()
            .filter(|part| !inner.by_part.contains_key(part))
            .collect()
    }

    /// Notes that `part` concerns those to whom the `touched` Services belong, until they are set anew; returns them.
    pub fn join(&self, part: &Part, touched: &Touched) -> BTreeSet<CanaryId> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let service = |(namespace, name): &(String, String)| Part {
            kind: Kind::Service,
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let of = |place: &Part| inner.by_part.get(place).into_iter().flatten().cloned();
        let ids: BTreeSet<CanaryId> = match touched.services() {
            Some(services) => services
                .iter()
                .map(service)
                .flat_map(|place| of(&place).collect::<Vec<_>>())
                .collect(),
            None => {
                let services = inner.by_part.keys().filter(|place| place.kind == Kind::Service);
                services
                    .filter(|place| touched.covers(place))
                    .flat_map(of)
                    .collect()
            }
        };
        for id in &ids {
            inner.by_part.entry(part.clone()).or_default().insert(id.clone());
            inner
                .by_canary
                .entry(id.clone())
                .or_default()
                .insert(part.clone());
        }
        ids
    }

    /// Forgets `id`; returns the parts that nobody is concerned by any more.
    pub fn remove(&self, id: &CanaryId) -> Vec<Part> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let old = inner.by_canary.remove(id).unwrap_or_default();
        for part in &old {
            inner.unlink(part, id);
        }
        old.into_iter()
            .filter(|part| !inner.by_part.contains_key(part))
            .collect()
    }

    /// The Canaries concerned by `part`.
    #[must_use]
    pub fn concerned(&self, part: &Part) -> Vec<CanaryId> {
        if part.kind.names_canary() {
            return vec![CanaryId {
                namespace: part.namespace.clone(),
                name: part.name.clone(),
            }];
        }
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .by_part
            .get(part)
            .map(|ids| ids.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// How many Canaries there are.
    #[must_use]
    pub fn canaries(&self) -> usize {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.by_canary.len()
    }

    /// The other Canaries that share an object with `id` that only one of them can have; a freeze or a DestinationRule may
    /// concern many.
    #[must_use]
    pub fn neighbours(&self, id: &CanaryId) -> BTreeSet<CanaryId> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let parts = inner.by_canary.get(id).into_iter().flatten();
        let common = [
            Kind::Freeze,
            Kind::ClusterFreeze,
            Kind::DestinationRule,
            Kind::MeshRule,
        ];
        parts
            .filter(|part| !common.contains(&part.kind))
            .filter_map(|part| inner.by_part.get(part))
            .flatten()
            .filter(|other| *other != id)
            .cloned()
            .collect()
    }

    /// Every part of this kind that anybody is concerned by.
    #[must_use]
    pub fn parts(&self, kind: Kind) -> Vec<Part> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner
            .by_part
            .keys()
            .filter(|part| part.kind == kind)
            .cloned()
            .collect()
    }
}

impl Inner {
    fn unlink(&mut self, part: &Part, id: &CanaryId) {
        if let Some(ids) = self.by_part.get_mut(part) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_part.remove(part);
            }
        }
    }
}
