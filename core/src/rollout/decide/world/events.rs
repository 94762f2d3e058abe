//! What happens to a rollout from outside.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::World;
use crate::{
    api::{GatePoint, GateState, GateStatus, JenkinsGate, Phase, Verb},
    freeze::Freezing,
    rollout::{GateNews, Opens, Order, Weight},
};

/// Something that happens to the rollout from outside.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A second passes.
    Tick,
    /// A new revision is pushed; bad ones fail their checks.
    Push { bad: bool },
    /// The revision that was pushed last is pushed again.
    PushAgain,
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
    /// One of the primary's pods is away, or comes back.
    PrimaryShort(bool),
    /// Somebody orders this of the present revision.
    Order(Verb),
    /// A robot gives more orders at once than are remembered.
    Flood,
    /// Somebody makes another gate of the one of this number: a job of an approval, or the other way round.
    EditGate(usize),
    /// Somebody takes the gate of this number out of the specification, or puts back what was taken out last.
    TakeGate(Option<usize>),
    /// Somebody applies a manifest that says how many pods the workload has, while a release waits for permission.
    Scale(i32),
    /// A freeze begins, which also holds what is under way, or ends.
    Freeze(Option<bool>),
    /// The controller dies after this many acts of its next round, and forgets what only it knew.
    Crash(usize),
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => Just(Event::Tick),
        2 => any::<bool>().prop_map(|bad| Event::Push { bad }),
        1 => Just(Event::PushAgain),
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
        1 => any::<bool>().prop_map(Event::PrimaryShort),
        2 => prop::sample::select(vec![Verb::SkipAnalysis, Verb::Pause, Verb::Resume, Verb::Advance, Verb::Abort])
            .prop_map(Event::Order),
        1 => Just(Event::Flood),
        1 => (0..4i32).prop_map(Event::Scale),
        1 => (0usize..5).prop_map(Event::EditGate),
        2 => prop::option::of(0usize..5).prop_map(Event::TakeGate),
    ]
}

fn heard(gate: &GateStatus, revision: &str, state: GateState) -> GateNews {
    GateNews {
        gate: gate.name.clone(),
        revision: revision.to_owned(),
        since: gate.since,
        run: serde_json::json!({"state": "building"}),
        state,
        message: None,
        url: None,
        caught_up: true,
    }
}

impl World {
    pub(super) fn happen(&mut self, event: &Event) {
        match event {
            Event::Tick => {
                self.now += TimeDelta::seconds(1);
                self.look_at_jobs();
                if let Some(primary) = &mut self.primary {
                    primary.healthy = self.primary_healthy;
                }
            }
            Event::Push { bad } => {
                self.mark += 1;
                let kind = if *bad { "bad" } else { "good" };
                self.pushed = format!("{kind}-{}", self.mark);
                self.edit_template(self.pushed.clone());
            }
            Event::PushAgain => {
                self.mark += 1;
                self.edit_template(self.pushed.clone());
            }
            Event::Revert => {
                if let Some(promoted) = self.status.revision.promoted.clone() {
                    self.mark += 1;
                    self.edit_template(promoted);
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
                    self.sent = self.sent.max(Weight::saturating(*weight));
                    self.set_route(Weight::saturating(*weight));
                }
            }
            Event::Mesh(follows) => {
                self.mesh = *follows;
                self.follow();
            }
            Event::Settle(gate, yes) => self.settle_gate(*gate, *yes),
            Event::Job(success) => self.end_job(*success),
            Event::PrimaryShort(short) => {
                self.primary_short = *short;
                if let Some(primary) = &mut self.primary {
                    primary.short = *short;
                }
            }
            Event::Order(verb) => self.order(*verb, None),
            Event::Flood => (0..20).for_each(|_| self.order(Verb::Approve, Some("nowhere".to_owned()))),
            Event::EditGate(gate) => self.edit_gate(*gate),
            Event::Scale(replicas) if self.phase() == Some(Phase::Waiting) => {
                self.target.desired = *replicas;
            }
            Event::Scale(_) => {}
            Event::TakeGate(gate) => self.take_gate(*gate),
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

    fn edit_template(&mut self, revision: String) {
        self.target.revision = revision;
        self.template_since = self.now;
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
        let verb = if yes { Verb::Approve } else { Verb::Reject };
        self.order(verb, Some(gate));
    }

    pub(super) fn order(&mut self, verb: Verb, gate: Option<String>) {
        let Some(revision) = self.status.revision.current.clone() else {
            return;
        };
        if matches!(verb, Verb::SkipAnalysis | Verb::Advance) {
            self.unexamined.insert(revision.clone());
        }
        self.given += 1;
        self.orders.push(Order {
            id: format!("order-{}", self.given),
            verb,
            revision,
            by: "mia".to_owned(),
            reason: String::new(),
            gate,
            people: ["mia".to_owned()].into_iter().collect(),
        });
    }

    fn edit_gate(&mut self, gate: usize) {
        if let Some(gate) = self.spec.gates.get_mut(gate) {
            gate.opens = match gate.opens {
                Opens::Approval { .. } => Opens::Jenkins(JenkinsGate::default()),
                Opens::Jenkins(_) => Opens::Approval {
                    not_by_requester: false,
                },
            };
        }
    }

    fn take_gate(&mut self, gate: Option<usize>) {
        match gate {
            Some(at) if at < self.spec.gates.len() => {
                let gate = self.spec.gates.remove(at);
                self.taken.push(gate);
            }
            Some(_) => {}
            None => {
                if let Some(gate) = self.taken.pop() {
                    self.put_back.insert(gate.name.clone(), self.now);
                    let past = gate.at == GatePoint::PreRollout && self.status.step.is_some();
                    if past || self.phase() == Some(Phase::Promoting) {
                        // A gate behind the release stops nobody.
                        let revision = self.status.revision.current.clone().unwrap_or_default();
                        self.passed.insert((revision, gate.name.clone()));
                    }
                    self.spec.gates.push(gate);
                }
            }
        }
    }

    /// The job at the gate that the release came to last ends.
    fn end_job(&mut self, success: bool) {
        let mut gates = self.status.gates.iter();
        let running = gates.rfind(|gate| gate.state == GateState::Running);
        if let Some(name) = running.map(|gate| gate.name.clone()) {
            self.end_job_of(&name, success);
        }
    }

    pub(super) fn end_job_of(&mut self, name: &str, success: bool) {
        let gate = self.status.gates.iter().find(|gate| gate.name == name);
        let (Some(gate), Some(revision)) = (gate, self.status.revision.current.clone()) else {
            return;
        };
        if success {
            self.passed.insert((revision.clone(), gate.name.clone()));
        }
        let state = if success {
            GateState::Open
        } else {
            GateState::Rejected
        };
        let news = heard(gate, gate.revision.as_ref().unwrap_or(&revision), state);
        self.news.retain(|known| known.gate != *name);
        self.news.push(news);
    }

    /// Whoever follows the jobs hears that they run.
    fn look_at_jobs(&mut self) {
        let Some(current) = self.status.revision.current.clone() else {
            return;
        };
        for gate in &self.status.gates {
            let revision = gate.revision.clone().unwrap_or_else(|| current.clone());
            let known = |news: &GateNews| {
                (&news.gate, &news.revision, news.since) == (&gate.name, &revision, gate.since)
            };
            if gate.state == GateState::Running && !self.news.iter().any(known) {
                self.news.retain(|news| news.gate != gate.name);
                self.news.push(heard(gate, &revision, GateState::Running));
            }
        }
    }
}
