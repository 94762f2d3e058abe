//! What routes and Services are to carry, and in which order that is written.
//!
//! Invariant: towards risk the status is recorded before the act ([`Plan::raise`], [`Plan::stand_in`]); towards safety after
//! it ([`Plan::lower`]). Only a [`Permit`] raises the share of a release.

use super::{capacity, plan::Plan, quarrel, transition::Permit};
use crate::{
    api::Phase,
    defect::{Defect, planted},
    rollout::{Act, Child, Routes, Serves, Weight},
};

impl Plan<'_> {
    /// More traffic for a release, as `permit` allows: the intent goes into the status first, then the routes follow.
    pub(super) fn raise(&mut self, _permit: Permit, weight: Weight) {
        self.stand_in(weight);
    }

    /// Another share for the canary because the primary cannot carry what it has, or to hand the traffic over: the intent goes
    /// into the status first. No release goes on by it.
    pub(super) fn stand_in(&mut self, weight: Weight) {
        if planted(Defect::RaisesBeforeItRecords) {
            self.route(weight);
        }
        self.next.canary_weight = i32::from(weight.percent());
        self.record();
        self.route(weight);
    }

    /// Towards safety: the routes first; the caller records afterwards (or `finish` does). Of what somebody else sends to the
    /// canary as much stays as the primary cannot take.
    pub(super) fn lower(&mut self, weight: Weight) {
        self.towards_safety();
        if planted(Defect::RecordsBeforeItLowers) {
            self.next.canary_weight = i32::from(weight.percent());
            self.record();
        }
        self.route(self.kept_by_others(weight).unwrap_or(weight));
        self.next.canary_weight = i32::from(weight.percent());
    }

    /// What must stay with the canary where it is to get `weight`, if somebody else gave it more and the primary has too few
    /// pods to take that back.
    pub(super) fn kept_by_others(&self, weight: Weight) -> Option<Weight> {
        let least = capacity::least_weight(self);
        let routed = self.seen.routes.weight();
        let given = self.weight().max(weight);
        routed
            .filter(|routed| *routed > given && least > weight)
            .map(|routed| routed.min(least))
    }

    /// Makes the routes carry `weight`, if they do not.
    pub(super) fn route(&mut self, weight: Weight) {
        match &self.seen.routes {
            Routes::Missing
            | Routes::Present {
                owned: true,
                in_shape: false,
                ..
            } => {
                self.act(Act::ApplyRoutes(weight));
            }
            Routes::Present { weight: present, .. } if *present != Some(weight) => {
                self.act(Act::Route(weight));
            }
            _ => {}
        }
    }

    /// Makes the routes lead to the primary alone; what somebody else sends to the canary stays there while the primary
    /// cannot take it. Returns whether they do, as soon as this round is carried out.
    pub(super) fn route_home(&mut self) -> bool {
        let elsewhere = self.seen.routes.weight().is_some_and(|weight| !weight.is_zero());
        let home = !elsewhere || capacity::least_weight(self).is_zero();
        if home {
            if elsewhere {
                self.towards_safety();
            }
            self.route(Weight::ZERO);
        }
        home
    }

    /// Whether the routes carry `weight`, and have done so long enough that every proxy follows (I2). Looks again
    /// when they will have.
    pub(super) fn settled_at(&mut self, weight: Weight) -> bool {
        if self.seen.routes.weight() != Some(weight) {
            return false;
        }
        self.drained()
    }

    /// Whether routes and apex Service are as they are for long enough that every proxy follows.
    pub(super) fn drained(&mut self) -> bool {
        let at = self.seen.routing_since + self.spec.drain;
        if self.now < at {
            self.wake(at);
            return false;
        }
        true
    }

    /// Creates or mends Services and DestinationRules; also the apex Service's content if it exists.
    pub(super) fn mend_children(&mut self) {
        for child in &self.seen.drifted {
            let act = Act::Apply(*child);
            if let Some(due) = quarrel::puts_off(self, &act) {
                // Nothing waits for what somebody undoes again and again.
                self.wake(due);
            } else if *child != Child::ApexService || self.seen.apex.serves.is_some() {
                self.act(act);
            }
        }
    }

    /// Callers without a proxy know no weights: while the primary serves, the apex Service selects it, whatever a manifest says
    /// that is applied during a release. It comes last in a round, so that no rule waits for whoever keeps changing it.
    pub(super) fn keep_callers_on_primary(&mut self) {
        if self.primary().is_none_or(|primary| primary.serving() == 0) {
            return;
        }
        let alone = !self.acting();
        self.point_apex(Serves::Primary);
        if alone && self.acting() {
            // A refusal of it keeps no status from being recorded.
            self.towards_safety();
        }
    }

    /// Without routes of anybody the Services are kept as in any other round. While a primary is set up, or its promotion has
    /// failed, callers stay where they are.
    pub(super) fn keep_service(&mut self) {
        let set_up = !matches!(self.next.phase, None | Some(Phase::Initializing));
        let stays = self.next.phase.is_none_or(Phase::at_rest) && self.next.canary_weight > 0;
        if set_up && !stays {
            self.mend_children();
            self.keep_callers_on_primary();
        }
    }

    /// Makes the apex Service select `serves`.
    pub(super) fn point_apex(&mut self, serves: Serves) {
        if self.seen.apex.serves != Some(serves) {
            self.act(Act::PointApex(serves));
        }
    }
}
