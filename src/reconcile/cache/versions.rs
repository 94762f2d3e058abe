//! Which versions the API server told, by kind. They are opaque by contract and numbers in practice, and never fall but where etcd
//! was restored from a backup: a watch that goes on from a newer version is told nothing then, so somebody has to notice.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

use super::{Cache, How, Inner, part_of, version};
use crate::{reconcile::kinds::Kind, workload::text};

impl Inner {
    pub(super) fn heard(&mut self, kind: Kind, version: u64) {
        let newest = self.newest.entry(kind).or_default();
        *newest = (*newest).max(version);
    }
}

impl Cache {
    /// The API server told this version of `kind`, with an object or without.
    pub fn heard(&self, kind: Kind, version: &str) {
        self.lock().heard(kind, version.parse().unwrap_or(0));
    }

    /// The newest version of `kind` that the API server told: what it writes from now on is newer. 0 if there is none, or it is
    /// no number.
    #[must_use]
    pub fn newest(&self, kind: Kind) -> u64 {
        self.lock().newest.get(&kind).copied().unwrap_or(0)
    }

    /// Takes in the answer to a write that was sent when `known` was the newest version of `kind`: an older one is a sign that
    /// versions count on from a backup. Returns whether it is news.
    pub fn put_answer(&self, kind: Kind, object: Value, known: u64) -> bool {
        let written = version(&object);
        // A write that changes nothing is answered with the object as it was.
        let changed = self.version_of(kind, &object) != Some(written);
        if changed && (1..known).contains(&written) {
            self.suspect(kind);
        }
        self.take(kind, object, How::Watched)
    }

    fn version_of(&self, kind: Kind, object: &Value) -> Option<u64> {
        let namespace = part_of(kind, object).namespace;
        let key = (kind, namespace, text(object, "/metadata/name").to_owned());
        self.lock().entries.get(&key).map(|entry| entry.version)
    }

    /// Whether versions of `kind` still count on from where they were is to be looked at.
    pub fn suspect(&self, kind: Kind) {
        self.suspected(kind).notify_one();
    }

    /// Is told when `kind` is suspected.
    #[must_use]
    pub fn suspected(&self, kind: Kind) -> Arc<Notify> {
        self.lock().suspected.entry(kind).or_default().clone()
    }

    /// Versions of `kind` count on from an older one: whatever comes from now on is newer than what is known. Other kinds may
    /// be concerned as well.
    pub fn forget_versions(&self, kind: Kind) {
        let mut inner = self.lock();
        inner.newest.remove(&kind);
        for ((of, _, _), entry) in &mut inner.entries {
            if *of == kind {
                entry.version = 0;
            }
        }
        let others: Vec<Kind> = inner.newest.keys().copied().collect();
        drop(inner);
        for other in others {
            self.suspect(other);
        }
    }
}
