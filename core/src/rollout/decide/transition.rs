//! What a release may do next, and what keeps it from doing so: one table for all of its transitions.
//!
//! Invariant: only what takes a release further is a transition. A return, a rollback and an undo are none, so nothing here
//! can be in their way (I6); and nothing but [`may`] and [`ordered`] makes the [`Permit`] that raises a weight.

use super::{capacity, gates, plan::Plan, pods, standing_orders, steps};
use crate::{
    api::{GatePoint, HoldReason, UnderWay},
    rollout::Workload,
};

/// What takes a release further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// A new revision becomes a release.
    Begin,
    /// Its pods are started.
    StartPods,
    /// It gets its first traffic, or gets it again after a retreat.
    FirstTraffic,
    /// What has traffic already, for the primary cannot carry it all, is analysed where it is.
    AnalyseInPlace,
    /// It gets more traffic.
    Step,
    /// The primary takes it over.
    Promote,
    /// The primary takes it over without further analysis.
    PromoteUnanalysed,
}

/// That a transition may be taken. Nothing else raises the weight of a release.
#[derive(Debug)]
pub(super) struct Permit(());

/// What must be so before a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Nobody paused the release.
    NotPaused,
    /// No freeze is in force that keeps a release from beginning, or one under way from going on.
    Thawed,
    /// No freeze is in force that holds what is under way.
    ThawedUnderWay,
    /// All pods of the primary are ready, or none.
    PrimaryReady,
    /// The canary's pods are there, and enough for the next weight.
    CanaryReady,
    /// The workload has the template that was analysed.
    AnalysedTemplate,
    /// What is known is not out of date.
    WatchesWork,
    /// Every route that leads to the Service can be split, and everything that it offers is carried over.
    RoutesFit,
    /// The gates at this point are open. A release comes to them when everything before is so.
    GatesOpen(GatePoint),
}

/// The table. Conditions are asked in this order; a release comes to a gate only when everything before it is so.
fn conditions(transition: Transition) -> &'static [Condition] {
    use Condition::{
        AnalysedTemplate, CanaryReady, GatesOpen, NotPaused, PrimaryReady, RoutesFit, Thawed, ThawedUnderWay,
        WatchesWork,
    };
    match transition {
        Transition::Begin => &[Thawed],
        Transition::StartPods => &[GatesOpen(GatePoint::ConfirmRollout)],
        Transition::FirstTraffic => &[
            RoutesFit,
            CanaryReady,
            GatesOpen(GatePoint::PreRollout),
            NotPaused,
            Thawed,
            PrimaryReady,
            WatchesWork,
        ],
        Transition::AnalyseInPlace => &[
            CanaryReady,
            NotPaused,
            ThawedUnderWay,
            GatesOpen(GatePoint::PreRollout),
        ],
        Transition::Step => &[
            RoutesFit,
            NotPaused,
            PrimaryReady,
            CanaryReady,
            Thawed,
            WatchesWork,
        ],
        Transition::Promote => &[
            NotPaused,
            PrimaryReady,
            AnalysedTemplate,
            CanaryReady,
            Thawed,
            WatchesWork,
            GatesOpen(GatePoint::ConfirmPromotion),
        ],
        Transition::PromoteUnanalysed => &[
            NotPaused,
            CanaryReady,
            Thawed,
            WatchesWork,
            GatesOpen(GatePoint::ConfirmPromotion),
        ],
    }
}

/// Whether the release may take `transition`; if not, everything that keeps it is named.
pub(super) fn may(plan: &mut Plan<'_>, transition: Transition) -> Option<Permit> {
    let mut all = true;
    for condition in conditions(transition) {
        if matches!(condition, Condition::GatesOpen(_)) && !all {
            keep_gates(plan);
        } else {
            all &= met(plan, *condition);
        }
    }
    all.then_some(Permit(()))
}

/// Whether somebody's order takes `transition`, whatever the evidence says: no gate that the release comes to by it is
/// closed. That nothing else is in the way was looked at before the order was accepted.
pub(super) fn ordered(plan: &mut Plan<'_>, transition: Transition) -> Option<Permit> {
    let gates = match transition {
        Transition::FirstTraffic => &[GatePoint::ConfirmRollout, GatePoint::PreRollout][..],
        Transition::Promote => &[GatePoint::ConfirmPromotion][..],
        _ => &[],
    };
    for point in gates {
        if !gates::open(plan, *point) {
            return None;
        }
    }
    Some(Permit(()))
}

fn keep_gates(plan: &mut Plan<'_>) {
    plan.keep_holds(&[HoldReason::AwaitingApproval, HoldReason::AwaitingJob]);
}

/// The transition is not looked at, for there is no evidence to take it on: what kept it, still does.
pub(super) fn keep_all(plan: &mut Plan<'_>) {
    if plan.next.pause.is_some() {
        standing_orders::paused(plan);
    }
    keep_gates(plan);
    if plan.held_since(HoldReason::Frozen).is_some() {
        gates::thawed(plan, gates::under_way(plan));
    }
    if plan.held_since(HoldReason::PrimaryNotReady).is_some() {
        primary_ready(plan);
    }
}

fn met(plan: &mut Plan<'_>, condition: Condition) -> bool {
    match condition {
        Condition::NotPaused => !standing_orders::paused(plan),
        Condition::Thawed => gates::thawed(plan, gates::under_way(plan)),
        Condition::ThawedUnderWay => gates::thawed(plan, UnderWay::Hold),
        Condition::PrimaryReady => primary_ready(plan),
        Condition::CanaryReady => canary_ready(plan),
        Condition::AnalysedTemplate => has_analysed_template(plan),
        Condition::WatchesWork => pods::are_watched(plan),
        Condition::RoutesFit => routes_fit(plan),
        Condition::GatesOpen(point) => gates::open(plan, point),
    }
}

/// What is wrong with the primary, unless it lets a step be taken: all of its pods are ready, so that it could take
/// everything back; or none is (or it is gone altogether), so that every step makes things better and the release may be
/// the fix.
pub(super) fn unready_primary(plan: &Plan<'_>) -> Option<String> {
    let unready = |primary: &&Workload| primary.serving() < primary.desired;
    let primary = plan.primary().filter(unready)?;
    (primary.serving() > 0).then(|| {
        format!(
            "{}: {} of {} pods are ready; no step before all are",
            plan.spec.names.primary,
            primary.serving(),
            primary.desired
        )
    })
}

/// Whether the primary lets a step be taken; names it if not.
pub(super) fn primary_ready(plan: &mut Plan<'_>) -> bool {
    let Some(text) = unready_primary(plan) else {
        return true;
    };
    plan.end_holds_but(HoldReason::PrimaryNotReady, &plan.spec.names.primary);
    let text = plan.hold(HoldReason::PrimaryNotReady, &text);
    plan.say(text);
    false
}

fn canary_ready(plan: &mut Plan<'_>) -> bool {
    let Some(target) = plan.target() else {
        return false;
    };
    let next = steps::next_weight(plan);
    if !capacity::canary_carries(plan, next) {
        pods::start_pods(plan);
        let text = format!(
            "{}: {} of {} pods serve, too few for weight {next} of {} pods",
            plan.spec.names.target,
            target.serving(),
            target.desired,
            capacity::full(plan)
        );
        let text = plan.hold(HoldReason::WorkloadNotReady, &text);
        plan.say(text);
        return false;
    }
    // Of pods of another template, which no pod runs yet, there are none.
    if capacity::canary_complete(target)
        || (!plan.runs_analysed() && capacity::canary_carries(plan, plan.weight()))
    {
        return true;
    }
    let text = pods::not_ready_text(plan, target);
    let text = plan.hold(HoldReason::WorkloadNotReady, &text);
    plan.say(text);
    false
}

/// Whether the target has the template that was analysed. A paused Deployment, or one that its controller has not seen, may
/// have another one that no pod runs: it is no new revision yet, and what is promoted is only what was analysed (W1).
fn has_analysed_template(plan: &mut Plan<'_>) -> bool {
    let analysed = plan.next.revision.current.as_ref();
    let Some(target) = plan.target().filter(|t| Some(&t.revision) != analysed) else {
        return true;
    };
    let why = if target.paused {
        ", because it is paused"
    } else {
        ""
    };
    let text = format!(
        "{} has another pod template than the analysed one, and has not rolled it out{why}",
        plan.spec.names.target
    );
    let text = plan.hold(HoldReason::WorkloadNotReady, &text);
    plan.say(text);
    false
}

/// Whether the traffic of the Service can be moved as a whole: what a VirtualService of another namespace sends there is not
/// split, and what cannot be carried over would be lost for the share that moves.
pub(super) fn routes_fit(plan: &mut Plan<'_>) -> bool {
    let seen = plan.seen;
    for (reason, what) in [
        (HoldReason::RouteElsewhere, &seen.routes_elsewhere),
        (HoldReason::RouteInvalid, &seen.uncarried),
    ] {
        if !what.is_empty() {
            let text = what.join("; ");
            plan.hold_for(reason, &text);
            plan.say(text);
        }
    }
    seen.routes_elsewhere.is_empty() && seen.uncarried.is_empty()
}
