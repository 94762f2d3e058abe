//! Watches: changes after a version, line by line, as late as the faults want them.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::json;
use tokio::{sync::watch as notice, time::Instant};

use super::{
    ApiServer, Inner, refusal::Refusal, resources::Kind, selector::Selector, store::Change, store::Happened,
};

/// What a watch is about.
pub struct Wanted {
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
    changed: notice::Receiver<u64>,
    wanted: Wanted,
    version: u64,
    ends: Instant,
}

enum Next {
    Lines(Bytes, Option<Duration>),
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
                Next::End | Next::Lines(_, None) => return None,
                Next::Lines(lines, Some(delay)) => {
                    tokio::time::sleep_until(Instant::now() + delay).await;
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
        let mut lines = Vec::new();
        for change in store.since(self.version) {
            if let Some(happened) = self.wanted.sees(change) {
                let event = json!({"type": happened.word(), "object": &*change.object});
                lines.extend_from_slice(&line(&event));
            }
        }
        self.version = store.version();
        if lines.is_empty() {
            return Next::Nothing;
        }
        Next::Lines(lines.into(), inner.faults.event_delay(self.wanted.kind))
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
        Next::Lines(lines.into(), inner.faults.event_delay(self.wanted.kind))
    }

    fn bookmark(&self) -> Bytes {
        let resource = self.wanted.kind.resource();
        let metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        line(&json!({"type": "BOOKMARK", "object": {
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata,
        }}))
    }
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
