//! A promotion that failed: the canary serves until the primary is as it should be.

use super::*;

/// The primary was deleted during the promotion, came back with `b` and does not get ready; the old template is nowhere.
pub(super) fn failed_on_the_canary() -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.canary_weight = 50;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(50);
    seen.primary = Some(Workload {
        available: 0,
        endpoints: 0,
        ..workload("b", "1")
    });
    seen.unrestorable = Some("a".to_owned());
    for now in 10..400 {
        let full = seen.routes == at_weight(100);
        measure(&mut seen, now, 100.0, if full { 0.0 } else { 100.0 });
        let (target, primary) = (seen.target.clone(), seen.primary.clone());
        live(&mut seen, now, &spec());
        if seen.primary != primary {
            seen.primary = primary;
        }
        assert_eq!(seen.target, target);
        if seen.status.phase == Some(Phase::Failed) {
            break;
        }
    }
    assert_eq!(
        (seen.status.phase, seen.status.canary_weight),
        (Some(Phase::Failed), 100)
    );
    seen
}

#[test]
fn workload_that_is_set_back_to_the_promoted_template_mends_the_primary() {
    let mut seen = failed_on_the_canary();
    seen.target = Some(workload("a", "3"));
    let mut acts = Vec::new();
    for now in 1000..5000 {
        measure(&mut seen, now, 100.0, 0.0);
        seen.told = seen.status.outbox.seq;
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    let mends = |act: &Act| matches!(act, Act::Promote { revision, .. } if revision == "a");
    assert!(acts.iter().any(mends), "{acts:#?} {:?}", seen.status.hold);
}

#[test]
fn primary_that_is_deleted_after_a_failed_promotion_comes_back() {
    let mut seen = failed_on_the_canary();
    seen.primary = None;
    seen.target = Some(workload("a", "3"));
    let mut acts = Vec::new();
    for now in 1000..5000 {
        measure(&mut seen, now, 100.0, 0.0);
        seen.told = seen.status.outbox.seq;
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    let mends = |act: &Act| matches!(act, Act::Promote { .. });
    assert!(acts.iter().any(mends), "{acts:#?} {:?}", seen.status.hold);
}

/// The user set the workload back; the primary gets ready with what was taken back after all.
#[test]
fn revision_that_was_set_back_is_not_promoted_because_the_primary_gets_ready_late() {
    let mut seen = failed_on_the_canary();
    seen.target = Some(workload("a", "3"));
    for now in 1000..1100 {
        measure(&mut seen, now, 100.0, 0.0);
        live(&mut seen, now, &spec());
    }
    seen.primary = Some(workload("b", "1"));
    let mut told = Vec::new();
    for now in 1100..1400 {
        let full = seen.routes == at_weight(100);
        measure(
            &mut seen,
            now,
            if full { 100.0 } else { 0.0 },
            if full { 0.0 } else { 100.0 },
        );
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        let new = seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before);
        told.extend(new.map(|notice| (now, notice.reason.clone(), notice.message.clone())));
    }
    let promoted = told.iter().any(|(_, reason, _)| reason == "Promoted");
    assert!(!promoted, "{told:#?}");
}

/// The primary is ready with `b` and no request reaches it (its new label is in no policy); no ReplicaSet of `a` is left
/// (`revisionHistoryLimit: 0`). Returns every notice of half a day, and how long callers were sent to the primary.
#[test]
fn promotion_that_cannot_be_undone_does_not_fail_again_and_again() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.canary_weight = 50;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(50);
    seen.primary = Some(workload("b", "2"));
    let (mut verdicts, mut lost) = (Vec::new(), 0);
    for now in 10..43_200 {
        let canary = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * canary, 0.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.called = tallied(3.0 * canary, 0.0);
        sample.seen.canary.arrived = tallied(3.0 * canary, 0.0);
        sample.seen.primary.called = tallied(300.0 - 3.0 * canary, 300.0 - 3.0 * canary);
        sample.seen.primary.arrived = tallied(0.0, 0.0);
        lost += i64::from(canary == 0.0);
        let before = seen.status.outbox.seq;
        let acts = live(&mut seen, now, &spec());
        if acts.iter().any(|act| matches!(act, Act::Restore { .. })) {
            seen.unrestorable = Some("a".to_owned());
        }
        let new = seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before);
        verdicts.extend(
            new.filter(|notice| notice.reason == "PromotionFailed")
                .map(|_| now),
        );
    }
    assert!(
        verdicts.len() <= 1,
        "{} verdicts, callers were lost for {lost} s: {:?}",
        verdicts.len(),
        &verdicts[..verdicts.len().min(8)]
    );
}

/// An admission webhook refuses the primary's old template until the undo's time is over; then it is mended.
#[test]
fn primary_returns_to_the_promoted_template_when_that_is_possible_again() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.phase = Some(Phase::Promoting);
    seen.status.canary_weight = 50;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(50);
    seen.primary = Some(Workload {
        available: 0,
        endpoints: 0,
        ..workload("b", "1")
    });
    let mut acts = Vec::new();
    for now in 10..4000 {
        let full = seen.routes == at_weight(100);
        measure(&mut seen, now, 100.0, if full { 0.0 } else { 100.0 });
        let done = live(&mut seen, now, &spec());
        if now > 500 {
            acts.extend(done);
        }
    }
    assert_eq!(
        (seen.status.phase, seen.status.canary_weight),
        (Some(Phase::Failed), 100)
    );
    assert!(
        acts.iter().any(|act| matches!(act, Act::Restore { .. })),
        "{acts:?}"
    );
}
