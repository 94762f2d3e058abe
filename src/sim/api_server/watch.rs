//! Watches: changes after a version, line by line, as late as the faults want them.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::json;
use tokio::{sync::watch as notice, time::Instant};

use super::{
    ApiServer, Delivery,
    refusal::Refusal,
    resources::Kind,
    store::{Change, Happened},
};

struct Watch {
    server: ApiServer,
    actor: &'static str,
    changed: notice::Receiver<u64>,
    kind: Kind,
    namespace: Option<String>,
    version: u64,
    ends: Instant,
}

enum Next {
    Lines(Bytes, Delivery),
    Nothing,
    Gone(Bytes),
}

/// The changes of a kind after `version`, for so many seconds.
pub fn follow(
    server: &ApiServer,
    actor: &'static str,
    (kind, namespace): (Kind, Option<String>),
    version: u64,
    seconds: u64,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let watch = Watch {
        changed: server.changes(),
        server: server.clone(),
        actor,
        kind,
        namespace,
        version,
        ends: Instant::now() + Duration::from_secs(seconds),
    };
    stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        loop {
            watch.changed.mark_unchanged();
            match watch.look() {
                Next::Gone(line) => return Some((line, None)),
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
                    let line = watch.bookmark();
                    return Some((line, None));
                }
            }
        }
    })
}

impl Watch {
    fn look(&mut self) -> Next {
        let mut inner = self.server.lock();
        let store = &inner.writer.store;
        if self.version < store.oldest() {
            let status = Refusal::expired(self.version, store.oldest()).status();
            return Next::Gone(line(&json!({"type": "ERROR", "object": status})));
        }
        let wanted = |change: &&Change| {
            change.key.kind == self.kind && self.namespace.as_ref().is_none_or(|n| *n == change.key.namespace)
        };
        let mut changes: Vec<Change> = store.since(self.version).filter(wanted).cloned().collect();
        self.version = store.version();
        if changes.is_empty() {
            return Next::Nothing;
        }
        let how = inner.faults.deliver(self.actor, self.kind);
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

    fn bookmark(&self) -> Bytes {
        let resource = self.kind.resource();
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

fn line(event: &serde_json::Value) -> Bytes {
    let mut line = event.to_string().into_bytes();
    line.push(b'\n');
    line.into()
}
