//! Services that are called in bursts: what nobody calls for minutes is not missing.

use super::{transfer::setting_up, *};

/// Requests that a side counted by each second, as its proxies are scraped each 15 s at this second of the grid.
struct Side {
    phase: i64,
    total: f64,
    scrapes: Vec<(i64, f64)>,
}

impl Side {
    fn new(phase: i64) -> Side {
        Side {
            phase,
            total: 0.0,
            scrapes: vec![],
        }
    }

    fn second(&mut self, now: i64, requests: f64) {
        self.total += requests;
        if now.rem_euclid(15) == self.phase {
            self.scrapes.push((now, self.total));
        }
    }

    /// As `increase` over the last `window` seconds.
    fn increase(&self, now: i64, window: i64) -> Reading {
        let mut within = self
            .scrapes
            .iter()
            .filter(|(at, _)| *at > now - window && *at <= now);
        let Some((_, first)) = within.next() else {
            return Reading::NoData;
        };
        within
            .next_back()
            .map_or(Reading::NoData, |(_, last)| Reading::Value(last - first))
    }
}

/// A good release of a service that is called in bursts: this many requests a second for twenty seconds each five minutes.
/// The canary is scraped ten seconds after the primary. Returns how the rollout ended, and every message of a retreat.
fn bursts(rate: f64, begins: i64, hours: i64, steps: &[i64]) -> (Observed, Vec<(i64, String)>) {
    let mut spec = spec();
    spec.interval = TimeDelta::seconds(60);
    spec.steps = Steps::new(steps.iter().map(|step| Weight::saturating(*step)).collect()).unwrap();
    spec.threshold = 5;
    spec.progress_deadline = TimeDelta::seconds(600);
    spec.metrics[0].window = Duration::from_secs(60);
    let mut seen = first_step(Reading::NoData);
    seen.status.canary_weight = 0;
    seen.status.step = None;
    seen.routes = at_weight(0);
    seen.routing_since = at(-600);
    seen.sampled_since = at(-600);
    seen.status.last_transition_time = Some(at(-5));
    let (mut canary, mut primary) = (Side::new(2), Side::new(12));
    let (mut told, mut reached) = (Vec::new(), None);
    for now in -120..hours * 3600 {
        let calls = if (now - begins).rem_euclid(300) < 20 {
            rate
        } else {
            0.0
        };
        let share = f64::from(seen.routes.weight().unwrap().percent()) / 100.0;
        canary.second(now, calls * share);
        primary.second(now, calls * (1.0 - share));
        if now < 0 {
            continue;
        }
        // The sampler's grid is 15 s as well.
        if now % 15 == 0 {
            let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
            sample.at = at(now);
            sample.window = Duration::from_secs(60);
            sample.scrape_interval = Some(Duration::from_secs(15));
            sample.traffic.window = Duration::from_secs(37);
            sample.traffic.canary = canary.increase(now, 37);
            sample.traffic.primary = primary.increase(now, 37);
            if crate::judge::has_requests(&sample.traffic.canary) {
                reached = Some(at(now));
            }
            sample.traffic.reached_at = reached;
            let answered = canary.increase(now, 60).value().unwrap_or_default() >= 0.5;
            let rate = if answered {
                Reading::Value(100.0)
            } else {
                Reading::NoData
            };
            sample.readings = BTreeMap::from([("request-success-rate".to_owned(), rate)]);
        }
        let before = seen.status.outbox.seq;
        live(&mut seen, now, &spec);
        for notice in seen
            .status
            .outbox
            .pending
            .iter()
            .filter(|notice| notice.seq > before)
        {
            if matches!(
                notice.reason.as_str(),
                "Retreated" | "RolledBack" | "AnalysisPassed" | "WeightAdvanced" | "Promoted"
            ) {
                told.push((now, format!("{}: {}", notice.reason, notice.message)));
            }
        }
        if seen.status.phase.is_some_and(Phase::at_rest) {
            break;
        }
    }
    (seen, told)
}

#[test]
fn burst_that_the_primary_is_scraped_first_in_rolls_no_good_release_back() {
    for begins in [3, 5, 8, 0, 13] {
        let (seen, told) = bursts(20.0, begins, 6, &[10, 50]);
        assert_ne!(
            seen.status.phase,
            Some(Phase::Failed),
            "begins {begins}: {told:#?}"
        );
    }
}

#[test]
fn smaller_bursts_after_minutes_of_silence_roll_no_good_release_back() {
    for begins in [3, 5, 8, 0, 13] {
        let (seen, told) = bursts(4.0, begins, 6, &[10, 11, 12, 13, 14]);
        assert_ne!(
            seen.status.phase,
            Some(Phase::Failed),
            "begins {begins}: {told:#?}"
        );
    }
}

/// So many requests within a second each four minutes, of which every twentieth goes to the primary at 5 %; scrapes each 15 s, those
/// of the primary ten seconds after those of the target. Everything arrives, whoever has it. Returns in how many of 6 cases the
/// service is not set up after two hours.
fn set_up_by_bursts(burst: usize) -> usize {
    let mut stuck = 0;
    for begins in (0_i64..240).step_by(40) {
        let mut seen = setting_up(Reading::NoData, Reading::NoData);
        seen.routes = at_weight(100);
        let (mut target, mut primary) = (Side::new(2), Side::new(12));
        let (mut count, mut reached, mut told) = (0, None, Vec::new());
        for now in -300..8_000 {
            let share = f64::from(seen.routes.weight().unwrap().percent());
            if (now - begins).rem_euclid(240) == 0 {
                for _ in 0..burst {
                    count += 1;
                    let goes = if share == 95.0 {
                        count % 20 == 0
                    } else {
                        share == 0.0
                    };
                    if goes {
                        primary.total += 1.0;
                    } else {
                        target.total += 1.0;
                    }
                }
            }
            target.second(now, 0.0);
            primary.second(now, 0.0);
            if now < 10 {
                continue;
            }
            if now % 15 == 0 {
                let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
                sample.at = at(now);
                sample.scrape_interval = Some(Duration::from_secs(15));
                sample.traffic.window = Duration::from_secs(37);
                sample.traffic.canary = target.increase(now, 37);
                sample.traffic.primary = primary.increase(now, 37);
                if crate::judge::has_requests(&sample.traffic.canary) {
                    reached = Some(at(now));
                }
                sample.traffic.reached_at = reached;
            }
            let before = seen.status.outbox.seq;
            live(&mut seen, now, &spec());
            let new = seen
                .status
                .outbox
                .pending
                .iter()
                .filter(|notice| notice.seq > before);
            told.extend(new.map(|notice| (now, notice.reason.clone(), notice.message.clone())));
            if seen.status.phase == Some(Phase::Initialized) {
                break;
            }
        }
        if seen.status.phase != Some(Phase::Initialized) {
            stuck += 1;
        }
    }
    stuck
}

#[test]
fn service_that_is_called_in_bursts_is_set_up() {
    let stuck: Vec<(usize, usize)> = [4, 8, 20, 40, 200]
        .map(|burst| (burst, set_up_by_bursts(burst)))
        .to_vec();
    assert!(
        stuck.iter().all(|(_, cases)| *cases == 0),
        "(requests, of 6 cases never set up): {stuck:?}"
    );
}

/// As a13, for a promotion: bursts of this many requests within ten seconds, this far apart. Returns in how many of 6 cases a good
/// revision is not promoted.
fn promoted_by_bursts(burst: i64, apart: i64) -> (usize, Vec<String>) {
    let (mut failed, mut why) = (0, Vec::new());
    for begins in 0..12 {
        let begins = begins * apart / 12;
        let mut spec = spec();
        spec.progress_deadline = TimeDelta::seconds(600);
        let mut seen = promoting_at_half(Reading::NoData, workload("b", "2"));
        seen.status.step = None;
        let (mut canary, mut primary) = (Side::new(2), Side::new(12));
        let mut reached = None;
        for now in -300..8_000 {
            let share = f64::from(seen.routes.weight().unwrap().percent()) / 100.0;
            let calls = if (now - begins).rem_euclid(apart) < 10 {
                burst as f64 / 10.0
            } else {
                0.0
            };
            canary.second(now, calls * share);
            primary.second(now, calls * (1.0 - share));
            if now < 10 {
                continue;
            }
            if now % 15 == 0 || now == 10 {
                let sample = seen.sample.as_mut().map(Arc::make_mut).unwrap();
                sample.at = at(now);
                sample.scrape_interval = Some(Duration::from_secs(15));
                sample.traffic.window = Duration::from_secs(37);
                sample.traffic.canary = canary.increase(now, 37);
                sample.traffic.primary = primary.increase(now, 37);
                if crate::judge::has_requests(&sample.traffic.canary) {
                    reached = Some(at(now));
                }
                sample.traffic.reached_at = reached;
            }
            live(&mut seen, now, &spec);
            if seen.status.phase.is_some_and(Phase::at_rest) {
                break;
            }
        }
        if seen.status.phase != Some(Phase::Succeeded) {
            failed += 1;
            why.push(format!("{begins}: {:?}", seen.status.message));
        }
    }
    why.truncate(2);
    (failed, why)
}

#[test]
fn service_that_is_called_in_bursts_is_promoted() {
    let found: Vec<_> = [
        (40, 90),
        (40, 120),
        (100, 75),
        (100, 150),
        (100, 180),
        (100, 240),
        (100, 300),
    ]
    .map(|(burst, apart)| (burst, apart, promoted_by_bursts(burst, apart)))
    .to_vec();
    assert!(
        found.iter().all(|(_, _, (failed, _))| *failed == 0),
        "(requests, s apart, of 6 cases): {found:#?}"
    );
}
