//! What no write may break.

use super::{Pods, World};
use crate::{
    api::{CanaryStatus, GatePoint, GateState, GateStatus, Phase, RetirementKind, Verb},
    rollout::{GateNews, Weight},
};

impl World {
    /// Whether every gate at `point` was passed by the present revision.
    fn may_pass(&self, point: GatePoint) -> bool {
        let revision = self.status.revision.current.clone().unwrap_or_default();
        let at_point = self.spec.gates.iter().filter(|gate| gate.at == point);
        let mut names = at_point.map(|gate| (revision.clone(), gate.name.clone()));
        names.all(|key| self.passed.contains(&key))
    }

    /// Whether somebody skipped the analysis of the present revision, and was heeded.
    fn skips(&self) -> bool {
        let revision = &self.status.revision;
        self.status.interventions.iter().any(|known| {
            known.verb == Verb::SkipAnalysis
                && known.refused.is_none()
                && Some(&known.revision) == revision.current.as_ref()
                && revision.started_at.is_none_or(|since| known.at >= since)
        })
    }

    pub(super) fn check_promotion(&self, revision: &str) {
        assert_eq!(
            revision, self.target.revision,
            "what is promoted is not what runs (W1)"
        );
        assert!(
            !revision.starts_with("bad")
                || self.phase() == Some(Phase::Initializing)
                || self.unexamined.contains(revision),
            "a bad revision is promoted (I3)"
        );
        let first_time = self.phase() == Some(Phase::Promoting);
        assert!(
            !first_time || self.may_pass(GatePoint::ConfirmPromotion),
            "{revision} is promoted past a closed gate: {:?}",
            self.status.gates
        );
    }

    /// Pods that all go before others come have no traffic, if somebody else can serve it and is given the time.
    pub(super) fn check_recreation(&self, revision: &str) {
        let serves = |pods: &Pods| pods.workload(1, true).serving() > 0;
        let goes = |primary: &Pods| primary.revision != revision && serves(primary);
        let loses = self.recreate && self.primary.as_ref().is_some_and(goes) && serves(&self.target);
        let over = self
            .status
            .retirement
            .as_ref()
            .is_some_and(|undo| self.now - undo.since >= self.spec.progress_deadline);
        let promotes = self.phase() == Some(Phase::Promoting);
        assert!(
            !loses || !promotes || over || self.route == Some(Weight::FULL),
            "the primary is recreated while it has traffic (I2): {:?}",
            self.status
        );
    }

    pub(super) fn check_scale(&self, replicas: i32) {
        let begins = replicas > 0 && self.phase() == Some(Phase::Progressing);
        assert!(
            !begins || self.may_pass(GatePoint::ConfirmRollout),
            "pods are started before a closed gate: {:?}",
            self.status
        );
        assert!(
            replicas > 0 || self.route == Some(Weight::ZERO),
            "the canary is scaled away at weight {:?} (I2)",
            self.route
        );
        // Somebody may say of pods that are still called that they may go.
        let told = self.status.transfer.as_ref().is_some_and(|known| known.assumed);
        assert!(
            replicas > 0 || told || self.proxies.is_zero() || !self.metrics || !self.target.healthy,
            "the canary is scaled away while proxies send there (I2): {:?}",
            self.status
        );
    }

    pub(super) fn check_record(&self, next: &CanaryStatus) {
        let begins = next.phase == Some(Phase::Promoting) && self.phase() != Some(Phase::Promoting);
        assert!(
            !begins || next.pause.is_none(),
            "a paused release is promoted: {next:?}"
        );
        let skipped = self.skips() || self.spec.skip_analysis;
        assert!(
            !begins || skipped || self.may_pass(GatePoint::PreRollout),
            "a release is promoted that never passed a closed gate: {:?}",
            self.status.gates
        );
        let same = next.revision.started_at == self.status.revision.started_at;
        let analysed = next.step.is_some() && self.status.step.is_none() && same && !skipped;
        let raised = next.canary_weight > self.status.canary_weight || analysed;
        if raised && next.phase == Some(Phase::Progressing) && next.retirement.is_none() {
            // What is recorded is put right again and again; a gate and a skip bear on what is recorded.
            assert!(
                self.may_pass(GatePoint::ConfirmRollout) && self.may_pass(GatePoint::PreRollout),
                "traffic passes a closed gate: {:?}",
                self.status.gates
            );
            assert!(
                !self.skips(),
                "a step is taken in an analysis that was skipped: {next:?}"
            );
        }
        self.check_times(next);
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
            // The pods of what was taken back go when nobody reaches them any more; a promotion is over after that.
            let promoted = next.phase == Some(Phase::Succeeded);
            let newer = Some(&self.target.revision) != next.revision.current.as_ref();
            assert!(
                !promoted || self.target.desired == 0 || newer || !self.metrics,
                "{:?} with a canary that runs (I4)",
                next.phase
            );
        }
    }

    /// A gate that was put back has all its time, and no job is too late before somebody has looked at it.
    fn check_times(&self, next: &CanaryStatus) {
        let late = |gate: &&GateStatus| {
            let why = gate.message.as_ref();
            let late = why.is_some_and(|why| why.starts_with("still closed"));
            late && gate.state == GateState::Rejected && self.status.retirement.is_none()
        };
        for gate in next.gates.iter().filter(late) {
            let back = self.put_back.get(&gate.name);
            let asked = self.spec.gates.iter().find(|asked| asked.name == gate.name);
            let timeout = asked.and_then(|asked| asked.timeout);
            if let (Some(back), Some(timeout)) = (back, timeout) {
                let since = self.now - *back;
                assert!(
                    since >= timeout,
                    "{} was put back {since} ago: {next:?}",
                    gate.name
                );
            }
            let heard = |news: &GateNews| news.gate == gate.name && news.since == gate.since;
            assert!(
                gate.job.is_none() || self.news.iter().any(heard),
                "nobody looked at the job of {}: {next:?}",
                gate.name
            );
        }
    }

    pub(super) fn check_route(&self, weight: Weight) {
        let present = self.route.unwrap_or(Weight::ZERO);
        if weight <= present {
            return;
        }
        let setting_up = self.phase() == Some(Phase::Initializing);
        let transfer = self.status.transfer.as_ref().filter(|_| setting_up);
        let recorded = transfer.map_or(self.status.canary_weight, |transfer| transfer.old_share);
        assert!(
            i64::from(recorded) >= i64::from(weight.percent()),
            "the weight rises before its intent is recorded: {:?}",
            self.status
        );
        if setting_up {
            return;
        }
        let serving = |pods: &Pods| pods.workload(1, false).serving();
        let primary = self.primary.as_ref().map_or(0, serving);
        assert!(
            weight < Weight::FULL
                || self.phase() != Some(Phase::Promoting)
                || self.status.retirement.is_some()
                || serving(&self.target) >= primary,
            "{} pods get the traffic of {primary} (I2): {:?}",
            serving(&self.target),
            self.status
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
        let least = self.spec.steps.weight(0);
        // A promotion that was called off while the primary is to be recreated leaves the canary with everything.
        let alone = self.recreate && weight == Weight::FULL;
        assert!(
            alone
                || weight <= self.sent
                || self.spec.steps.weights().contains(&weight)
                || weight < least
                || self.status.step.is_none(),
            "{weight} is no step (I5)"
        );
        assert!(
            self.target.healthy && self.target.desired > 0,
            "traffic is sent to pods that are not ready (I2)"
        );
    }
}
