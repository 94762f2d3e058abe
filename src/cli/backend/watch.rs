//! One object over a watch: every state of it, until it is gone. A watch that breaks is begun anew, and that is told.
//!
//! Invariant: whoever waits here is not left waiting for what cannot come, since the object went or may not be watched.

use anyhow::{Context as _, bail};
use futures::{TryStreamExt, stream::BoxStream};
use kube::{
    api::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};

use crate::{
    cli::{
        exit::{Exit, Failure},
        output::note,
    },
    reconcile::kinds::Kind,
};

/// An object that is watched.
pub(crate) struct Watched {
    events: BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>>,
    /// Kind and name.
    called: String,
    /// Whether the list that is under way had it.
    listed: bool,
}

impl Watched {
    /// The object of this name, which was there a moment ago.
    pub(super) fn new(client: &kube::Client, namespace: &str, kind: Kind, name: &str) -> Watched {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Watched {
            events: Box::pin(watcher(kind.api(client, namespace), only).default_backoff()),
            called: format!("{} {name}", kind.resource().kind),
            listed: false,
        }
    }

    /// The next state.
    pub(super) async fn next(&mut self) -> anyhow::Result<DynamicObject> {
        loop {
            let event = match self.events.try_next().await {
                Ok(event) => event.context("the watch ended")?,
                Err(error) => {
                    note(&format!("{}; the watch is begun anew", broken(&error)?));
                    continue;
                }
            };
            match event {
                watcher::Event::Init => self.listed = false,
                watcher::Event::InitApply(object) => {
                    self.listed = true;
                    return Ok(object);
                }
                watcher::Event::Apply(object) => return Ok(object),
                // It went while the watch was broken.
                watcher::Event::InitDone if self.listed => {}
                watcher::Event::InitDone | watcher::Event::Delete(_) => bail!("{} was deleted", self.called),
            }
        }
    }
}

/// Why a watch broke; an error if it is not allowed, which does not pass by waiting.
fn broken(error: &watcher::Error) -> anyhow::Result<String> {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) => {
            let text = format!("status {} of the API server: {}", status.code, status.message);
            if matches!(status.code, 401 | 403) {
                return Err(Failure::with(Exit::Error, text));
            }
            Ok(text)
        }
        watcher::Error::WatchError(status) => Ok(format!(
            "status {} of the API server: {}",
            status.code, status.message
        )),
        other => Ok(other.to_string()),
    }
}
