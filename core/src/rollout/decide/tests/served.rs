//! Whoever has the pods serves: traffic does not stay with a side that cannot answer while the other can.

use super::*;
use crate::api::TransferStatus;

/// What both sides have by the routes, three requests a second.
pub(super) fn measure_routed(seen: &mut Observed, now: i64) {
    let w = f64::from(seen.routes.weight().unwrap().percent());
    let alive = |w: &Option<Workload>| w.as_ref().is_some_and(|w| w.serving() > 0);
    let (c, p) = (alive(&seen.target), alive(&seen.primary));
    let value = |alive: bool, n: f64| if alive { 9.0 * n / 100.0 } else { 0.0 };
    measure(seen, now, value(c, w) * 10.0, value(p, 100.0 - w) * 10.0);
}

/// Nothing is known of a hand-over to the primary.
fn transfer() -> TransferStatus {
    TransferStatus {
        old_share: 0,
        since: at(0),
        rate: None,
        attempts: 0,
        reached: false,
        confirmed: false,
        refused: None,
        lost: None,
        intermittent: false,
        assumed: false,
        missed: false,
        perhaps_missed: false,
        forced: false,
    }
}

/// At rest the primary's pods crash; mia starts the workload and gives it all of the traffic by hand. Then the fix is pushed.
#[test]
fn fix_takes_no_traffic_from_pods_that_serve_to_a_primary_without_pods() {
    let mut seen = quarrel::at_rest();
    seen.status.revision.current = Some("a".to_owned());
    seen.status.revision.promoted = Some("a".to_owned());
    seen.status.revision.mark = Some("1".to_owned());
    seen.status.phase = Some(Phase::Succeeded);
    seen.primary = Some(unready(workload("a", "1")));
    seen.target = Some(workload("a", "1"));
    seen.routes = at_weight(100);
    for now in 10..60 {
        measure_routed(&mut seen, now);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.routes,
        at_weight(100),
        "what mia gave the workload stays there"
    );
    seen.target = Some(workload("c", "2"));
    for now in 60..100 {
        measure_routed(&mut seen, now);
        let acts = live(&mut seen, now, &spec());
        assert!(
            seen.routes.weight().unwrap().percent() == 100,
            "at {now} s {:?} go to a primary without a pod, and two pods of the canary serve: {acts:?} {:?}",
            seen.routes.weight().unwrap().complement(),
            seen.status.all_holds()
        );
    }
}

/// No pod of the primary serves, mia routes 90 % to the canary, and orders what the hold says that helps.
#[test]
fn advance_takes_more_from_a_dead_primary_as_the_hold_says() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.primary = Some(unready(workload("a", "1")));
    seen.routes = at_weight(90);
    for now in 10..15 {
        measure_routed(&mut seen, now);
        live(&mut seen, now, &spec());
    }
    assert_eq!(seen.routes, at_weight(90));
    let promise = seen.status.all_holds().to_vec();
    seen.orders = order(Verb::Advance, "b");
    live(&mut seen, 15, &spec());
    assert!(
        seen.routes.weight().unwrap().percent() >= 90,
        "the primary without pods gets more: {:?}; {promise:?}",
        seen.routes
    );
}

/// The last step is all of the traffic. While the promotion waits until nobody calls the primary any more, all pods of the
/// canary go; the primary is complete.
#[test]
fn canary_that_vanishes_while_its_promotion_waits_gives_the_traffic_back() {
    let mut spec = spec();
    spec.steps = Steps::new(vec![Weight::saturating(10), Weight::FULL]).unwrap();
    let mut seen = promoting_at_half(Reading::Value(100.0), pods("a", "1", 2, 2));
    seen.target = Some(pods("b", "2", 2, 2));
    seen.status.canary_weight = 100;
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(100);
    for now in 10..700 {
        if now == 40 {
            seen.target = Some(pods("b", "2", 2, 0));
        }
        // A client goes on calling the primary's Service.
        measure(&mut seen, now, if now < 40 { 300.0 } else { 0.0 }, 20.0);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.primary.arrived = tallied(20.0, 0.0);
        if now >= 40 {
            sample.seen.canary.pods = Reading::Value(0.0);
            sample.readings = [("request-success-rate".to_owned(), Reading::NoData)].into();
        }
        live(&mut seen, now, &spec);
    }
    assert_eq!(
        seen.routes,
        at_weight(0),
        "eleven minutes after the last pod of the canary went, all of the traffic goes there, and the primary is complete: \
         {:?} {:?} {:?}",
        seen.status.phase,
        seen.status.message,
        seen.status.all_holds()
    );
}

/// Requests did not arrive at the new primary a moment ago, and the canary serves again. Then one of four pods of each side is
/// away.
#[test]
fn primary_that_requests_do_not_reach_gets_nothing_back_because_a_pod_of_each_side_is_away() {
    let mut seen = promoting_at_half(Reading::Value(100.0), pods("b", "1", 4, 4));
    seen.target = Some(pods("b", "2", 4, 4));
    seen.status.canary_weight = 100;
    seen.routes = at_weight(100);
    seen.status.transfer = Some(TransferStatus {
        old_share: 100,
        since: at(9),
        rate: Some(30.0),
        attempts: 1,
        missed: true,
        ..transfer()
    });
    for now in 10..40 {
        if now == 20 {
            seen.target = Some(pods("b", "2", 4, 3));
        }
        if now == 25 {
            seen.primary = Some(pods("b", "1", 4, 3));
        }
        measure(&mut seen, now, 300.0, 0.0);
        let acts = live(&mut seen, now, &spec());
        assert_eq!(
            seen.routes,
            at_weight(100),
            "at {now} s, within the pause of a minute, all requests go to where none arrives: {acts:?} {:?}",
            seen.status.message
        );
    }
}

/// The traffic is back on the primary and arrives there; then nine of its ten pods go, and the canary still has its ten.
#[test]
fn canary_is_not_scaled_away_while_one_of_ten_pods_of_the_primary_serves() {
    let mut seen = promoting_at_half(Reading::Value(100.0), pods("b", "1", 10, 1));
    seen.target = Some(pods("b", "2", 10, 10));
    seen.status.phase = Some(Phase::Finalising);
    seen.status.canary_weight = 0;
    seen.routes = at_weight(0);
    seen.status.transfer = Some(TransferStatus {
        since: at(0),
        rate: Some(30.0),
        reached: true,
        confirmed: true,
        ..transfer()
    });
    for now in 10..120 {
        measure(&mut seen, now, 0.0, 300.0);
        let acts = live(&mut seen, now, &spec());
        assert!(
            !acts.contains(&Act::ScaleTarget(0)),
            "at {now} s ten ready pods go, and one of ten of the primary has all of the traffic: {acts:?} {:?}",
            seen.status.phase
        );
    }
}
