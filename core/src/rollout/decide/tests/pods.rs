//! Pods that are gone, and deadlines of pods.

use super::{transfer::setting_up, *};
use crate::rollout::BrokenWatch;

/// Somebody deletes the primary while it takes the service over, and an admission webhook refuses the new one.
#[test]
fn callers_return_to_the_target_when_the_primary_is_deleted_and_cannot_be_made_anew() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    carry_out(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    carry_out(&mut seen, 20, &spec());
    assert_eq!(seen.routes, at_weight(0));
    seen.primary = None;
    for now in 21..600 {
        measure(&mut seen, now, 0.0, 0.0);
        seen.told = seen.status.outbox.seq;
        carry_out(&mut seen, now, &spec());
    }
    assert_eq!(seen.routes, at_weight(100), "{:?}", seen.status.message);
}

#[test]
fn nothing_is_handed_over_or_scaled_away_on_what_may_be_out_of_date() {
    let mut seen = setting_up(Reading::NoData, Reading::NoData);
    seen.broken_watch = Some(BrokenWatch {
        kind: "EndpointSlice".to_owned(),
        since: at(-600),
        message: "403".to_owned(),
    });
    for now in 10..400 {
        seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(now);
        let acts = live(&mut seen, now, &spec());
        assert!(!acts.contains(&Act::ScaleTarget(0)), "at {now}: {acts:?}");
    }
}

/// Nine of ten nodes of the primary are drained and have no successor while it has all of the traffic; the target's pods are all
/// there.
#[test]
fn one_pod_of_the_primary_does_not_serve_for_ten_of_the_target() {
    let ten = |workload: Workload| Workload {
        desired: 10,
        total: 10,
        updated: 10,
        available: 10,
        endpoints: 10,
        ..workload
    };
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    seen.target = Some(ten(workload("a", "1")));
    seen.primary = Some(ten(workload("a", "1")));
    live(&mut seen, 10, &spec());
    measure(&mut seen, 20, 285.0, 15.0);
    live(&mut seen, 20, &spec());
    assert_eq!(seen.routes, at_weight(0));
    let primary = seen.primary.as_mut().unwrap();
    (primary.available, primary.endpoints) = (1, 1);
    for now in 21..3600 {
        measure(&mut seen, now, 0.0, 300.0);
        live(&mut seen, now, &spec());
    }
    assert_ne!(seen.routes, at_weight(0), "{:?}", seen.status.message);
}

/// Nothing is known of pods any more (the right to watch Deployments was taken away); they got ready long since.
#[test]
fn watch_that_is_broken_is_no_verdict() {
    let broken = Some(BrokenWatch {
        kind: "Deployment".to_owned(),
        since: at(12),
        message: "403 Forbidden".to_owned(),
    });
    let mut seen = promoting_at_half(
        Reading::Value(100.0),
        Workload {
            up_to_date: false,
            updated: 0,
            ..workload("b", "2")
        },
    );
    seen.broken_watch.clone_from(&broken);
    for now in 10..600 {
        measure(&mut seen, now, 100.0, 100.0);
        let primary = seen.primary.clone();
        live(&mut seen, now, &spec());
        seen.primary = primary;
    }
    assert_eq!(
        seen.status.history.first().map(|past| past.message.clone()),
        None,
        "{:?}",
        seen.status.retirement
    );
}

#[test]
fn watch_that_is_broken_rolls_no_release_back() {
    let mut seen = first_step(Reading::NoData);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(0);
    seen.target = Some(Workload {
        up_to_date: true,
        updated: 1,
        available: 1,
        endpoints: 1,
        ..workload("b", "2")
    });
    seen.broken_watch = Some(BrokenWatch {
        kind: "Deployment".to_owned(),
        since: at(12),
        message: "403 Forbidden".to_owned(),
    });
    for now in 10..600 {
        measure(&mut seen, now, 0.0, 100.0);
        live(&mut seen, now, &spec());
    }
    assert_eq!(seen.status.history.first().map(|past| past.message.clone()), None);
}

/// A pod of the primary is replaced, and another one is not yet.
fn half_replaced() -> Observed {
    let primary = Workload {
        updated: 1,
        total: 3,
        ..workload("b", "2")
    };
    promoting_at_half(Reading::Value(100.0), primary)
}

/// Somebody suspends the Canary for a quarter of an hour to make room for the primary's new pods, which start when it goes on.
#[test]
fn primary_has_its_time_after_a_suspension() {
    let mut seen = half_replaced();
    let mut suspended = spec();
    suspended.suspend = true;
    for now in 10..1000 {
        measure(&mut seen, now, 100.0, 100.0);
        let spec = if (20..920).contains(&now) {
            &suspended
        } else {
            &spec()
        };
        if now == 940 {
            seen.primary = Some(workload("b", "2"));
        }
        live(&mut seen, now, spec);
        assert_eq!(seen.status.retirement, None, "at {now}");
    }
}

/// A release is paused at 10 %; somebody deletes the primary (or all of its pods are gone).
fn paused_without_a_primary(primary: Option<Workload>) -> Observed {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.pause = Some(crate::api::Pause {
        by: "mia".to_owned(),
        reason: String::new(),
        since: at(0),
    });
    for now in 10..20 {
        measure(&mut seen, now, 30.0, 270.0);
        live(&mut seen, now, &spec());
    }
    seen.primary = primary;
    for now in 20..3600 {
        let weight = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * weight, 0.0);
        live(&mut seen, now, &spec());
    }
    seen
}

#[test]
fn callers_are_not_left_without_pods_because_a_release_is_paused() {
    let dead = unready(workload("a", "1"));
    let mut found = Vec::new();
    for primary in [None, Some(dead)] {
        let seen = paused_without_a_primary(primary.clone());
        let named = seen
            .status
            .all_holds()
            .iter()
            .any(|hold| hold.reason != HoldReason::Paused);
        if !named && seen.routes != at_weight(100) {
            found.push((primary.is_some(), seen.routes));
        }
    }
    assert!(found.is_empty(), "(is there a primary, routes): {found:?}");
}

/// All traffic moved to the primary in a set-up, and callers are refused there.
#[test]
fn refused_callers_return_though_a_watch_is_broken() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.routes, at_weight(95));
    // a watch breaks (RBAC for Freezes is taken away)
    seen.broken_watch = Some(BrokenWatch {
        kind: "Freeze".to_owned(),
        since: at(12),
        message: "403".to_owned(),
    });
    for now in 12..1800 {
        measure(&mut seen, now, 285.0, 0.0);
        live(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.routes,
        at_weight(100),
        "{:?} {:?}",
        seen.status.message,
        seen.status.transfer
    );
}

/// The target loses its pods at share 95.
#[test]
fn callers_move_to_whoever_serves_though_a_watch_is_broken() {
    let mut seen = setting_up(Reading::Value(300.0), Reading::NoData);
    live(&mut seen, 10, &spec());
    assert_eq!(seen.routes, at_weight(95));
    seen.broken_watch = Some(BrokenWatch {
        kind: "Freeze".to_owned(),
        since: at(12),
        message: "403".to_owned(),
    });
    let t = seen.target.as_mut().unwrap();
    (t.available, t.endpoints) = (0, 0);
    for now in 12..300 {
        measure(&mut seen, now, 0.0, 15.0);
        carry_out(&mut seen, now, &spec());
    }
    assert_eq!(
        seen.routes,
        at_weight(0),
        "{:?} {:?}",
        seen.status.message,
        seen.status.transfer
    );
}

/// Hands are off for a quarter of an hour while the primary gets its pods; returns when the promotion was undone.
fn interrupted(how: &str) -> Option<i64> {
    let mut seen = half_replaced();
    for now in 10..1000 {
        measure(&mut seen, now, 100.0, 100.0);
        if now == 940 {
            seen.primary = Some(workload("b", "2"));
        }
        let off = (20..920).contains(&now);
        if off && how == "invalid" {
            seen.status = crate::rollout::refuse(&seen.status, 2, "spec.analysis.interval: 0s", at(now));
            continue;
        }
        seen.conflict = (off && how == "conflict").then(|| "Service shop belongs to Canary other".to_owned());
        live(&mut seen, now, &spec());
        if seen.status.retirement.is_some() {
            return Some(now);
        }
    }
    None
}

/// The specification is invalid for a quarter of an hour while the primary gets its pods.
#[test]
fn time_of_an_invalid_specification_is_none_of_the_pods() {
    assert_eq!(interrupted("invalid"), None);
}

/// A watch breaks for two minutes of each ten, and a pod of the release never gets ready.
#[test]
fn watch_that_flaps_keeps_no_deadline_for_ever() {
    let mut spec = spec();
    spec.progress_deadline = TimeDelta::seconds(600);
    let mut seen = first_step(Reading::NoData);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.status.last_transition_time = Some(at(5));
    seen.routes = at_weight(0);
    seen.target = Some(Workload {
        updated: 1,
        available: 1,
        endpoints: 1,
        ..workload("b", "2")
    });
    for now in 10..43_200 {
        seen.broken_watch = (now % 600 < 120).then(|| BrokenWatch {
            kind: "Freeze".to_owned(),
            since: at(now - now % 600),
            message: "403".to_owned(),
        });
        measure(&mut seen, now, 0.0, 100.0);
        live(&mut seen, now, &spec);
        if seen.status.phase == Some(Phase::Failed) {
            return;
        }
    }
    panic!("{:?} {:?}", seen.status.resumed_at, seen.status.all_holds());
}

/// Somebody changes the weights by hand while most or all of the primary's pods are away.
#[test]
fn what_somebody_sends_to_the_canary_stays_while_the_primary_cannot_take_it() {
    for (ready, stays) in [(0, 60), (1, 60), (4, 20), (5, 10)] {
        let mut seen = first_step(Reading::Value(99.9));
        seen.target = Some(pods("b", "2", 10, 10));
        seen.primary = Some(pods("a", "1", 10, ready));
        seen.routes = at_weight(60);
        let acts = live(&mut seen, 11, &spec());
        assert_eq!(seen.routes, at_weight(stays), "{ready} of 10 pods: {acts:?}");
        let named = seen
            .status
            .all_holds()
            .iter()
            .any(|hold| hold.reason == HoldReason::PrimaryNotReady);
        assert_eq!(named, stays > 10, "{ready}: {:?}", seen.status.all_holds());
        // It is said once, and nothing is written round after round.
        let acts = live(&mut seen, 12, &spec());
        assert!(stays == 10 || acts.is_empty(), "{ready}: {acts:?}");
        // The pods are back, and so are the weights.
        seen.primary = Some(pods("a", "1", 10, 10));
        live(&mut seen, 13, &spec());
        assert_eq!(seen.routes, at_weight(10), "{ready} of 10 pods");
    }
}

/// The same, and then the release is called off.
#[test]
fn what_the_primary_cannot_take_stays_where_somebody_sent_it_when_the_release_is_withdrawn() {
    for (ready, stays) in [(0, 60), (4, 20), (5, 0)] {
        let mut seen = first_step(Reading::Value(99.9));
        seen.target = Some(pods("b", "2", 10, 10));
        seen.primary = Some(pods("a", "1", 10, ready));
        seen.routes = at_weight(60);
        seen.orders = order(Verb::Abort, "b");
        for now in 11..40 {
            live(&mut seen, now, &spec());
        }
        assert_eq!(seen.routes, at_weight(stays), "{ready} of 10 pods");
        assert_eq!(records(&live(&mut seen, 40, &spec())), 0, "{ready}");
        seen.primary = Some(pods("a", "1", 10, 10));
        for now in 41..80 {
            live(&mut seen, now, &spec());
        }
        assert_eq!(seen.routes, at_weight(0), "{ready} of 10 pods");
        assert_eq!(seen.status.phase, Some(Phase::Failed), "{ready}");
    }
}
