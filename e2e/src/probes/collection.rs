//! Lists: in pages, by labels, with a version to go on from.

use anyhow::Result;
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams, ObjectList};
use serde_json::{Value, json};

use super::{Ground, Probe, lease, verdict};
use crate::objects::Kind;

pub(super) fn probes() -> Vec<Probe> {
    vec![
        Probe::new(
            "pages",
            pages,
            json!({
                "names": [["page-1", "page-2"], ["page-3", "page-4"], ["page-5"]],
                "more": [true, true, false], "one version": true,
            }),
        ),
        Probe::new(
            "selectors",
            selectors,
            json!({
                "equal": ["chosen-1", "chosen-2"], "unequal": ["chosen-1"], "there": ["chosen-1", "chosen-2"],
                "by name": ["chosen-2"], "unknown field": "400 BadRequest",
            }),
        ),
    ]
}

fn names(list: &ObjectList<DynamicObject>) -> Vec<String> {
    list.iter().map(ResourceExt::name_any).collect()
}

fn labelled(name: &str, labels: Value) -> Value {
    let mut object = lease(name);
    object["metadata"]["labels"] = labels;
    object
}

async fn pages(ground: Ground) -> Result<Value> {
    for number in 1..=5 {
        let object = labelled(&format!("page-{number}"), json!({"probe": "pages"}));
        ground.create(Kind::Lease, object).await?;
    }
    let api = ground.api(Kind::Lease);
    let first = ListParams::default().labels("probe=pages").limit(2);
    let mut params = first.clone();
    let (mut all, mut more, mut versions) = (vec![], vec![], vec![]);
    loop {
        let page = api.list(&params).await?;
        if all.is_empty() {
            // Belongs between the pages, and to none of them.
            let late = labelled("page-31", json!({"probe": "pages"}));
            ground.create(Kind::Lease, late).await?;
        }
        all.push(names(&page));
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        more.push(token.is_some());
        versions.push(page.metadata.resource_version);
        match token {
            Some(token) => params = first.clone().continue_token(&token),
            None => break,
        }
    }
    versions.dedup();
    Ok(json!({"names": all, "more": more, "one version": versions.len() == 1}))
}

async fn selectors(ground: Ground) -> Result<Value> {
    let objects = [
        ("chosen-1", json!({"probe": "chosen"})),
        ("chosen-2", json!({"probe": "chosen", "second": "yes"})),
        ("unchosen", json!({"probe": "unchosen"})),
    ];
    for (name, labels) in objects {
        ground.create(Kind::Lease, labelled(name, labels)).await?;
    }
    let api = ground.api(Kind::Lease);
    let by = async |labels: &str| anyhow::Ok(names(&api.list(&ListParams::default().labels(labels)).await?));
    let field = ListParams::default().fields("metadata.name=chosen-2");
    let unknown = ListParams::default().fields("spec.holderIdentity=nobody");
    Ok(json!({
        "equal": by("probe=chosen").await?,
        "unequal": by("probe=chosen,second!=yes").await?,
        "there": by("probe in (chosen)").await?,
        "by name": names(&api.list(&field).await?),
        "unknown field": verdict(api.list(&unknown).await),
    }))
}
