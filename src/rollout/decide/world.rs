//! A small world around [`decide`]: two Deployments, a route, metrics and people, as plain data. Whatever happens in it,
//! no write may break an invariant, and when nothing happens any more every rollout comes to rest.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::tests::{at, spec};
use crate::{
    api::{CanaryStatus, GatePoint, GateState, HoldReason, JenkinsGate, Phase, RetirementKind, Verb},
    freeze::Freezing,
    judge::{Reading, Sample, Traffic},
    rollout::{
        Act, Apex, GateNews, GateSpec, Observed, Opens, Order, RolloutSpec, Routes, Serves, Steps, Weight,
        Workload, decide,
    },
};

/// Something that happens to the rollout from outside.
#[derive(Clone, Debug)]
enum Event {
    /// A second passes.
    Tick,
    /// A new revision is pushed; bad ones fail their checks.
    Push { bad: bool },
    /// The pod template is set back to the promoted one.
    Revert,
    /// The canary's pods lose readiness, or get it back.
    CanaryPods(bool),
    /// The same of the primary's.
    PrimaryPods(bool),
    /// Metrics answer, or do not.
    Metrics(bool),
    /// Somebody writes this weight into the routes.
    EditRoutes(i64),
    /// Proxies follow the routes, or go on as they are.
    Mesh(bool),
    /// Somebody approves (or rejects) the gate of this number for the present revision.
    Settle(usize, bool),
    /// The job at its gate ends.
    Job(bool),
    /// A freeze begins, which also holds what is under way, or ends.
    Freeze(Option<bool>),
    /// The controller dies after this many acts of its next round, and forgets what only it knew.
    Crash(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => Just(Event::Tick),
        2 => any::<bool>().prop_map(|bad| Event::Push { bad }),
        1 => Just(Event::Revert),
        2 => any::<bool>().prop_map(Event::CanaryPods),
        1 => any::<bool>().prop_map(Event::PrimaryPods),
        2 => any::<bool>().prop_map(Event::Metrics),
        1 => (0..=100i64).prop_map(Event::EditRoutes),
        2 => any::<bool>().prop_map(Event::Mesh),
        3 => (0usize..3).prop_map(Event::Crash),
        4 => (0usize..3, prop::bool::weighted(0.8)).prop_map(|(gate, yes)| Event::Settle(gate, yes)),
        3 => prop::bool::weighted(0.8).prop_map(Event::Job),
        1 => prop::option::of(any::<bool>()).prop_map(Event::Freeze),
    ]
}

/// A Deployment whose pods do at once what is asked, as far as they are allowed to be ready.
struct Pods {
    revision: String,
    desired: i32,
    healthy: bool,
}

impl Pods {
    fn workload(&self, mark: u32) -> Workload {
        let ready = if self.healthy { self.desired } else { 0 };
        Workload {
            revision: self.revision.clone(),
            image: Some(format!("shop:{}", self.revision)),
            mark: Some(mark.to_string()),
            up_to_date: true,
            paused: false,
            recreate: false,
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
    primary: Option<Pods>,
    primary_healthy: bool,
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
    /// Orders about gates.
    orders: Vec<Order>,
    /// How many there were.
    given: usize,
    /// What jobs at gates ended with.
    news: Vec<GateNews>,
    /// Revisions and gates that somebody or a job said yes to.
    passed: HashSet<(String, String)>,
    freezing: Freezing,
}

/// A gate at each point, and one more that a job opens.
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
    vec![
        gate("begin", GatePoint::ConfirmRollout, approval.clone()),
        gate("traffic", GatePoint::PreRollout, approval.clone()),
        gate("end", GatePoint::ConfirmPromotion, approval),
        gate(
            "job",
            GatePoint::PreRollout,
            Opens::Jenkins(JenkinsGate::default()),
        ),
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
            },
            mark: 1,
            primary: None,
            primary_healthy: true,
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
            news: Vec::new(),
            passed: HashSet::new(),
            freezing: Freezing::default(),
        }
    }

    fn gated() -> World {
        let mut world = World::new();
        world.spec.gates = gates();
        world
    }

    /// Whether every gate at `point` was passed by the present revision.
    fn may_pass(&self, point: GatePoint) -> bool {
        let revision = self.status.revision.current.clone().unwrap_or_default();
        let at_point = self.spec.gates.iter().filter(|gate| gate.at == point);
        let mut names = at_point.map(|gate| (revision.clone(), gate.name.clone()));
        names.all(|key| self.passed.contains(&key))
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

    fn observe(&mut self) -> Observed {
        let window = TimeDelta::seconds(3);
        let metric = TimeDelta::seconds(10);
        // One sample a second; rates are steady, so that a window holds only what its newest part brought.
        let steady = self.now - self.proxies_since >= window;
        let canary_requests = 100.0 * f64::from(self.proxies.percent());
        let answers = self.target.healthy && self.target.desired > 0;
        let count = |requests: f64, answers: bool| {
            if !self.metrics {
                Reading::Error("down".to_owned())
            } else if answers && requests > 0.0 {
                Reading::Value(requests)
            } else {
                Reading::NoData
            }
        };
        let canary = count(canary_requests, answers && steady);
        if matches!(canary, Reading::Value(_)) {
            self.reached_at = Some(self.now);
        }
        let primary_requests = 100.0 * f64::from(self.proxies.complement().percent());
        let primary = count(primary_requests, self.primary.as_ref().is_some_and(|p| p.healthy));
        let rate = match &canary {
            Reading::Value(_) if self.now - self.proxies_since < metric => Reading::NoData,
            Reading::Value(_) if self.target.revision.starts_with("bad") => Reading::Value(50.0),
            Reading::Value(_) => Reading::Value(100.0),
            other => other.clone(),
        };
        Observed {
            status: self.status.clone(),
            finalizer: true,
            conflict: None,
            target: Some(self.target.workload(self.mark)),
            primary: self.primary.as_ref().map(|p| p.workload(1)),
            drifted: vec![],
            existing: vec![],
            epoch: "0/test".to_owned(),
            unfenced: vec![],
            unrestorable: None,
            apex: Apex {
                serves: Some(self.apex),
                endpoints: 2,
            },
            routes: self.route.map_or(Routes::Missing, |weight| Routes::Present {
                weight: Some(weight),
                split: true,
                owned: true,
                in_shape: true,
            }),
            routing_since: self.routing_since,
            sampled_since: self.routing_since,
            template_since: self.template_since,
            sample: Some(Arc::new(Sample {
                at: self.now,
                window: Duration::from_secs(10),
                readings: BTreeMap::from([("request-success-rate".to_owned(), rate)]),
                traffic: Traffic {
                    window: Duration::from_secs(3),
                    canary,
                    primary,
                    reached_at: self.reached_at,
                },
            })),
            repairs: 0,
            orders: self.orders.clone(),
            gate_news: self.news.clone(),
            freezing: self.freezing.clone(),
            told: self.status.outbox.seq,
        }
    }

    /// Rounds until nothing is to be written; at most a few, or it would never end.
    fn settle(&mut self) {
        for _ in 0..20 {
            let seen = self.observe();
            let decision = decide(&self.spec, &seen, self.now);
            if decision.acts.is_empty() {
                return;
            }
            let dies_after = self.crash_after.take();
            for (done, act) in decision.acts.iter().enumerate() {
                if dies_after == Some(done) {
                    return self.restart();
                }
                self.carry_out(act);
            }
        }
        panic!("round after round writes something: {:?}", self.status);
    }

    fn restart(&mut self) {
        self.routing_since = self.now;
        self.template_since = self.now;
        self.reached_at = None;
    }

    fn carry_out(&mut self, act: &Act) {
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
                assert_eq!(
                    revision, &self.target.revision,
                    "what is promoted is not what runs (W1)"
                );
                assert!(
                    !revision.starts_with("bad") || self.phase() == Some(Phase::Initializing),
                    "a bad revision is promoted (I3)"
                );
                let first_time = self.phase() == Some(Phase::Promoting);
                assert!(
                    !first_time || self.may_pass(GatePoint::ConfirmPromotion),
                    "{revision} is promoted past a closed gate: {:?}",
                    self.status.gates
                );
                let healthy = self.primary_healthy;
                let desired = replicas.or(self.primary.as_ref().map(|p| p.desired)).unwrap_or(1);
                self.primary = Some(Pods {
                    revision: revision.clone(),
                    desired,
                    healthy,
                });
            }
            Act::Restore { revision } => {
                if let Some(primary) = &mut self.primary {
                    primary.revision.clone_from(revision);
                }
            }
            Act::ScaleTarget(replicas) => {
                let begins = *replicas > 0 && self.phase() == Some(Phase::Progressing);
                assert!(
                    !begins || self.may_pass(GatePoint::ConfirmRollout),
                    "pods are started before a closed gate: {:?}",
                    self.status
                );
                assert!(
                    *replicas > 0 || self.route == Some(Weight::ZERO),
                    "the canary is scaled away at weight {:?} (I2)",
                    self.route
                );
                assert!(
                    *replicas > 0 || self.proxies.is_zero() || !self.metrics || !self.target.healthy,
                    "the canary is scaled away while proxies send there (I2): {:?}",
                    self.status
                );
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

    fn check_record(&self, next: &CanaryStatus) {
        let terminal = matches!(
            next.phase,
            Some(Phase::Initialized | Phase::Succeeded | Phase::Failed)
        );
        if terminal && next.phase != self.status.phase && next.canary_weight == 0 {
            assert_eq!(
                self.route,
                Some(Weight::ZERO),
                "{:?} under traffic (I4)",
                next.phase
            );
            let newer = Some(&self.target.revision) != next.revision.current.as_ref();
            assert!(
                self.target.desired == 0 || newer,
                "{:?} with a canary that runs (I4)",
                next.phase
            );
        }
    }

    fn check_route(&self, weight: Weight) {
        let present = self.route.unwrap_or(Weight::ZERO);
        if weight <= present {
            return;
        }
        assert!(
            i64::from(self.status.canary_weight) >= i64::from(weight.percent()),
            "the weight rises before its intent is recorded"
        );
        let undo = self.status.retirement.as_ref().map(|r| r.kind);
        let exception = matches!(
            undo,
            Some(RetirementKind::UndoOnCanary | RetirementKind::UndoOnPrimary)
        ) || self.phase() == Some(Phase::Promoting)
            || self.phase() == Some(Phase::Failed);
        if exception {
            return;
        }
        let first = self.phase().is_none_or(|phase| phase == Phase::Initializing);
        assert!(
            first || self.may_pass(GatePoint::ConfirmRollout) && self.may_pass(GatePoint::PreRollout),
            "traffic passes a closed gate: {:?}",
            self.status.gates
        );
        let least = self.spec.steps.weight(0);
        assert!(
            self.spec.steps.weights().contains(&weight) || weight < least || self.status.step.is_none(),
            "{weight} is no step (I5)"
        );
        assert!(
            self.target.healthy && self.target.desired > 0,
            "traffic is sent to pods that are not ready (I2)"
        );
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

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Tick => self.now += TimeDelta::seconds(1),
            Event::Push { bad } => {
                self.mark += 1;
                let kind = if *bad { "bad" } else { "good" };
                self.target.revision = format!("{kind}-{}", self.mark);
                self.template_since = self.now;
            }
            Event::Revert => {
                if let Some(promoted) = self.status.revision.promoted.clone() {
                    self.mark += 1;
                    self.target.revision = promoted;
                    self.template_since = self.now;
                }
            }
            Event::CanaryPods(healthy) => self.target.healthy = *healthy,
            Event::PrimaryPods(healthy) => {
                self.primary_healthy = *healthy;
                if let Some(primary) = &mut self.primary {
                    primary.healthy = *healthy;
                }
            }
            Event::Metrics(up) => self.metrics = *up,
            Event::EditRoutes(weight) => {
                if self.route.is_some() {
                    self.set_route(Weight::saturating(*weight));
                }
            }
            Event::Mesh(follows) => {
                self.mesh = *follows;
                self.follow();
            }
            Event::Settle(gate, yes) => self.settle_gate(*gate, *yes),
            Event::Job(success) => self.end_job(*success),
            Event::Freeze(holds) => {
                self.freezing = Freezing {
                    frozen: holds.map(|_| "holidays".to_owned()),
                    holds: *holds == Some(true),
                    changes_at: None,
                };
            }
            Event::Crash(acts) => self.crash_after = Some(*acts),
        }
    }

    fn settle_gate(&mut self, gate: usize, yes: bool) {
        let Some(revision) = self.status.revision.current.clone() else {
            return;
        };
        let Some(gate) = self.spec.gates.get(gate).map(|gate| gate.name.clone()) else {
            return;
        };
        if yes {
            self.passed.insert((revision.clone(), gate.clone()));
        }
        self.given += 1;
        self.orders.push(Order {
            id: format!("order-{}", self.given),
            verb: if yes { Verb::Approve } else { Verb::Reject },
            revision,
            by: "mia".to_owned(),
            reason: String::new(),
            gate: Some(gate),
            own: false,
        });
    }

    /// The status remembers sixteen orders; what was answered is not seen again.
    fn forget_answered(&mut self) {
        let known = &self.status.interventions;
        self.orders
            .retain(|order| !known.iter().any(|known| known.id == order.id));
    }

    fn end_job(&mut self, success: bool) {
        let running = self
            .status
            .gates
            .iter()
            .find(|gate| gate.state == GateState::Running);
        let (Some(gate), Some(revision)) = (running, self.status.revision.current.clone()) else {
            return;
        };
        if success {
            self.passed.insert((revision.clone(), gate.name.clone()));
        }
        self.news = vec![GateNews {
            gate: gate.name.clone(),
            revision,
            since: gate.since,
            run: serde_json::json!({"state": "ended"}),
            state: if success {
                GateState::Open
            } else {
                GateState::Rejected
            },
            message: None,
            url: None,
        }];
    }

    fn run(&mut self, events: &[Event]) {
        for event in events {
            self.happen(event);
            self.settle();
            self.forget_answered();
        }
    }

    /// Everything is well from now on: within a bound that follows from the spec there is rest.
    fn ensure_rest(&mut self) {
        self.crash_after = None;
        self.run(&[
            Event::CanaryPods(true),
            Event::PrimaryPods(true),
            Event::Metrics(true),
            Event::Mesh(true),
            Event::Freeze(None),
        ]);
        let bound = self.spec.progress_deadline.num_seconds() * 4;
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

#[test]
fn quiet_world_initializes_and_promotes_a_good_revision() {
    let mut world = World::new();
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Initialized));
    world.run(&[Event::Push { bad: false }]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-2");
}

#[test]
fn primary_that_is_not_ready_yet_is_awaited_without_a_write() {
    let mut world = World::new();
    world.run(&[Event::PrimaryPods(false), Event::Tick, Event::Tick]);
    assert_eq!(world.phase(), Some(Phase::Initializing));
    world.ensure_rest();
}

#[test]
fn release_waits_at_every_gate_and_goes_on_when_it_opens() {
    let mut world = World::gated();
    for _ in 0..100 {
        world.run(&[Event::Tick]);
    }
    assert_eq!(world.phase(), Some(Phase::Initialized), "setting up asks no gate");
    world.run(&[Event::Push { bad: false }, Event::Tick]);
    assert_eq!((world.phase(), world.target.desired), (Some(Phase::Waiting), 0));
    world.run(&[Event::Settle(0, true), Event::Tick]);
    assert_eq!(
        (world.phase(), world.route),
        (Some(Phase::Progressing), Some(Weight::ZERO))
    );
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::AwaitingApproval)
    );
    world.run(&[Event::Settle(1, true), Event::Tick]);
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::AwaitingJob)
    );
    world.run(&[Event::Job(true), Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
    for _ in 0..45 {
        world.run(&[Event::Tick]);
    }
    assert_eq!(
        (world.phase(), world.status.canary_weight),
        (Some(Phase::WaitingPromotion), 50)
    );
    world.run(&[Event::Settle(2, true)]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Succeeded));
    assert_eq!(
        world
            .status
            .gates
            .iter()
            .filter(|gate| gate.state == GateState::Open)
            .count(),
        4
    );
}

#[test]
fn freeze_keeps_a_release_from_beginning_and_its_end_lets_it_begin() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[
        Event::Freeze(Some(false)),
        Event::Push { bad: false },
        Event::Tick,
    ]);
    assert_eq!(
        (world.phase(), world.target.desired),
        (Some(Phase::Initialized), 0)
    );
    assert_eq!(
        world.status.hold.as_ref().map(|h| h.reason),
        Some(HoldReason::Frozen)
    );
    world.run(&[Event::Freeze(None), Event::Tick, Event::Tick]);
    assert_eq!(world.status.canary_weight, 10);
    world.run(&[Event::Freeze(Some(false))]);
    world.ensure_rest();
    assert_eq!(
        world.phase(),
        Some(Phase::Succeeded),
        "what is under way finishes"
    );
}

#[test]
fn quiet_world_rolls_a_bad_revision_back() {
    let mut world = World::new();
    world.ensure_rest();
    world.run(&[Event::Push { bad: true }]);
    world.ensure_rest();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.primary.as_ref().unwrap().revision, "good-0");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_gate_is_passed_before_it_is_open_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::gated();
        world.run(&events);
        world.ensure_rest();
    }

    #[test]
    fn no_write_breaks_an_invariant_and_every_rollout_comes_to_rest(
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::new();
        world.run(&events);
        world.ensure_rest();
    }
}
