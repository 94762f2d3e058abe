//! Watches: changes after a version, line by line, as late as the faults want them.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::json;
use tokio::time::Instant;

use super::{
    ApiServer, Delivery, Inner, notice, refusal::Refusal, resources::Kind, selector::Selector, store::Change,
    store::Happened,
};

/// What a watch is about.
pub struct Wanted {
    /// Who watches.
    pub actor: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The namespace; all if absent.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
    /// Whether it wants to be told of versions without changes.
    pub bookmarks: bool,
}

struct Watch {
    server: ApiServer,
    changed: notice::Receiver,
    wanted: Wanted,
    version: u64,
    ends: Instant,
}

enum Next {
    Lines(Bytes, Delivery),
    Nothing,
    End,
    Gone(Bytes),
}

/// The changes after `version`, for so many seconds; from 0 on what is there comes first.
pub fn follow(
    server: &ApiServer,
    wanted: Wanted,
    version: u64,
    seconds: u64,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let watch = Watch {
        changed: server.changes(),
        server: server.clone(),
        wanted,
        version,
        ends: Instant::now() + Duration::from_secs(seconds),
    };
    stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        loop {
            watch.changed.mark_unchanged();
            match watch.look() {
                Next::Gone(line) => return Some((line, None)),
                Next::End => return None,
                Next::Lines(_, how) if how.close => return None,
                Next::Lines(lines, how) => {
                    tokio::time::sleep_until(Instant::now() + how.delay).await;
                    return Some((lines, Some(watch)));
                }
                Next::Nothing => {}
            }
            tokio::select! {
                biased;
                changed = watch.changed.changed() => changed.ok()?,
                () = tokio::time::sleep_until(watch.ends) => {
                    if !watch.wanted.bookmarks {
                        return None;
                    }
                    let line = watch.bookmark();
                    return Some((line, None));
                }
            }
        }
    })
}

impl Watch {
    fn look(&mut self) -> Next {
        let server = self.server.clone();
        let mut inner = server.lock();
        let store = &inner.writer.store;
        if inner.stopped || !store.serves(self.wanted.kind) {
            return Next::End;
        }
        if self.version == 0 {
            return self.begin(&mut inner);
        }
        if self.version < store.oldest() {
            let status = Refusal::expired(self.version, store.oldest()).status();
            return Next::Gone(line(&json!({"type": "ERROR", "object": status})));
        }
        let mut changes: Vec<Change> = Vec::new();
        for change in store.since(self.version) {
            if let Some(happened) = self.wanted.sees(change) {
                changes.push(Change {
                    happened,
                    ..change.clone()
                });
            }
        }
        // Whoever watches from a version that is not there yet is told of nothing before it (kubernetes#107457).
        self.version = self.version.max(store.version());
        if changes.is_empty() {
            return Next::Nothing;
        }
        let how = inner.faults.deliver(self.wanted.actor, self.wanted.kind);
        drop(inner);
        if how.merge {
            changes = merged(changes);
        }
        let mut lines = Vec::new();
        for change in changes {
            let event = json!({"type": change.happened.word(), "object": &*change.object});
            for _ in 0..=usize::from(how.repeat) {
                lines.extend_from_slice(&line(&event));
            }
        }
        Next::Lines(lines.into(), how)
    }

    /// Without a version to go on from: what is there.
    fn begin(&mut self, inner: &mut Inner) -> Next {
        let store = &inner.writer.store;
        let mut lines = Vec::new();
        for (_, object) in store.list(self.wanted.kind, self.wanted.namespace.as_deref()) {
            if self.wanted.selector.selects(object) {
                lines.extend_from_slice(&line(&json!({"type": "ADDED", "object": **object})));
            }
        }
        self.version = store.version();
        if lines.is_empty() {
            return Next::Nothing;
        }
        let how = inner.faults.deliver(self.wanted.actor, self.wanted.kind);
        Next::Lines(lines.into(), how)
    }

    fn bookmark(&self) -> Bytes {
        let resource = self.wanted.kind.resource();
        let metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        line(&json!({"type": "BOOKMARK", "object": {
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata,
        }}))
    }
}

/// Of several modifications of one object in a row only the last.
fn merged(changes: Vec<Change>) -> Vec<Change> {
    let mut kept: Vec<Change> = Vec::new();
    for change in changes {
        let last = kept.iter_mut().rfind(|kept| kept.key == change.key);
        match last {
            Some(last) if last.happened != Happened::Deleted && change.happened == Happened::Modified => {
                last.version = change.version;
                last.object = change.object;
            }
            _ => kept.push(change),
        }
    }
    kept
}

impl Wanted {
    /// What a change means to this watch: an object that begins to be selected is added, one that is no longer selected
    /// is deleted.
    fn sees(&self, change: &Change) -> Option<Happened> {
        let key = &change.key;
        if key.kind != self.kind || self.namespace.as_ref().is_some_and(|n| *n != key.namespace) {
            return None;
        }
        let was = change.before.as_ref().is_some_and(|b| self.selector.selects(b));
        let is = change.happened != Happened::Deleted && self.selector.selects(&change.object);
        match (was, is) {
            (false, false) => None,
            (false, true) => Some(Happened::Added),
            (true, true) => Some(Happened::Modified),
            (true, false) => Some(Happened::Deleted),
        }
    }
}

fn line(event: &serde_json::Value) -> Bytes {
    let mut line = event.to_string().into_bytes();
    line.push(b'\n');
    line.into()
}
