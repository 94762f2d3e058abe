//! Requests that do not arrive.

use super::*;

/// The first step in which the canary's requests do not grow, though the primary has plenty.
fn nothing_arrives(reached_at: Option<DateTime<Utc>>) -> Observed {
    let mut seen = first_step(Reading::NoData);
    let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
    sample.traffic.canary = Reading::Value(0.0);
    sample.traffic.reached_at = reached_at;
    // One sample tells it where nobody knows when the next one comes.
    sample.scrape_interval = None;
    seen.sample = Some(Arc::new(sample));
    seen
}

#[test]
fn canary_that_was_reached_and_falls_silent_is_dark_and_does_not_come_back_by_itself() {
    let decision = decide(&spec(), &nothing_arrives(Some(at(8))), at(10));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let hold = recorded(&decision.acts[1]).hold.clone().unwrap();
    assert_eq!(
        (hold.reason, hold.retreated, hold.resumes),
        (HoldReason::Dark, true, false)
    );
}

#[test]
fn canary_that_was_never_reached_is_tried_again_after_a_pause_that_grows() {
    let mut seen = nothing_arrives(None);
    let mut now = at(10);
    for (retreat, pause) in [(1, 10), (2, 20), (3, 40)] {
        let decision = decide(&spec(), &seen, now);
        assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
        seen.status = recorded(&decision.acts[1]).clone();
        let hold = seen.status.hold.clone().unwrap();
        assert_eq!(
            (hold.reason, hold.retreated),
            (HoldReason::TrafficNotShifting, true)
        );
        assert_eq!(seen.status.step.as_ref().unwrap().retreats, retreat);
        seen.routes = at_weight(0);

        let early = decide(&spec(), &seen, now);
        assert_eq!(
            (early.acts.len(), early.wake_at),
            (0, Some(now + TimeDelta::seconds(pause)))
        );
        now += TimeDelta::seconds(pause);
        let again = decide(&spec(), &seen, now);
        assert_eq!(again.acts[1], Act::Route(Weight::saturating(10)));
        seen.status = recorded(&again.acts[0]).clone();
        seen.routes = at_weight(10);

        now += TimeDelta::seconds(10);
        let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
        sample.at = now;
        seen.sample = Some(Arc::new(sample));
    }
    let decision = decide(&spec(), &seen, now);
    let retirement = recorded(&decision.acts[1]).retirement.clone().unwrap();
    assert_eq!(retirement.kind, RetirementKind::RollBack);
}

#[test]
fn silence_at_full_weight_takes_the_traffic_back_after_a_window() {
    let mut spec = spec();
    spec.steps = Steps::new([50, 100].map(Weight::saturating).to_vec()).unwrap();
    let mut seen = first_step(Reading::NoData);
    let mut sample = Sample::clone(seen.sample.as_ref().unwrap());
    sample.traffic.canary = Reading::Value(0.0);
    sample.traffic.primary = Reading::Value(0.0);
    seen.sample = Some(Arc::new(sample.clone()));
    seen.routes = at_weight(100);
    seen.status.canary_weight = 100;
    seen.status.step.as_mut().unwrap().index = 1;

    let held = decide(&spec, &seen, at(10));
    seen.status = recorded(&held.acts[0]).clone();
    assert_eq!(seen.status.canary_weight, 100, "one empty sample is no silence");

    sample.at = at(13);
    seen.sample = Some(Arc::new(sample));
    let decision = decide(&spec, &seen, at(13));
    assert_eq!(decision.acts[0], Act::Route(Weight::ZERO));
    let hold = recorded(&decision.acts[1]).hold.clone().unwrap();
    assert_eq!(
        (hold.reason, hold.retreated, hold.resumes),
        (HoldReason::NoData, true, true)
    );
}

#[test]
fn series_that_vanish_are_no_verdict_before_max_blind() {
    let mut seen = nothing_arrives(Some(at(8)));
    let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
    sample.traffic.canary = Reading::NoData;
    sample.seen = Sides::default();
    sample.scrape_interval = Some(Duration::from_secs(1));
    let held = decide(&spec(), &seen, at(10));
    let status = recorded(&held.acts[0]).clone();
    assert_eq!(
        (held.acts.len(), status.canary_weight),
        (1, 10),
        "{:?}",
        held.acts
    );
    assert_eq!(status.hold.as_ref().map(|h| h.reason), Some(HoldReason::NoData));

    let mut back = first_step(Reading::Value(100.0));
    back.status = status.clone();
    let goes_on = decide(&spec(), &back, at(11));
    assert_eq!(recorded(&goes_on.acts[0]).canary_weight, 50);

    seen.status = status;
    seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(71);
    let retreats = decide(&spec(), &seen, at(71));
    assert_eq!(retreats.acts[0], Act::Route(Weight::ZERO), "maxBlind is 60 s");
    let retreat = recorded(&retreats.acts[1]).retreat.clone().unwrap();
    assert_eq!((retreat.reason, retreat.resumes), (HoldReason::NoData, true));
}

#[test]
fn callers_do_not_stay_on_what_no_metric_judges() {
    let mut seen = first_step(Reading::NoData);
    let held = decide(&spec(), &seen, at(10));
    seen.status = recorded(&held.acts[0]).clone();
    assert_eq!((held.acts.len(), seen.status.canary_weight), (1, 10));

    seen.sample.as_mut().map(Arc::make_mut).unwrap().at = at(71);
    let retreats = decide(&spec(), &seen, at(71));
    assert_eq!(retreats.acts[0], Act::Route(Weight::ZERO), "maxBlind is 60 s");
    let status = recorded(&retreats.acts[1]);
    assert_eq!(status.step.as_ref().map(|step| step.retreats), Some(1));
    assert_eq!(
        status.retreat.as_ref().map(|r| r.reason),
        Some(HoldReason::NoData)
    );
}

#[test]
fn requests_that_last_longer_than_the_window_are_no_verdict() {
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(600);
    let mut seen = nothing_arrives(None);
    if let Some(sample) = seen.sample.as_mut().map(Arc::make_mut) {
        sample.at = at(45);
        sample.traffic.window = Duration::from_secs(37);
        sample.traffic.canary = Reading::NoData;
    }
    let decision = decide(&spec, &seen, at(45));
    assert!(
        !decision.acts.contains(&Act::Route(Weight::ZERO)),
        "45 s after the first request"
    );
    // Where durations are known, it is known how long the requests of the primary take.
    let bucket = |le_ms: f64, count: f64| Bucket { le_ms, count };
    let counts = Counts {
        requests: 900.0,
        buckets: vec![bucket(5000.0, 900.0), bucket(f64::INFINITY, 900.0)],
        ..Counts::default()
    };
    if let Some(sample) = seen.sample.as_mut().map(Arc::make_mut) {
        let sides = Sides {
            canary: None,
            primary: Some(counts),
        };
        sample.counts = BTreeMap::from([(Duration::from_secs(37), sides)]);
        sample.at = at(48);
    }
    let decision = decide(&spec, &seen, at(48));
    assert!(
        decision.acts.contains(&Act::Route(Weight::ZERO)),
        "after five seconds more"
    );
}

/// The counts are there, and one query fails: what it would say is not known, and no try of the release fails by it.
#[test]
fn query_that_fails_for_long_rejects_no_release() {
    let mut seen = first_step(Reading::Error("bad_data".to_owned()));
    for now in 10..2000 {
        let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
        sample.at = at(now);
        seen.told = seen.status.outbox.seq;
        let acts = carry_out(&mut seen, now, &spec());
        assert_eq!(seen.status.retirement, None, "at {now}");
        let raised = acts.contains(&Act::Route(Weight::saturating(10)));
        assert!(now < 100 || !raised, "at {now}");
    }
    assert_eq!(seen.status.step.as_ref().map(|step| step.retreats), Some(0));
    assert_eq!(seen.routes, at_weight(0));
}
