//! Watches: changes after a version, line by line, as late as the faults want them.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use serde_json::json;
use tokio::{sync::watch as notice, time::Instant};

use super::{ApiServer, refusal::Refusal, resources::Kind};

struct Watch {
    server: ApiServer,
    changed: notice::Receiver<u64>,
    kind: Kind,
    namespace: Option<String>,
    version: u64,
    ends: Instant,
}

enum Next {
    Lines(Bytes, Option<Duration>),
    Nothing,
    Gone(Bytes),
}

/// The changes of a kind after `version`, for so many seconds.
pub fn follow(
    server: &ApiServer,
    kind: Kind,
    namespace: Option<String>,
    version: u64,
    seconds: u64,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let watch = Watch {
        changed: server.changes(),
        server: server.clone(),
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
                Next::Lines(_, None) => return None,
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
        let mut lines = Vec::new();
        for change in store.since(self.version) {
            let wanted = change.key.kind == self.kind
                && self.namespace.as_ref().is_none_or(|n| *n == change.key.namespace);
            if wanted {
                let event = json!({"type": change.happened.word(), "object": &*change.object});
                lines.extend_from_slice(&line(&event));
            }
        }
        self.version = store.version();
        if lines.is_empty() {
            return Next::Nothing;
        }
        Next::Lines(lines.into(), inner.faults.event_delay(self.kind))
    }

    fn bookmark(&self) -> Bytes {
        let resource = self.kind.resource();
        let metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        line(&json!({"type": "BOOKMARK", "object": {
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": metadata,
        }}))
    }
}

fn line(event: &serde_json::Value) -> Bytes {
    let mut line = event.to_string().into_bytes();
    line.push(b'\n');
    line.into()
}
