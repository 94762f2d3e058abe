//! Routes as their users wrote them: adopted, released, and handed back as they were.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::shop::{self, RATE, SOON};
use crate::objects::Kind;
use crate::story::Stage;
use crate::traffic::Traffic;

/// How soon a bad release is off the routes that can be written.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Longer than a route that was set back is looked at.
const MOMENT: Duration = Duration::from_mins(5);

/// Routes that lead to the Service from a host of their own.
fn inner_route(name: &str, host: &str) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
        "spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": "shop"}}]}]}})
}

/// Weights of primary and canary in one VirtualService.
fn split(route: &Value) -> Option<[i64; 2]> {
    let to = |name: &str| {
        let entries = route["spec"]["http"][0]["route"].as_array()?;
        let found = entries.iter().find(|entry| {
            let host = entry["destination"]["host"].as_str();
            host.is_some_and(|host| host.split('.').next() == Some(name))
        });
        found.map(|entry| entry["weight"].as_i64().unwrap_or_default())
    };
    Some([to("shop-primary")?, to("shop-canary")?])
}

async fn wait_split(stage: &Stage, name: &str, weights: [i64; 2], within: Duration) -> Result<()> {
    let what = format!("weights of {name} are {weights:?}");
    stage
        .wait_for(Kind::VirtualService, name, &what, within, |route| {
            split(route) == Some(weights)
        })
        .await
        .map(drop)
}

/// One of three VirtualServices refuses to be changed while a bad release is on all of them: the others are set back at
/// once, the hold names it, and no pod goes to which it may still lead; it is set back as soon as it can be.
pub async fn refused_route(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    let others = [("inside", "shop"), ("partners", "partners.example.com")];
    for (name, host) in others {
        stage.apply(&inner_route(name, host)).await?;
    }
    shop::release_under(&stage, &shop::canary()).await?;
    let traffic = stage.traffic(RATE);
    shop::ship(&stage, "shop:errors20-2").await?;
    for name in ["shop", "inside", "partners"] {
        wait_split(&stage, name, [90, 10], SOON).await?;
    }
    stage.deny_changes(Kind::VirtualService, "partners", true).await?;
    wait_split(&stage, "shop", [100, 0], SOON).await?;
    wait_split(&stage, "inside", [100, 0], AT_ONCE).await?;
    let held = shop::wait_status(&stage, "the refusal is named", SOON, |s| {
        let message = s["hold"]["message"].as_str().unwrap_or_default();
        s["hold"]["reason"] == "WriteRefused" && message.contains("VirtualService/partners")
    })
    .await?;
    stage.note(held["status"]["hold"]["message"].as_str().unwrap_or_default());
    // Longer than any pause after which it is tried again, and than it takes to see that nobody calls.
    for name in ["shop", "inside"] {
        tokio::select! {
            done = traffic.requests(3000) => done?,
            again = stage.wait_for(Kind::VirtualService, name, "it moved", MOMENT, |r| split(r) != Some([100, 0])) => {
                bail!("{name} leads to the bad release again: {:?}", split(&again?));
            }
        }
    }
    let now = stage.api(Kind::Canary).get("shop").await?.data;
    ensure!(
        now["status"]["phase"] != "Failed",
        "it is over, and partners lead to the canary"
    );
    let pods = shop::replicas_of(&stage, "shop").await?;
    ensure!(
        pods == 2,
        "partners lead to the canary, which was scaled to {pods}"
    );
    stage
        .deny_changes(Kind::VirtualService, "partners", false)
        .await?;
    wait_split(&stage, "partners", [100, 0], SOON).await?;
    shop::wait_phase(&stage, "Failed", SOON).await?;
    shop::ensure_on_primary(&stage, "shop:good-1").await?;
    let stats = traffic.stop().await;
    stage.note(format!("{stats}"));
    stats.ensure_failures_are("500")?;
    Ok(())
}

/// Adopts what is there, releases, looks at the routes at the first weight, and hands back: all objects are as before, and no
/// request is lost.
async fn there_and_back(
    stage: &Stage,
    route: &str,
    kept: &[(Kind, &str)],
    at_ten_percent: impl AsyncFn(&Stage, &Traffic, Value) -> Result<()>,
) -> Result<()> {
    let mut before = Vec::new();
    for (kind, name) in kept {
        before.push(stage.api(*kind).get(name).await?.data["spec"].clone());
    }
    stage.start_controller().await?;
    let traffic = stage.traffic_by(route, RATE);
    stage
        .apply(&shop::canary_with(|spec| {
            spec["analysis"]["interval"] = json!("6s");
        }))
        .await?;
    shop::wait_phase(stage, "Initialized", SOON).await?;
    shop::ship(stage, "shop:good-2").await?;
    shop::wait_weight(stage, 10).await?;
    let on_canary = |split: &Value| {
        let routes = split["spec"]["http"].as_array().into_iter().flatten();
        let mut all = routes.flat_map(|http| destinations(http, "host"));
        all.any(|(name, weight, _)| name == "shop-canary" && weight > 0)
    };
    let split = stage
        .wait_for(Kind::VirtualService, route, "it is split", SOON, on_canary)
        .await?;
    at_ten_percent(stage, &traffic, split).await?;
    shop::wait_phase(stage, "Succeeded", SOON).await?;
    let primary = shop::image_of(stage, "shop-primary").await?;
    ensure!(primary == "shop:good-2", "the primary runs {primary}");
    stage.delete(Kind::Canary, "shop").await?;
    stage.wait_gone(Kind::Canary, "shop", SOON).await?;
    for (kind, name) in shop::CHILDREN {
        stage.wait_gone(kind, name, SOON).await?;
    }
    for ((kind, name), before) in kept.iter().zip(before) {
        let now = stage.api(*kind).get(name).await?.data["spec"].clone();
        ensure!(now == before, "{kind:?} {name} was {before} and is {now}");
    }
    let from = Instant::now();
    traffic.requests(400).await?;
    let answered = traffic.since(from).by_workload;
    ensure!(!answered.contains_key("shop-primary"), "answered by {answered:?}");
    shop::end_without_failure(stage, traffic).await
}

/// Destinations of a route with their weights, and one more field of each.
fn destinations(http: &Value, field: &str) -> Vec<(String, i64, Value)> {
    let entries = http["route"].as_array().into_iter().flatten();
    let one = |entry: &Value| {
        let destination = &entry["destination"];
        let host = destination["host"].as_str().unwrap_or_default();
        let name = host.split('.').next().unwrap_or_default().to_owned();
        (
            name,
            entry["weight"].as_i64().unwrap_or_default(),
            destination[field].clone(),
        )
    };
    entries.map(one).collect()
}

/// Two ports behind one gateway: each route keeps its port on both sides, both Services have both, and callers of either lose
/// nothing, from the adoption to the deletion.
pub async fn two_ports(stage: Arc<Stage>) -> Result<()> {
    shop::open_with(&stage, |deployment| {
        let ports = &mut deployment["spec"]["template"]["spec"]["containers"][0]["ports"];
        *ports = json!([{"name": "http", "containerPort": 8080}, {"name": "rpc", "containerPort": 9000}]);
    })
    .await?;
    let mut service = stage.service("shop");
    let rpc = json!({"name": "http-rpc", "port": 9000, "targetPort": 9000});
    service["spec"]["ports"]
        .as_array_mut()
        .context("no ports")?
        .push(rpc);
    stage.apply(&service).await?;
    let mut rpc = shop::route(&stage.host_below("rpc"));
    rpc["metadata"]["name"] = json!("rpc");
    let mut route = shop::route(&stage.host);
    let to = |port: u16| json!([{"destination": {"host": "shop", "port": {"number": port}}}]);
    route["spec"]["http"] = json!([
        {"name": "rpc", "match": [{"uri": {"prefix": "/rpc"}}], "route": to(9000)},
        {"name": "web", "route": to(80)},
    ]);
    stage.apply(&route).await?;
    rpc["spec"]["http"][0]["route"] = to(9000);
    stage.apply(&rpc).await?;
    shop::answers(&stage).await?;
    crate::wait::until("the second port answers", SOON, async || {
        let traffic = stage.traffic_below("rpc", 100);
        traffic.requests(20).await?;
        traffic.stop().await.ensure_none_failed()
    })
    .await?;
    let calls = stage.traffic_below("rpc", RATE / 2);
    let kept = [
        (Kind::VirtualService, "shop"),
        (Kind::VirtualService, "rpc"),
        (Kind::Service, "shop"),
    ];
    there_and_back(&stage, "shop", &kept, async |stage, _, split| {
        for (i, port) in [(0, 9000), (1, 80)] {
            let port = json!({"number": port});
            let both = [("shop-primary", 90), ("shop-canary", 10)];
            let expected = both.map(|(name, weight)| (name.to_owned(), weight, port.clone()));
            let found = destinations(&split["spec"]["http"][i], "port");
            ensure!(found == expected, "route {i} leads to {found:?}");
        }
        for name in ["shop-primary", "shop-canary"] {
            let service = stage.api(Kind::Service).get(name).await?.data;
            let ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let ports: Vec<_> = ports
                .map(|port| (port["port"].clone(), port["targetPort"].clone()))
                .collect();
            let expected = [(json!(80), json!("http")), (json!(9000), json!(9000))];
            ensure!(ports == expected, "{name} has ports {ports:?}");
        }
        Ok(())
    })
    .await?;
    let stats = calls.so_far();
    ensure!(
        stats.share("shop-primary") > 0.0,
        "the primary got no call: {stats}"
    );
    shop::end_without_failure(&stage, calls).await
}

/// Routes name a subset of a DestinationRule: both sides get the subset and the rule's policy.
pub async fn subset(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    let policy = json!({"connectionPool": {"http": {"http1MaxPendingRequests": 64}}});
    let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "shop"},
        "spec": {"host": "shop", "trafficPolicy": policy, "subsets": [{"name": "steady", "labels": {"app": "shop"}}]}});
    stage.apply(&rule).await?;
    let mut route = shop::route(&stage.host);
    route["spec"]["http"][0]["route"] = json!([{"destination": {"host": "shop", "subset": "steady"}}]);
    stage.apply(&route).await?;
    shop::answers(&stage).await?;
    let kept = [(Kind::VirtualService, "shop"), (Kind::DestinationRule, "shop")];
    there_and_back(&stage, "shop", &kept, async |stage, _, split| {
        let expected = [("shop-primary", 90), ("shop-canary", 10)];
        let expected = expected.map(|(name, weight)| (name.to_owned(), weight, json!("steady")));
        let found = destinations(&split["spec"]["http"][0], "subset");
        ensure!(found == expected, "the route leads to {found:?}");
        for name in ["shop-primary", "shop-canary"] {
            let rule = stage.api(Kind::DestinationRule).get(name).await?.data;
            ensure!(
                rule["spec"]["trafficPolicy"] == policy,
                "{name}: {}",
                rule["spec"]
            );
            ensure!(
                rule["spec"]["subsets"][0]["name"] == "steady",
                "{name}: {}",
                rule["spec"]
            );
        }
        Ok(())
    })
    .await
}

/// A quarter of the requests goes to somebody else: it keeps its quarter at every weight, and the numbers are as they were
/// in the end.
pub async fn foreign_share(stage: Arc<Stage>) -> Result<()> {
    shop::open(&stage).await?;
    stage.apply(&stage.deployment("legacy", "shop:good-1", 1)).await?;
    stage.apply(&stage.service("legacy")).await?;
    stage.wait_pods("legacy", 1, SOON).await?;
    let mut route = shop::route(&stage.host);
    route["spec"]["http"][0]["route"] = json!([
        {"destination": {"host": "shop"}, "weight": 3},
        {"destination": {"host": "legacy"}, "weight": 1},
    ]);
    stage.apply(&route).await?;
    shop::answers(&stage).await?;
    let kept = [(Kind::VirtualService, "shop")];
    there_and_back(&stage, "shop", &kept, async |stage, traffic, split| {
        let found = destinations(&split["spec"]["http"][0], "host");
        let weights: Vec<_> = found
            .iter()
            .map(|(name, weight, _)| (name.as_str(), *weight))
            .collect();
        let expected = [("shop-primary", 270), ("shop-canary", 30), ("legacy", 100)];
        ensure!(
            expected.iter().all(|one| weights.contains(one)),
            "the route leads to {weights:?}"
        );
        // istiod gathers changes for 100 ms; a hundred requests are more than that.
        traffic.requests(100).await?;
        let from = Instant::now();
        traffic.requests(400).await?;
        let stats = traffic.between(from, Instant::now());
        for (workload, share) in [("shop", 0.075), ("shop-primary", 0.675), ("legacy", 0.25)] {
            stats.ensure_share(workload, share)?;
        }
        stage.note(format!("answered by {:?}", stats.by_workload));
        Ok(())
    })
    .await
}

/// The VirtualService of a gateway is called otherwise than the Service: it is the one that is split, and none is made beside
/// it for its host.
pub async fn other_name(stage: Arc<Stage>) -> Result<()> {
    shop::open_pods(&stage, |_| {}).await?;
    let mut route = shop::route(&stage.host);
    route["metadata"]["name"] = json!("front");
    stage.apply(&route).await?;
    let answering = async || {
        let traffic = stage.traffic_by("front", 100);
        traffic.requests(20).await?;
        traffic.stop().await.ensure_none_failed()
    };
    crate::wait::until("the shop answers", SOON, answering).await?;
    let kept = [(Kind::VirtualService, "front")];
    there_and_back(&stage, "front", &kept, async |stage, traffic, split| {
        let found = destinations(&split["spec"]["http"][0], "port");
        let expected = [("shop-primary", 90), ("shop-canary", 10)];
        let expected = expected.map(|(name, weight)| (name.to_owned(), weight, Value::Null));
        ensure!(found == expected, "the route leads to {found:?}");
        let all = stage
            .api(Kind::VirtualService)
            .list(&Default::default())
            .await?
            .items;
        for other in all
            .iter()
            .filter(|vs| vs.metadata.name.as_deref() != Some("front"))
        {
            let hosts = other.data["spec"]["hosts"].as_array().into_iter().flatten();
            let same = hosts.into_iter().any(|host| *host == stage.host.as_str());
            ensure!(!same, "another VirtualService was made for {}", stage.host);
        }
        traffic.requests(100).await?;
        let from = Instant::now();
        traffic.requests(400).await?;
        traffic.between(from, Instant::now()).ensure_share("shop", 0.1)
    })
    .await
}
