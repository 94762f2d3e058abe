//! Waiting for a condition, never for time.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// How often something is asked again that cannot be watched.
const PACE: Duration = Duration::from_millis(20);

/// Asks until the answer is there; the last refusal is part of the error.
pub async fn until<T, F>(what: &str, within: Duration, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let end = Instant::now() + within;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refusal = None;
    loop {
        pace.tick().await;
        match timeout_at(end, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if Instant::now() < end => refusal = Some(error),
            Ok(Err(error)) => return Err(error).with_context(|| late(what, within)),
            Err(_) => {
                return Err(refusal.unwrap_or_else(|| anyhow::anyhow!("no answer")))
                    .with_context(|| late(what, within));
            }
        }
    }
}

/// Watches one object until a condition holds, and returns it as it was then; `None` means that it is not there.
pub async fn watch_until<K, F>(
    api: Api<K>,
    name: &str,
    what: &str,
    within: Duration,
    mut met: F,
) -> Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + 'static,
    F: FnMut(Option<&K>) -> bool,
{
    let end = Instant::now() + within;
    let mut seen: Option<K> = None;
    // Starts over by itself when the API server goes away and comes back.
    let mut stream = Box::pin(watcher::watch_object(api, name).default_backoff());
    loop {
        match timeout_at(end, stream.next()).await {
            Ok(Some(Ok(object))) => {
                if met(object.as_ref()) {
                    return Ok(object);
                }
                seen = object;
            }
            Ok(Some(Err(_))) => {}
            Ok(None) => bail!("the watch of {name} ended"),
            Err(_) => bail!(
                "{}; {name} was last seen as {}",
                late(what, within),
                status_of(seen.as_ref())
            ),
        }
    }
}

/// Watches a whole kind in a namespace until a condition on all of its objects holds.
pub async fn watch_all_until<K, F>(api: Api<K>, what: &str, within: Duration, mut met: F) -> Result<Vec<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    F: FnMut(&[K]) -> bool,
{
    let end = Instant::now() + within;
    let mut stream = Box::pin(watcher::watcher(api, watcher::Config::default()).default_backoff());
    let mut all: Vec<K> = Vec::new();
    let mut complete = false;
    while let Ok(event) = timeout_at(end, stream.try_next()).await {
        let Ok(Some(event)) = event else { continue };
        match event {
            watcher::Event::Init => (all, complete) = (Vec::new(), false),
            watcher::Event::InitApply(object) => all.push(object),
            watcher::Event::InitDone => complete = true,
            watcher::Event::Apply(object) => {
                all.retain(|other| other.meta().uid != object.meta().uid);
                all.push(object);
            }
            watcher::Event::Delete(object) => all.retain(|other| other.meta().uid != object.meta().uid),
        }
        if complete && met(&all) {
            return Ok(all);
        }
    }
    let names: Vec<_> = all
        .iter()
        .filter_map(|object| object.meta().name.clone())
        .collect();
    bail!("{}; there are {names:?}", late(what, within))
}

fn late(what: &str, within: Duration) -> String {
    format!("not within {within:?}: {what}")
}

fn status_of<K: Serialize>(object: Option<&K>) -> String {
    let Some(object) = object else {
        return "absent".into();
    };
    let value = serde_json::to_value(object).unwrap_or_default();
    match value.get("status") {
        Some(Value::Null) | None => value.to_string(),
        Some(status) => status.to_string(),
    }
}
