//! The objects of one kind: first those that are there, and then every change. As the client library's watcher, but for one thing:
//! that one does not tell which version it goes on from, so that nobody could notice that versions begin anew.
//!
//! They do where etcd is restored from a backup and its revision is not raised. A watch that goes on from a version that is not
//! there yet is told nothing until that is passed, and not 410 (kubernetes#107457). So where a watch breaks off, one object is
//! listed before it goes on, and all of them if the list is older than what was known. A watch that ended in its time goes on
//! without: its server was there until then.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use kube::{
    api::{Api, DynamicObject, ListParams, WatchEvent, WatchParams},
    runtime::watcher::{Error, Event, Result},
};
use tokio::time::{Instant, sleep};

use crate::reconcile::{Context, kinds::Kind};

/// How long a watch lasts, as the API server is asked; it is what the client library asks for.
const LASTS: u32 = 290;
/// How much later or sooner its end may be seen.
const TOLERANCE: Duration = Duration::from_secs(5);
/// Objects of one page of a list.
const PAGE: u32 = 500;

type Line = kube::Result<WatchEvent<DynamicObject>>;
/// An event, if a step leads to one, and what is to be done next.
type Step = (Option<Result<Event<DynamicObject>>>, State);

enum State {
    /// What is there is not known.
    Unlisted,
    /// Objects of a page that are still to be told, where the next page begins, and the version of the list.
    Listing {
        objects: VecDeque<DynamicObject>,
        rest: Option<String>,
        version: Option<String>,
    },
    /// All is known up to `version`; whether it is sure that the API server counts on from there.
    Listed { version: String, sure: bool },
    /// Changes come.
    Watching {
        version: String,
        since: Instant,
        lines: BoxStream<'static, Line>,
    },
}

struct Source {
    ctx: Arc<Context>,
    kind: Kind,
    api: Api<DynamicObject>,
}

/// Every object of `kind` and every change, for ever; whoever polls again after an error tries again.
pub(super) fn events(
    ctx: Arc<Context>,
    kind: Kind,
) -> impl Stream<Item = Result<Event<DynamicObject>>> + Send {
    let api = kind.watched(&ctx.client, ctx.settings.namespace.as_deref());
    let source = Source { ctx, kind, api };
    stream::unfold((source, State::Unlisted), |(source, mut state)| async move {
        loop {
            let (event, next) = source.step(state).await;
            state = next;
            if let Some(event) = event {
                return Some((event, (source, state)));
            }
        }
    })
}

impl Source {
    async fn step(&self, state: State) -> Step {
        match state {
            State::Unlisted => {
                let first = State::Listing {
                    objects: VecDeque::new(),
                    rest: None,
                    version: None,
                };
                (Some(Ok(Event::Init)), first)
            }
            State::Listing {
                mut objects,
                rest,
                version,
            } => match (objects.pop_front(), rest, version) {
                (Some(object), rest, version) => {
                    let more = State::Listing {
                        objects,
                        rest,
                        version,
                    };
                    (Some(Ok(Event::InitApply(object))), more)
                }
                (None, None, Some(version)) => {
                    (Some(Ok(Event::InitDone)), State::Listed { version, sure: true })
                }
                (None, rest, _) => self.page(rest).await,
            },
            State::Listed { version, sure: true } => self.begin(version).await,
            State::Listed { version, .. } => match self.counts_anew().await {
                Ok(true) => (None, State::Unlisted),
                Ok(false) => (None, State::Listed { version, sure: true }),
                Err(error) => {
                    let unsure = State::Listed { version, sure: false };
                    (Some(Err(Error::WatchStartFailed(error))), unsure)
                }
            },
            State::Watching {
                version,
                since,
                lines,
            } => self.follow(version, since, lines).await,
        }
    }

    /// Asks for one page of the list.
    async fn page(&self, after: Option<String>) -> Step {
        let known = self.ctx.cache.newest(self.kind);
        let first = after.is_none();
        let asked = ListParams {
            limit: Some(PAGE),
            continue_token: after,
            ..ListParams::default()
        };
        let list = match self.api.list(&asked).await {
            Ok(list) => list,
            Err(error) => return (Some(Err(Error::InitialListFailed(error))), State::Unlisted),
        };
        let version = list
            .metadata
            .resource_version
            .filter(|version| !version.is_empty());
        let rest = list.metadata.continue_.filter(|rest| !rest.is_empty());
        if version.is_none() && rest.is_none() {
            return (Some(Err(Error::NoResourceVersion)), State::Unlisted);
        }
        // The other pages are as old as the first.
        if first && let Some(version) = &version {
            self.look_at(version, known);
            self.ctx.cache.heard(self.kind, version);
        }
        let page = State::Listing {
            objects: list.items.into(),
            rest,
            version,
        };
        (None, page)
    }

    async fn begin(&self, version: String) -> Step {
        let asked = WatchParams {
            timeout: Some(LASTS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let since = Instant::now();
        match self.api.watch(&asked, &version).await {
            Ok(lines) => {
                let watching = State::Watching {
                    version,
                    since,
                    lines: lines.boxed(),
                };
                (None, watching)
            }
            Err(error) => {
                let expired = matches!(&error, kube::Error::Api(status) if status.code == 410);
                let next = if expired {
                    State::Unlisted
                } else {
                    State::Listed { version, sure: false }
                };
                (Some(Err(Error::WatchStartFailed(error))), next)
            }
        }
    }

    /// Waits for the next line of the watch.
    async fn follow(&self, version: String, since: Instant, mut lines: BoxStream<'static, Line>) -> Step {
        let suspected = self.ctx.cache.suspected(self.kind);
        let lasts = Duration::from_secs(LASTS.into());
        let line = tokio::select! {
            biased;
            line = lines.next() => line,
            () = suspected.notified() => {
                // If it cannot be asked, its watches break off as well.
                let anew = self.counts_anew().await.unwrap_or(false);
                let next = if anew { State::Unlisted } else { State::Watching { version, since, lines } };
                return (None, next);
            }
            // The end of a connection may not reach us.
            () = sleep(lasts + TOLERANCE) => return (None, State::Listed { version, sure: false }),
        };
        match line {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                self.changed(Event::Apply, object, since, lines)
            }
            Some(Ok(WatchEvent::Deleted(object))) => self.changed(Event::Delete, object, since, lines),
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                let version = mark.metadata.resource_version;
                self.ctx.cache.heard(self.kind, &version);
                let watching = State::Watching {
                    version,
                    since,
                    lines,
                };
                (None, watching)
            }
            Some(Ok(WatchEvent::Error(status))) => {
                let next = if status.code == 410 {
                    State::Unlisted
                } else {
                    State::Watching {
                        version,
                        since,
                        lines,
                    }
                };
                (Some(Err(Error::WatchError(status.boxed()))), next)
            }
            // What ends after this does not end in its time. There may be more to come: not every line can be read.
            Some(Err(error)) => {
                let watching = State::Watching {
                    version,
                    since: Instant::now(),
                    lines,
                };
                (Some(Err(Error::WatchFailed(error))), watching)
            }
            None => {
                let sure = since.elapsed() + TOLERANCE >= lasts;
                (None, State::Listed { version, sure })
            }
        }
    }

    fn changed(
        &self,
        event: fn(DynamicObject) -> Event<DynamicObject>,
        object: DynamicObject,
        since: Instant,
        lines: BoxStream<'static, Line>,
    ) -> Step {
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        if version.is_empty() {
            return (Some(Err(Error::NoResourceVersion)), State::Unlisted);
        }
        self.ctx.cache.heard(self.kind, &version);
        let watching = State::Watching {
            version,
            since,
            lines,
        };
        (Some(Ok(event(object))), watching)
    }

    /// Whether the API server counts on from an older version than was known.
    async fn counts_anew(&self) -> kube::Result<bool> {
        let known = self.ctx.cache.newest(self.kind);
        let list = self.api.list(&ListParams::default().limit(1)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        Ok(self.look_at(&version, known))
    }

    /// Looks at the version of a list that was asked for when `known` was the newest one. Returns whether versions count anew.
    fn look_at(&self, version: &str, known: u64) -> bool {
        let anew = version.parse::<u64>().is_ok_and(|version| version < known);
        if anew {
            let kind = self.kind;
            tracing::warn!(
                ?kind,
                version,
                known,
                "versions count anew: etcd was restored from a backup, and all is listed again"
            );
            self.ctx.cache.forget_versions(kind);
        }
        anew
    }
}
