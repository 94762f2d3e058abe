//! Watches: what comes, in which order, and when it must begin anew.

use std::pin::pin;

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Ground, Probe, SOON, lease, verdict, version};
use crate::objects::Kind;

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new(
            "watch-from-a-version",
            from_a_version,
            json!({
                "events": ["ADDED watched", "MODIFIED watched", "MODIFIED watched", "DELETED watched"],
                "versions rise": true, "a no-op is silent": true,
            }),
        ),
        Probe::new(
            "watch-by-label",
            by_label,
            json!([
                "ADDED labelled",
                "MODIFIED labelled",
                "DELETED labelled",
                "ADDED labelled",
                "DELETED labelled"
            ]),
        ),
        Probe::new("watch-from-any", from_any, json!(["ADDED seen", "MODIFIED seen"])),
        Probe::new(
            "bookmarks",
            bookmarks,
            json!({"wanted": ["BOOKMARK"], "unwanted": [], "goes on from it": ["ADDED after"]}),
        ),
    ]
}

/// What is made after the server was started again: it does not know what changed before.
pub(super) fn after_restart() -> Vec<Probe> {
    vec![Probe::new("watch-too-old", too_old, json!("410 Expired"))]
}

/// A watch of one name; type and name of what comes until `count` came or it ends.
async fn follow(
    ground: &Ground,
    params: &WatchParams,
    from: &str,
    count: usize,
) -> Result<Vec<(String, String)>> {
    let api = ground.api(Kind::Lease);
    let mut stream = pin!(api.watch(params, from).await?);
    let mut seen = Vec::new();
    while seen.len() < count {
        let Some(event) = timeout(SOON, stream.next()).await? else {
            break;
        };
        let (word, object): (&str, DynamicObject) = match event? {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark(mark) => {
                seen.push(("BOOKMARK".to_owned(), mark.metadata.resource_version));
                continue;
            }
            WatchEvent::Error(status) => bail!("{} {}", status.code, status.reason),
        };
        seen.push((format!("{word} {}", object.name_any()), version(&object)));
    }
    Ok(seen)
}

fn words(events: &[(String, String)]) -> Vec<&str> {
    events.iter().map(|(word, _)| word.as_str()).collect()
}

fn of(name: &str) -> WatchParams {
    WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .disable_bookmarks()
}

async fn now(ground: &Ground) -> Result<String> {
    let list = ground.api(Kind::Lease).list(&ListParams::default()).await?;
    Ok(list.metadata.resource_version.unwrap_or_default())
}

async fn hold(ground: &Ground, name: &str, holder: &str) -> Result<()> {
    let change = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
    let api = ground.api(Kind::Lease);
    Ok(api
        .patch(name, &PatchParams::default(), &change)
        .await
        .map(drop)?)
}

async fn from_a_version(ground: Ground) -> Result<Value> {
    let from = now(&ground).await?;
    ground.create(Kind::Lease, lease("watched")).await?;
    hold(&ground, "watched", "one").await?;
    hold(&ground, "watched", "one").await?;
    hold(&ground, "watched", "two").await?;
    ground
        .api(Kind::Lease)
        .delete("watched", &Default::default())
        .await?;
    let events = follow(&ground, &of("watched"), &from, 4).await?;
    let versions: Vec<u64> = events
        .iter()
        .map(|(_, version)| version.parse().unwrap_or_default())
        .collect();
    Ok(json!({
        "events": words(&events),
        "versions rise": versions.windows(2).all(|pair| pair[0] < pair[1]),
        "a no-op is silent": events.len() == 4,
    }))
}

/// What begins to be selected is added, what is no longer selected is deleted.
async fn by_label(ground: Ground) -> Result<Value> {
    let from = now(&ground).await?;
    let api = ground.api(Kind::Lease);
    ground.create(Kind::Lease, lease("labelled")).await?;
    let label = async |value: Value| {
        let change = Patch::Merge(json!({"metadata": {"labels": {"watched": value}}}));
        api.patch("labelled", &PatchParams::default(), &change).await
    };
    label(json!("yes")).await?;
    hold(&ground, "labelled", "one").await?;
    label(json!("no")).await?;
    hold(&ground, "labelled", "two").await?;
    label(json!("yes")).await?;
    api.delete("labelled", &Default::default()).await?;
    let params = WatchParams::default().labels("watched=yes").disable_bookmarks();
    Ok(json!(words(&follow(&ground, &params, &from, 5).await?)))
}

/// From version 0: first what is there.
async fn from_any(ground: Ground) -> Result<Value> {
    ground.create(Kind::Lease, lease("seen")).await?;
    hold(&ground, "seen", "one").await?;
    let params = of("seen");
    let first = follow(&ground, &params, "0", 1);
    let (first, changed) = futures::join!(first, async {
        let there = ground.api(Kind::Lease).get("seen").await?;
        hold(&ground, "seen", "two").await?;
        anyhow::Ok(version(&there))
    });
    let (mut events, from) = (first?, changed?);
    events.extend(follow(&ground, &of("seen"), &from, 1).await?);
    Ok(json!(words(&events)))
}

async fn too_old(ground: Ground) -> Result<Value> {
    let api = ground.api(Kind::Lease);
    let stream = match api.watch(&WatchParams::default(), "1").await {
        Ok(stream) => stream,
        Err(error) => return Ok(verdict::<()>(Err(error))),
    };
    match timeout(SOON, pin!(stream).try_next()).await? {
        Ok(Some(WatchEvent::Error(status))) => Ok(json!(format!("{} {}", status.code, status.reason))),
        Ok(event) => bail!("not an error: {event:?}"),
        Err(error) => Ok(verdict::<()>(Err(error))),
    }
}

async fn bookmarks(ground: Ground) -> Result<Value> {
    let from = now(&ground).await?;
    let of_one = WatchParams::default().fields("metadata.name=after");
    let mut params = of_one.timeout(5);
    // They come before the watch ends; the real server promises none: a busy one leaves them out, or sends two.
    let mut wanted = Vec::new();
    for _ in 0..6 {
        wanted = follow(&ground, &params, &from, usize::MAX).await?;
        if !wanted.is_empty() {
            break;
        }
    }
    params.bookmarks = false;
    let unwanted = follow(&ground, &params, &from, usize::MAX).await?;
    ground.create(Kind::Lease, lease("after")).await?;
    let mark = wanted
        .first()
        .map(|(_, version)| version.clone())
        .unwrap_or_default();
    let after = follow(&ground, &of("after"), &mark, 1).await?;
    let mut wanted = words(&wanted);
    wanted.dedup();
    Ok(json!({"wanted": wanted, "unwanted": words(&unwanted), "goes on from it": words(&after)}))
}
