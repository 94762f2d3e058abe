//! A promotion that failed: the canary serves until the primary is as it should be.

use super::*;

/// The primary was deleted during the promotion, came back with `b` and does not get ready; the old template is nowhere.
pub(super) fn failed_on_the_canary() -> Observed {
    let mut seen = promoting_at_half(Reading::Value(100.0), unready(workload("b", "1")));
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
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
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
    let mut seen = promoting_at_half(Reading::Value(100.0), unready(workload("b", "1")));
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

/// a person rolls the primary back to the revision before, by hand, after a failed promotion.
#[test]
fn primary_rolled_back_by_hand_after_a_failed_promotion() {
    let mut seen = failed_on_the_canary();
    // the promotion to `b` failed, the primary was restored to `a` and `a` does not get ready either
    seen.unrestorable = None;
    seen.status.revision.previous = Some("z".to_owned());
    seen.primary = Some(unready(workload("a", "9")));
    for now in 1000..1030 {
        measure(&mut seen, now, 100.0, 0.0);
        let p = seen.primary.clone();
        live(&mut seen, now, &spec());
        assert_eq!(seen.primary, p);
    }
    seen.primary = Some(unready(workload("z", "8")));
    let mut acts = Vec::new();
    for now in 1030..1060 {
        measure(&mut seen, now, 100.0, 0.0);
        acts.extend(carry_out(&mut seen, now, &spec()));
    }
    let over = |act: &&Act| matches!(act, Act::Promote { .. } | Act::Restore { .. });
    assert!(!acts.iter().any(|a| over(&a)), "{:?}", acts.iter().find(over));
}

/// The primary has `b`, is ready, and nobody reaches it; `a` is nowhere. The canary serves, Failed.
pub(super) fn unreached_and_failed() -> (Observed, i64) {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    seen.unrestorable = Some("a".to_owned());
    for now in 10..7200 {
        unreached(&mut seen, now);
        live(&mut seen, now, &spec());
        if seen.status.phase == Some(Phase::Failed) {
            assert_eq!(seen.status.canary_weight, 100);
            return (seen, now);
        }
    }
    panic!("{:?}", seen.status);
}

pub(super) fn unreached(seen: &mut Observed, now: i64) {
    let w = f64::from(seen.routes.weight().unwrap().percent());
    measure(seen, now, 3.0 * w, 0.0);
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    if w > 0.0 {
        sample.traffic.reached_at = Some(at(now));
    }
    // their own proxies count what does not arrive
    sample.seen.canary.called = tallied(3.0 * w, 0.0);
    sample.seen.canary.arrived = tallied(3.0 * w, 0.0);
    sample.seen.primary.called = tallied(3.0 * (100.0 - w), 3.0 * (100.0 - w));
}

/// the fix is pushed, as the hold asks for.
#[test]
fn fix_that_is_pushed_after_an_unreached_promotion() {
    let (mut seen, from) = unreached_and_failed();
    for now in from + 1..from + 300 {
        unreached(&mut seen, now);
        live(&mut seen, now, &spec());
        assert_eq!(seen.routes, at_weight(100));
    }
    seen.target = Some(workload("c", "5"));
    let (mut lost, mut log) = (0, Vec::new());
    for now in from + 300..from + 3900 {
        unreached(&mut seen, now);
        let before = (seen.status.phase, seen.routes.weight());
        live(&mut seen, now, &spec());
        let after = (seen.status.phase, seen.routes.weight());
        if before != after && log.len() < 30 {
            log.push((now - from, after, seen.status.message.clone()));
        }
        lost += i64::from(seen.routes != at_weight(100));
    }
    assert!(
        lost < 60,
        "callers sent to the primary that nobody reaches for {lost} s of an hour: {log:#?}"
    );
}

/// the NetworkPolicy is mended instead; somebody says so.
#[test]
fn policy_is_mended_after_an_unreached_promotion() {
    let (mut seen, from) = unreached_and_failed();
    for now in from + 1..from + 86_400 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        for (side, n) in [
            (&mut sample.seen.canary, 3.0 * w),
            (&mut sample.seen.primary, 3.0 * (100.0 - w)),
        ] {
            side.called = tallied(n, 0.0);
            side.arrived = tallied(n, 0.0);
        }
        if now == from + 1000 {
            seen.orders = order(Verb::Advance, "b");
        }
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        (seen.status.phase, seen.routes.clone()),
        (Some(Phase::Succeeded), at_weight(0)),
        "{:?} {:?} {:?}",
        seen.status.all_holds(),
        seen.status.interventions,
        seen.status.transfer
    );
}

/// The canary serves everything after a failed promotion, and a tool applies `replicas: 0` to the target.
#[test]
fn target_that_serves_alone_gets_its_pods_back() {
    let mut seen = failed_on_the_canary();
    seen.target = Some(without_pods("b", "2"));
    let mut acts = Vec::new();
    for now in 1000..4600 {
        measure(&mut seen, now, 0.0, 0.0);
        acts.extend(live(&mut seen, now, &spec()));
    }
    assert!(
        acts.iter()
            .any(|act| matches!(act, Act::ScaleTarget(n) if *n > 0)),
        "nobody serves for an hour: {:?} {:?}",
        seen.routes,
        seen.status.all_holds()
    );
}
