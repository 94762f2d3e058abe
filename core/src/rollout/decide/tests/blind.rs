//! Metrics that cannot be read, again and again.

use super::*;

/// A query fails whenever the canary has requests (its answer is too large then), and is answered without them.
#[test]
fn release_that_can_never_be_measured_is_not_given_traffic_for_ever() {
    let mut seen = first_step(Reading::Value(100.0));
    let (mut raised, mut exposed) = (0, 0);
    for now in 10..43_200 {
        let weight = seen.routes.weight().unwrap();
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let canary = if weight.is_zero() { 0.0 } else { 100.0 };
        sample.traffic.canary = Reading::Value(canary);
        let reading = if canary > 0.0 {
            Reading::Error("answer of the metrics server exceeds 33554432 bytes".to_owned())
        } else {
            Reading::NoData
        };
        sample.readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
        let acts = live(&mut seen, now, &spec());
        raised += i64::from(acts.contains(&Act::Route(Weight::saturating(10))));
        exposed += i64::from(!weight.is_zero());
    }
    assert!(
        raised <= 25,
        "{raised} times in half a day, {exposed} s on what nobody judges"
    );
}

/// Prometheus dies of memory: it answers for half a minute, and reads its log for three and a half.
#[test]
fn source_that_comes_and_goes_does_not_expose_callers_again_and_again() {
    let mut seen = first_step(Reading::Value(100.0));
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(60);
    let mut raised = 0;
    for now in 10..43_200 {
        let up = now % 240 < 30;
        let weight = seen.routes.weight().unwrap();
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let down = || Reading::Error("connection refused".to_owned());
        let count = |n: f64| if up { Reading::Value(n) } else { down() };
        sample.traffic.canary = count(if weight.is_zero() { 0.0 } else { 100.0 });
        sample.traffic.primary = count(900.0);
        let reading = if up { Reading::NoData } else { down() };
        sample.readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
        let acts = live(&mut seen, now, &spec);
        raised += i64::from(acts.contains(&Act::Route(Weight::saturating(10))));
    }
    assert!(raised <= 50, "{raised} times in half a day");
}

/// the primary lost most of its pods, and Prometheus is away.
#[test]
fn blind_beside_a_scarce_primary() {
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 50;
    seen.routes = at_weight(50);
    let ten = |w: Workload, there: i32| Workload {
        desired: 10,
        total: 10,
        updated: there,
        available: there,
        endpoints: there,
        ..w
    };
    seen.target = Some(ten(workload("b", "2"), 10));
    seen.primary = Some(ten(workload("a", "1"), 3));
    let mut written = 0;
    for now in 10..610 {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        sample.traffic.canary = Reading::Error("refused".to_owned());
        sample.traffic.primary = Reading::Error("refused".to_owned());
        sample.readings = BTreeMap::from([(
            "request-success-rate".to_owned(),
            Reading::Error("refused".to_owned()),
        )]);
        let acts = live(&mut seen, now, &spec());
        if now >= 110 {
            written += records(&acts);
        }
    }
    assert!(
        written < 20,
        "{written} {:?} w{} {:?}",
        seen.status.step,
        seen.status.canary_weight,
        seen.status.all_holds()
    );
}

/// Prometheus comes and goes; in the pause, with metrics back, one pod of two is replaced by a drain for 20 s.
#[test]
fn pod_is_away_in_the_pause_of_a_blind_retreat() {
    let mut seen = first_step(Reading::Value(100.0));
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(60);
    spec.progress_deadline = TimeDelta::seconds(600);
    let mut retreats = Vec::new();
    let mut now = 10;
    let mut back = None;
    while now < 43_200 {
        let weight = seen.routes.weight().unwrap();
        let n = seen.status.step.as_ref().map_or(0, |s| s.blind_retreats);
        let up = weight.is_zero();
        if weight.is_zero() && retreats.len() < n as usize {
            retreats.push(now);
            back = Some(now);
        }
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        let down = || Reading::Error("connection refused".to_owned());
        let count = |n: f64| if up { Reading::Value(n) } else { down() };
        sample.traffic.canary = count(if weight.is_zero() { 0.0 } else { 100.0 });
        sample.traffic.primary = count(900.0);
        let reading = if up { Reading::NoData } else { down() };
        sample.readings = BTreeMap::from([("request-success-rate".to_owned(), reading)]);
        let away = n == 5 && back.is_some_and(|at| (at + 700..at + 720).contains(&now));
        let t = seen.target.as_mut().unwrap();
        let there = if away { 1 } else { 2 };
        (t.available, t.endpoints, t.updated) = (there, there, there);
        live(&mut seen, now, &spec);
        assert!(
            seen.status.retirement.is_none(),
            "at {now}, retreats {retreats:?}: {:?}",
            seen.status.retirement
        );
        if n == 6 {
            break;
        }
        now += 1;
    }
}

/// The source is behind for both sides: it reads no pod of either, and good values of before go on.
#[test]
fn source_that_is_behind_rolls_no_release_back() {
    let mut seen = first_step(Reading::Value(100.0));
    let mut told = Vec::new();
    for now in 10..3600 {
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 300.0 - 3.0 * w);
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.pods = Reading::Value(0.0);
        sample.seen.primary.pods = Reading::Value(0.0);
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec());
        told.extend(news(&seen, before).into_iter().map(|reason| (now, reason)));
    }
    assert!(!told.iter().any(|(_, reason)| reason == "RolledBack"), "{told:?}");
}

/// The last step is all of the traffic. Everything is good until everybody goes home at 300 s: nobody calls either side any more.
#[test]
fn good_release_is_not_rolled_back_because_nobody_calls_at_night() {
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(60);
    spec.max_blind = TimeDelta::seconds(600);
    spec.threshold = 5;
    spec.steps = Steps::new(vec![Weight::saturating(10), Weight::FULL]).unwrap();
    spec.gates = vec![approval("end", crate::api::GatePoint::ConfirmPromotion)];
    let mut seen = first_step(Reading::Value(100.0));
    seen.status.canary_weight = 100;
    seen.status.step.as_mut().unwrap().index = 1;
    seen.routes = at_weight(100);
    let mut told = Vec::new();
    for now in 10..7200 {
        if now % 15 == 0 {
            let called = now < 300;
            measure(&mut seen, now, if called { 300.0 } else { 0.0 }, 0.0);
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.scrape_interval = Some(Duration::from_secs(15));
            sample.traffic.window = Duration::from_secs(37);
            let rate = if called {
                Reading::Value(100.0)
            } else {
                Reading::NoData
            };
            sample.readings = [("request-success-rate".to_owned(), rate)].into();
            sample.traffic.reached_at = Some(at(now.min(285)));
        }
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec);
        told.extend(news(&seen, before).into_iter().map(|reason| (now, reason)));
        assert!(
            seen.status.retirement.is_none(),
            "at {now} s a release of which every check passed: {:?}; {told:?}",
            seen.status.retirement
        );
    }
}

/// The source answers everything but which pods it reads. All requests fail.
#[test]
fn step_begins_anew_only_when_every_query_has_its_answer() {
    let mut seen = first_step(Reading::Value(50.0));
    let mut attempts = Vec::new();
    for now in 10..3600 {
        let before = seen.routes.clone();
        let w = f64::from(seen.routes.weight().unwrap().percent());
        measure(&mut seen, now, 3.0 * w, 3.0 * (100.0 - w));
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.seen.canary.pods = Reading::Error("query timed out".to_owned());
        sample.seen.primary.pods = Reading::Error("query timed out".to_owned());
        if w > 0.0 {
            sample.traffic.reached_at = Some(at(now));
        }
        live(&mut seen, now, &spec());
        if before == at_weight(0) && seen.routes != before {
            attempts.push(now);
        }
    }
    assert!(
        attempts.is_empty(),
        "a release at which half of the requests fail gets traffic again at {attempts:?} s, though the same query has no answer: {:?} {:?}",
        seen.status.phase,
        seen.status.all_holds()
    );
}
