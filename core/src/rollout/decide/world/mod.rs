//! A small world around [`decide`]: two Deployments, a route, metrics and people, as plain data. Whatever happens in it,
//! no write may break an invariant, and when nothing happens any more every rollout comes to rest.

mod checks; // what no write may break
mod events; // what happens from outside
mod observe; // what a round sees
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use self::events::Event;
use super::{
    quarrel::QUIET,
    tests::{at, spec},
};
use crate::{
    api::{CanaryStatus, GatePoint, JenkinsGate, Phase, Verb},
    freeze::Freezing,
    rollout::{
        Act, Field, GateNews, GateSpec, Opens, Order, Repeat, RolloutSpec, Serves, Steps, Weight, Workload,
        decide, repeated,
    },
};

/// A Deployment whose pods do at once what is asked, as far as they are allowed to be ready.
struct Pods {
    revision: String,
    desired: i32,
    healthy: bool,
    /// Whether one of several is away.
    short: bool,
}

impl Pods {
    fn workload(&self, mark: u32, recreate: bool) -> Workload {
        let there = self.desired - i32::from(self.short && self.desired > 1);
        let ready = if self.healthy { there } else { 0 };
        Workload {
            revision: self.revision.clone(),
            aliases: Vec::new(),
            edited_by: None,
            image: Some(format!("shop:{}", self.revision)),
            mark: Some(mark.to_string()),
            up_to_date: true,
            paused: false,
            floor: if recreate { 0 } else { self.desired },
            desired: self.desired,
            total: self.desired,
            updated: self.desired,
            available: ready,
            endpoints: ready,
        }
    }
}

struct World {
    spec: RolloutSpec,
    now: DateTime<Utc>,
    status: CanaryStatus,
    target: Pods,
    mark: u32,
    /// The revision that was pushed last.
    pushed: String,
    primary: Option<Pods>,
    primary_healthy: bool,
    primary_short: bool,
    /// Whether all old pods go before new ones come, which takes until the next second.
    recreate: bool,
    /// The most that somebody else has sent to the canary.
    sent: Weight,
    route: Option<Weight>,
    /// What the proxies do, whatever the routes say.
    proxies: Weight,
    mesh: bool,
    metrics: bool,
    apex: Serves,
    routing_since: DateTime<Utc>,
    template_since: DateTime<Utc>,
    proxies_since: DateTime<Utc>,
    reached_at: Option<DateTime<Utc>>,
    crash_after: Option<usize>,
    /// Orders that have no answer yet.
    orders: Vec<Order>,
    /// How many there were.
    given: usize,
    /// Gates that were taken out of the specification.
    taken: Vec<GateSpec>,
    /// When a gate was put back.
    put_back: BTreeMap<String, DateTime<Utc>>,
    /// What was heard of jobs at gates.
    news: Vec<GateNews>,
    /// Revisions and gates that somebody or a job said yes to.
    passed: HashSet<(String, String)>,
    /// Revisions that somebody ordered on without evidence: by a skip, or step by step.
    unexamined: HashSet<String>,
    freezing: Freezing,
    /// The last write of each field.
    repeats: BTreeMap<Field, Repeat>,
}

/// A gate at each point, and two more that jobs open.
fn gates() -> Vec<GateSpec> {
    let gate = |name: &str, at: GatePoint, opens: Opens| GateSpec {
        name: name.to_owned(),
        at,
        opens,
        timeout: Some(TimeDelta::seconds(60)),
    };
    let approval = Opens::Approval {
        not_by_requester: false,
    };
    let job = || Opens::Jenkins(JenkinsGate::default());
    vec![
        gate("begin", GatePoint::ConfirmRollout, approval.clone()),
        gate("traffic", GatePoint::PreRollout, approval.clone()),
        gate("end", GatePoint::ConfirmPromotion, approval),
        gate("job", GatePoint::PreRollout, job()),
        gate("last-job", GatePoint::ConfirmPromotion, job()),
    ]
}

impl World {
    fn new() -> World {
        let mut spec = spec();
        spec.steps = Steps::new([10, 30, 50].map(Weight::saturating).to_vec()).unwrap();
        spec.threshold = 2;
        World {
            spec,
            now: at(0),
            status: CanaryStatus::default(),
            target: Pods {
                revision: "good-0".to_owned(),
                desired: 2,
                healthy: true,
                short: false,
            },
            mark: 1,
            pushed: "good-0".to_owned(),
            primary: None,
            primary_healthy: true,
            primary_short: false,
            recreate: false,
            sent: Weight::ZERO,
            route: None,
            proxies: Weight::FULL,
            mesh: true,
            metrics: true,
            apex: Serves::Target,
            routing_since: at(0),
            template_since: at(0),
            proxies_since: at(0),
            reached_at: None,
            crash_after: None,
            orders: Vec::new(),
            given: 0,
            taken: Vec::new(),
            put_back: BTreeMap::new(),
            news: Vec::new(),
            passed: HashSet::new(),
            unexamined: HashSet::new(),
            freezing: Freezing::default(),
            repeats: BTreeMap::new(),
        }
    }

    fn gated() -> World {
        let mut world = World::new();
        world.spec.gates = gates();
        world
    }

    /// The primary gets its traffic back in steps.
    fn stepwise() -> World {
        let mut world = World::new();
        world.spec.promotion_step = Some(Weight::saturating(20));
        world
    }

    /// The pods of a template all go before those of another one come; the primary gets its traffic back in steps.
    fn recreating() -> World {
        let mut world = World::stepwise();
        world.recreate = true;
        world
    }

    fn phase(&self) -> Option<Phase> {
        self.status.phase
    }

    fn at_rest(&self) -> bool {
        matches!(
            self.phase(),
            Some(Phase::Initialized | Phase::Succeeded | Phase::Failed)
        )
    }

    /// Rounds until nothing is to be written; at most a few, or it would never end.
    fn settle(&mut self) {
        for _ in 0..80 {
            let seen = self.observe();
            let decision = decide(&self.spec, &seen, self.now);
            let told = self.untold();
            if decision.acts.is_empty() && told.is_empty() {
                return;
            }
            let dies_after = self.crash_after.take();
            for (done, act) in decision.acts.iter().enumerate() {
                if dies_after == Some(done) {
                    return self.restart();
                }
                self.carry_out(act);
            }
            self.orders.retain(|order| !told.contains(&order.id));
        }
        panic!("round after round writes something: {:?}", self.status);
    }

    fn heeded(&self, order: &Order) -> bool {
        self.status.interventions.iter().any(|known| known.id == order.id)
    }

    /// Orders that are on record and have no answer yet.
    fn untold(&self) -> BTreeSet<String> {
        let heeded = self.orders.iter().filter(|order| self.heeded(order));
        heeded.map(|order| order.id.clone()).collect()
    }

    fn restart(&mut self) {
        self.routing_since = self.now;
        self.template_since = self.now;
        self.reached_at = None;
        self.repeats.clear();
        self.news = Vec::new();
    }

    fn carry_out(&mut self, act: &Act) {
        if let Some(field) = act.field() {
            let repeat = repeated(self.repeats.get(&field), act, self.now);
            self.repeats.insert(field, repeat);
        }
        match act {
            Act::Record(status) => {
                self.check_record(status);
                self.status = (**status).clone();
            }
            Act::Route(weight) | Act::ApplyRoutes(weight) => {
                self.check_route(*weight);
                self.set_route(*weight);
            }
            Act::PointApex(serves) => {
                self.apex = *serves;
                self.routing_since = self.now;
            }
            Act::Promote { revision, replicas } => {
                self.check_promotion(revision);
                self.check_recreation(revision);
                let other = self.primary.as_ref().is_some_and(|p| p.revision != *revision);
                let healthy = self.primary_healthy && !(self.recreate && other);
                let desired = replicas.or(self.primary.as_ref().map(|p| p.desired)).unwrap_or(1);
                self.primary = Some(Pods {
                    revision: revision.clone(),
                    desired,
                    healthy,
                    short: self.primary_short,
                });
            }
            Act::Restore { revision } => {
                self.check_recreation(revision);
                if let Some(primary) = &mut self.primary {
                    primary.revision.clone_from(revision);
                    primary.healthy &= !self.recreate;
                }
            }
            Act::ScaleTarget(replicas) => {
                self.check_scale(*replicas);
                self.target.desired = *replicas;
            }
            Act::ScalePrimary(replicas) => {
                if let Some(primary) = &mut self.primary {
                    assert!(*replicas >= primary.desired, "the primary shrinks");
                    primary.desired = *replicas;
                }
            }
            other => panic!("{other:?} is not of this world"),
        }
    }

    fn set_route(&mut self, weight: Weight) {
        if self.route != Some(weight) {
            self.route = Some(weight);
            self.routing_since = self.now;
            self.follow();
        }
    }

    /// Proxies follow at once if they follow at all; the drain of the spec is what they may take.
    fn follow(&mut self) {
        let wanted = self.route.unwrap_or(Weight::FULL);
        if self.mesh && self.proxies != wanted {
            self.proxies = wanted;
            self.proxies_since = self.now;
        }
    }

    fn run(&mut self, events: &[Event]) {
        for event in events {
            self.happen(event);
            self.settle();
        }
    }

    fn comes_to_rest_after(&mut self, events: &[Event]) {
        self.run(events);
        self.ensure_rest();
    }

    /// Everything is well from now on: within a bound that follows from the spec there is rest.
    fn ensure_rest(&mut self) {
        self.crash_after = None;
        self.run(&[
            Event::CanaryPods(true),
            Event::PrimaryPods(true),
            Event::PrimaryShort(false),
            Event::Order(Verb::Resume),
            Event::Metrics(true),
            Event::Mesh(true),
            Event::Freeze(None),
        ]);
        // A hand-over that failed is tried again after a quarter of an hour at the latest.
        let tried = self.status.transfer.as_ref().map_or(0, |known| known.attempts);
        // A quarrel is named until ten quiet minutes are over.
        let quarrels = self.repeats.values().any(|repeat| repeat.repaired.is_some());
        let quiet = if quarrels { QUIET } else { TimeDelta::zero() };
        let bound = self.spec.progress_deadline.num_seconds() * 4
            + i64::from(tried.min(3)) * 900
            + quiet.num_seconds();
        for _ in 0..bound {
            self.run(&[Event::Tick]);
        }
        assert!(self.at_rest(), "no rest after {bound} s: {:#?}", self.status);
        assert_eq!(self.route, Some(Weight::ZERO), "{:#?}", self.status);
        assert_eq!(self.target.desired, 0, "{:#?}", self.status);
        let primary = self.primary.as_ref().map(|p| p.revision.clone());
        assert_eq!(primary, self.status.revision.promoted, "{:#?}", self.status);
        assert!(self.status.hold.is_none(), "held at rest: {:?}", self.status.hold);
    }
}
