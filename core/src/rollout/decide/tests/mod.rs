//! Single decisions: what is written, and in which order.

mod before; // statuses that the version before wrote
mod blind; // metrics that cannot be read
mod bursts; // services that are called now and then
mod capacity; // enough pods for a share of the traffic
mod clock; // clocks, and controllers that die
mod failed_promotion;
mod first_calls;
mod handed_over;
mod holds; // what they say
mod identity; // templates that are known by another digest
mod missed;
mod orders; // what somebody orders
mod pods;
mod promoting; // the primary takes over
mod pushed; // a template that comes while something else is under way
mod quarrel; // somebody else keeps changing what is written
mod refused; // writes that the API server refuses
mod requesters; // who asked for a release
mod rest; // nothing is under way
mod served; // whoever has the pods
mod silence; // requests that do not arrive
mod steps; // evidence, and what follows from it
mod terminating; // a Canary that is deleted
mod transfer; // traffic that is handed over
mod uncarried;
mod undone; // what somebody else undoes
mod withdrawn; // while the primary cannot take the traffic back
mod writes; // of a release that waits

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    api::{
        CanaryStatus, HoldReason, Notice, NoticeKind, Phase, RejectedRevision, RetirementKind,
        RevisionStatus, Situation, StepStatus, Verb,
    },
    freeze::Freezing,
    judge::{Bucket, Counts, MetricKind, MetricSpec, Reading, Sample, Seen, Sides, Traffic},
    rollout::{
        Act, Apex, CanaryId, Child, Names, Observed, Order, Requests, RolloutSpec, Routes, Sampling, Serves,
        Steps, Weight, Workload, decide,
    },
    workload::policies::Policies,
};

use promoting::promoting_at_half;

pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
}

pub(super) fn spec() -> RolloutSpec {
    let name = |text: &str| text.to_owned();
    RolloutSpec {
        id: CanaryId {
            namespace: name("n"),
            name: name("shop"),
        },
        uid: name("uid"),
        generation: 1,
        deleting: false,
        hand_back: None,
        accepted_policies: String::new(),
        names: Names {
            namespace: name("n"),
            target: name("shop"),
            primary: name("shop-primary"),
            apex: name("shop"),
            primary_service: name("shop-primary"),
            canary_service: name("shop-canary"),
        },
        steps: Steps::new(vec![Weight::saturating(10), Weight::saturating(50)]).unwrap(),
        promotion_step: None,
        interval: TimeDelta::seconds(10),
        threshold: 1,
        max_blind: TimeDelta::seconds(60),
        reach_assumed: false,
        progress_deadline: TimeDelta::seconds(100),
        reporter: Default::default(),
        metrics: vec![MetricSpec {
            name: name("request-success-rate"),
            kind: MetricKind::SuccessRate,
            window: Duration::from_secs(10),
            min: Some(99.0),
            max: None,
            disconnects: Default::default(),
        }],
        gates: vec![],
        skip_analysis: false,
        suspend: false,
        revert_on_deletion: false,
        has_gateways: true,
        drain: TimeDelta::seconds(5),
    }
}

/// Every pod of both sides is read.
pub(super) fn scraped() -> Sides<Seen> {
    let seen = || Seen {
        pods: Reading::Value(100.0),
        ..Seen::default()
    };
    Sides {
        canary: seen(),
        primary: seen(),
    }
}

fn workload(revision: &str, mark: &str) -> Workload {
    Workload {
        revision: revision.to_owned(),
        aliases: Vec::new(),
        edited_by: None,
        image: Some(format!("shop:{revision}")),
        mark: Some(mark.to_owned()),
        up_to_date: true,
        paused: false,
        floor: 1,
        desired: 2,
        total: 2,
        updated: 2,
        available: 2,
        endpoints: 2,
    }
}

/// Scaled to zero.
fn without_pods(revision: &str, mark: &str) -> Workload {
    Workload {
        desired: 0,
        total: 0,
        updated: 0,
        available: 0,
        endpoints: 0,
        ..workload(revision, mark)
    }
}

fn at_weight(percent: i64) -> Routes {
    Routes::Present {
        weight: Weight::new(percent),
        split: true,
        owned: false,
        in_shape: true,
    }
}

/// Ten seconds into the first step of revision `b`, with this reading of the success rate.
/// A Canary of which nothing is known, and that nothing is in the way of.
pub(super) fn undisturbed() -> Observed {
    Observed {
        status: CanaryStatus::default(),
        target: None,
        primary: None,
        apex: Apex {
            serves: Some(Serves::Primary),
            endpoints: 2,
        },
        routes: Routes::Missing,
        routing_since: at(0),
        sampled_since: at(0),
        template_since: at(0),
        sample: None,
        conflict: None,
        drifted: vec![],
        existing: vec![],
        adopted: vec![],
        epoch: "0/test".to_owned(),
        unfenced: vec![],
        requests: Requests::default(),
        aliases: Arc::default(),
        policies: Policies::default(),
        unsettled_at: None,
        unrestorable: None,
        untold: BTreeSet::new(),
        orders: vec![],
        gate_news: vec![],
        freezing: Freezing::default(),
        repeats: vec![],
        refused: vec![],
        broken_watch: None,
        uncarried: vec![],
        routes_elsewhere: vec![],
        told: 0,
        finalizer: true,
    }
}

fn first_step(reading: Reading) -> Observed {
    let traffic = Traffic {
        window: Duration::from_secs(3),
        canary: Reading::Value(100.0),
        primary: Reading::Value(900.0),
        reached_at: Some(at(10)),
    };
    let readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
    let sample = Sample {
        at: at(10),
        window: Duration::from_secs(10),
        readings,
        traffic,
        scrape_interval: Some(Duration::from_secs(1)),
        seen: scraped(),
        ..Sample::default()
    };
    Observed {
        status: CanaryStatus {
            epoch: Some("0/test".to_owned()),
            phase: Some(Phase::Progressing),
            canary_weight: 10,
            revision: RevisionStatus {
                current: Some("b".to_owned()),
                promoted: Some("a".to_owned()),
                mark: Some("2".to_owned()),
                started_at: Some(at(-5)),
                ..RevisionStatus::default()
            },
            step: Some(StepStatus {
                dark_since: None,
                blind_retreats: 0,
                index: 0,
                started_at: at(0),
                traffic_since: at(0),
                weight_since: None,
                last_check_at: None,
                blind_since: None,
                retreats: 0,
            }),
            ..CanaryStatus::default()
        },
        target: Some(workload("b", "2")),
        primary: Some(workload("a", "1")),
        apex: Apex {
            serves: Some(Serves::Primary),
            endpoints: 2,
        },
        routes: at_weight(10),
        routing_since: at(0),
        sampled_since: at(0),
        template_since: at(-5),
        sample: Some(Arc::new(sample)),
        ..undisturbed()
    }
}

fn recorded(act: &Act) -> &CanaryStatus {
    match act {
        Act::Record(status) => status,
        other => panic!("{other:?} is no record"),
    }
}

/// Carries the records and routes of a decision out.
fn carry_out(seen: &mut Observed, now: i64, spec: &RolloutSpec) -> Vec<Act> {
    let decision = decide(spec, seen, at(now));
    for act in &decision.acts {
        match act {
            Act::Record(status) => seen.status = (**status).clone(),
            Act::Route(weight) => {
                seen.routes = at_weight(i64::from(weight.percent()));
                seen.routing_since = at(now);
            }
            Act::PointApex(serves) => {
                seen.apex.serves = Some(*serves);
                seen.routing_since = at(now);
            }
            _ => {}
        }
    }
    decision.acts
}

/// The latest sample counts these requests within a window of three seconds.
fn measure(seen: &mut Observed, now: i64, canary: f64, primary: f64) {
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.at = at(now);
    sample.traffic.canary = Reading::Value(canary);
    sample.traffic.primary = Reading::Value(primary);
}

fn order(verb: Verb, revision: &str) -> Vec<Order> {
    vec![Order {
        id: "1".to_owned(),
        verb,
        revision: revision.to_owned(),
        by: "mia".to_owned(),
        reason: "it is late".to_owned(),
        gate: None,
        people: ["mia".to_owned()].into_iter().collect(),
    }]
}

/// As `carry_out`, and pods do at once what is asked.
fn live(seen: &mut Observed, now: i64, spec: &RolloutSpec) -> Vec<Act> {
    seen.told = seen.status.outbox.seq;
    let acts = carry_out(seen, now, spec);
    for act in &acts {
        match act {
            Act::ScaleTarget(n) => {
                let target = seen.target.as_mut().unwrap();
                (target.desired, target.total, target.updated) = (*n, *n, *n);
                (target.available, target.endpoints) = (*n, *n);
            }
            Act::ApplyRoutes(weight) => {
                seen.routes = at_weight(i64::from(weight.percent()));
                seen.routing_since = at(now);
            }
            Act::Promote { revision, replicas } => {
                let mut primary = workload(revision, "1");
                if let Some(n) = replicas {
                    (primary.desired, primary.total, primary.updated) = (*n, *n, *n);
                    (primary.available, primary.endpoints) = (*n, *n);
                }
                seen.primary = Some(primary);
            }
            _ => {}
        }
    }
    acts
}

fn tallied(requests: f64, bad: f64) -> Option<Counts> {
    Some(Counts {
        requests,
        bad,
        ..Counts::default()
    })
}

/// How often the status is written.
fn records(acts: &[Act]) -> usize {
    acts.iter().filter(|act| matches!(act, Act::Record(_))).count()
}

/// One order, with an id of its own.
fn ordered(id: &str, verb: Verb, revision: &str) -> Vec<Order> {
    let mut orders = order(verb, revision);
    orders[0].id = id.to_owned();
    orders
}

/// A workload that asks for so many pods, of which so many serve, and which keeps all of them through a rollout.
fn pods(revision: &str, mark: &str, desired: i32, ready: i32) -> Workload {
    Workload {
        floor: desired,
        desired,
        total: desired,
        updated: desired,
        available: ready,
        endpoints: ready,
        ..workload(revision, mark)
    }
}

/// Reasons of what was told since.
fn news(seen: &Observed, before: i64) -> Vec<String> {
    let pending = seen.status.outbox.pending.iter();
    pending
        .filter(|notice| notice.seq > before)
        .map(|notice| notice.reason.clone())
        .collect()
}

/// None of its pods is ready.
fn unready(workload: Workload) -> Workload {
    Workload {
        available: 0,
        endpoints: 0,
        ..workload
    }
}

/// The success rate is good, and another one each time.
fn good_value(seen: &mut Observed, now: i64) {
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.at = at(now);
    let value = 99.0 + (now % 7) as f64 / 10.0;
    sample.readings = [("request-success-rate".to_owned(), Reading::Value(value))].into();
}

/// A gate that anybody may open.
fn approval(name: &str, at: crate::api::GatePoint) -> crate::rollout::GateSpec {
    crate::rollout::GateSpec {
        name: name.to_owned(),
        at,
        opens: crate::rollout::Opens::Approval {
            not_by_requester: false,
        },
        timeout: None,
    }
}
