//! A template that is pushed while something else is under way: nothing of it serves without a word.

use super::{failed_promotion::unreached, *};
use crate::api::GatePoint;

/// The primary has `b`, and no request reaches it: known, and the canary serves. Then `c` is pushed.
#[test]
fn push_promotes_nothing_that_is_known_not_to_be_reached() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    let (mut told, mut lost, mut pushed) = (Vec::new(), 0, None);
    for now in 10..3600 {
        unreached(&mut seen, now);
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        told.extend(news(&seen, before).into_iter().map(|reason| (now, reason)));
        let known = seen
            .status
            .transfer
            .as_ref()
            .is_some_and(|known| known.attempts > 0);
        if pushed.is_none() && known && seen.routes == at_weight(100) {
            pushed = Some(now);
            seen.target = Some(workload("c", "3"));
        }
        if pushed.is_some_and(|at| now > at) {
            lost += 100 - i64::from(seen.routes.weight().unwrap().percent());
        }
    }
    assert!(pushed.is_some());
    let lost = lost / 100;
    assert!(
        !told.iter().any(|(_, reason)| reason == "Promoted"),
        "pushed at {pushed:?}, all callers lost for {lost} s of an hour: {told:?} {:?}",
        seen.status.all_holds()
    );
}

/// `b` has all of its traffic on the primary, `c` was pushed, and the primary's pods die.
#[test]
fn unreleased_template_that_gets_callers_has_a_hold() {
    let mut seen = promoting_at_half(Reading::Value(100.0), workload("b", "2"));
    measure(&mut seen, 10, 150.0, 150.0);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.status.phase, Some(Phase::Finalising));
    seen.target = Some(workload("c", "3"));
    let dead = unready(workload("b", "2"));
    seen.primary = Some(dead.clone());
    let mut silent = 0;
    for now in 11..100 {
        measure(&mut seen, now, 300.0, 0.0);
        live(&mut seen, now, &spec());
        seen.primary = Some(dead.clone());
        silent += i64::from(seen.routes != at_weight(0) && seen.status.all_holds().is_empty());
    }
    assert!(
        silent < 5,
        "callers are on `c` for {silent} s, and nothing says so: {:?} {:?}",
        seen.status.phase,
        seen.status.message
    );
}

/// The first callers were turned away at the primary, so the target has the service again; then `c` is pushed.
#[test]
fn template_pushed_while_the_target_has_the_service_again_passes_no_gate() {
    let mut seen = super::quarrel::at_rest();
    seen.status.phase = Some(Phase::Initializing);
    seen.status.first_calls = Some(crate::api::FirstCallsStatus::since(at(-3600)));
    seen.status.transfer = Some(crate::api::TransferStatus {
        old_share: 100,
        since: at(0),
        rate: Some(100.0),
        attempts: 1,
        reached: false,
        confirmed: false,
        refused: Some(0.0),
        lost: Some(0.0),
        intermittent: false,
        assumed: false,
        missed: true,
        perhaps_missed: false,
        forced: false,
    });
    seen.routes = at_weight(100);
    seen.apex.serves = Some(Serves::Target);
    seen.primary = Some(workload("a", "1"));
    seen.target = Some(workload("c", "3"));
    let mut spec = spec();
    spec.gates = vec![approval("begin", GatePoint::ConfirmRollout)];
    let (mut past_the_gate, mut texts) = (0, Vec::new());
    for now in 10..600 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec);
        let told = seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before);
        texts.extend(told.map(|notice| (now, notice.message.clone())));
        let runs = seen.primary.as_ref().map(|primary| primary.revision.clone());
        let set_up = seen.status.phase == Some(Phase::Initializing);
        past_the_gate += i64::from(!set_up && runs != seen.status.revision.promoted);
    }
    assert_eq!(
        past_the_gate,
        0,
        "callers are on the primary's {:?}, promoted {:?}, {:?} {:?} {:?}: {texts:?}",
        seen.primary.as_ref().map(|primary| &primary.revision),
        seen.status.revision.promoted,
        seen.routes,
        seen.status.phase,
        seen.status.all_holds()
    );
}
