//! When the sampler asks, what it asks, and what it makes of the answers.

mod bench; // the sampler before a fake source

use std::sync::atomic::Ordering;

use self::bench::{Asked, Bench, bench, bench_with, id, instant, key, pass, request};
use super::*;
use crate::{
    judge::{Reading, Traffic},
    metrics_source::{Scope, query},
};

#[tokio::test(start_paused = true)]
async fn canaries_of_one_interval_share_their_queries_on_the_grid() {
    let mut bench = bench();
    for name in ["a", "b", "c"] {
        bench.sampler.watch(&id(name), request(name, 60));
    }
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        told.insert(bench.woken.recv().await.unwrap().name);
    }
    assert_eq!(told, ["a", "b", "c"].map(str::to_owned).into());
    let asked = bench.fake.asked();
    let both = ["a", "a-primary", "b", "b-primary", "c", "c-primary"]
        .map(str::to_owned)
        .to_vec();
    let question = |what, window, reporters: &[Reporter]| Asked {
        at: instant(15),
        what,
        window: Duration::from_secs(window),
        reporters: reporters.to_vec(),
        workloads: both.clone(),
    };
    let destination = Reporter::Destination;
    assert_eq!(asked.len(), 4, "{asked:?}");
    for expected in [
        question("freshness", 0, &[]),
        question("requests", 60, &[destination]),
        question("durations", 60, &[destination]),
        question("requests", 20, &[destination, Reporter::Source]),
    ] {
        assert!(
            asked.contains(&expected),
            "{expected:?} at a quarter of the interval, in {asked:?}"
        );
    }
    let of = |name: &str| bench.sampler.latest(&id(name)).unwrap();
    let a = of("a");
    assert_eq!((a.at, a.window), (instant(15), Duration::from_secs(60)));
    assert_eq!(a.readings["rate"], Reading::Value(99.0));
    assert_eq!(a.readings["p99"], Reading::Value(99.0));
    let expected = Traffic {
        window: Duration::from_secs(20),
        canary: Reading::Value(1000.0),
        primary: Reading::Value(9000.0),
        reached_at: Some(a.at),
    };
    assert_eq!(a.traffic, expected);
    let b = of("b");
    assert_eq!(b.traffic.canary, Reading::Value(0.0), "its series did not grow");
    assert_eq!(b.traffic.primary, Reading::NoData, "there is no series");
    assert_eq!(b.readings["rate"], Reading::NoData, "nothing to divide");

    bench.woken.recv().await.unwrap();
    assert_eq!(bench.fake.asked().len(), 8, "the next round, no query in between");
    assert_eq!(bench.fake.asked()[7].at, instant(30));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_while_nothing_is_watched() {
    let mut bench = bench();
    pass(3600).await;
    assert!(bench.fake.asked().is_empty());
    bench.sampler.watch(&id("a"), request("a", 4));
    bench.woken.recv().await.unwrap();
    bench.sampler.forget(&id("a"));
    let asked = bench.fake.asked().len();
    pass(3600).await;
    assert_eq!(bench.fake.asked().len(), asked);
    assert_eq!(bench.sampler.latest(&id("a")), None);
}

#[tokio::test(start_paused = true)]
async fn periods_follow_the_interval_within_limits() {
    for (interval, expected) in [(1, 1), (4, 1), (10, 2), (40, 10), (60, 15), (3600, 15)] {
        assert_eq!(
            period(Duration::from_secs(interval)),
            Duration::from_secs(expected),
            "{interval} s"
        );
    }
    let mut bench = bench();
    bench.sampler.watch(&id("a"), request("a", 4));
    bench.sampler.watch(&id("b"), request("b", 60));
    pass(15).await;
    let mut rounds = BTreeMap::new();
    while let Ok(id) = bench.woken.try_recv() {
        *rounds.entry(id.name).or_insert(0) += 1;
    }
    assert_eq!(
        rounds,
        BTreeMap::from([("a".to_owned(), 15), ("b".to_owned(), 1)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_query_is_an_error_for_all_concerned_and_heals() {
    let mut bench = bench();
    bench.fake.broken.store(true, Ordering::Relaxed);
    bench.sampler.watch(&id("a"), request("a", 60));
    bench.sampler.watch(&id("b"), request("b", 60));
    for _ in 0..2 {
        let id = bench.woken.recv().await.unwrap();
        let sample = bench.sampler.latest(&id).unwrap();
        let expected = Reading::Error("metrics server answered with status 502: Bad Gateway".into());
        let traffic = [sample.traffic.canary.clone(), sample.traffic.primary.clone()];
        assert!(
            sample.readings.values().chain(&traffic).all(|r| *r == expected),
            "{sample:?}"
        );
        assert_eq!(sample.seen.canary.pods, expected);
        assert_eq!(sample.seen.canary.is_measured(1), None);
        assert!(sample.counts.is_empty(), "{sample:?}");
    }
    bench.sampler.forget(&id("b"));
    let mut next = async |broken: bool| {
        bench.fake.broken.store(broken, Ordering::Relaxed);
        while bench.woken.recv().await.unwrap() != id("a") {}
        bench.sampler.latest(&id("a")).unwrap()
    };
    assert_eq!(next(false).await.readings["rate"], Reading::Value(99.0));
    let gaps = [next(true).await, next(true).await, next(false).await];
    assert_eq!(gaps.map(|sample| sample.gap_is_new), [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_gets_one_round_at_a_time_and_holds_up_nobody_else() {
    let mut bench = bench();
    *bench.fake.takes.lock().unwrap() = Duration::from_secs(40);
    bench.sampler.watch(&id("a"), request("a", 60));
    pass(20).await;
    assert_eq!(bench.fake.asked().len(), 4);
    *bench.fake.takes.lock().unwrap() = Duration::ZERO;
    bench.sampler.watch(&id("b"), request("b", 4));
    assert_eq!(bench.woken.recv().await.unwrap(), id("b"));
    bench.sampler.forget(&id("b"));
    while bench.woken.recv().await.unwrap() != id("a") {}
    let of_a = |at: i64| {
        bench
            .fake
            .asked()
            .iter()
            .filter(|asked| asked.at == instant(at) && asked.what == "requests")
            .filter(|asked| asked.workloads.iter().any(|name| name == "a"))
            .count()
    };
    // The round of second 15 ended at second 55, those of 30 and 45 never were.
    assert_eq!((of_a(15), of_a(30), of_a(45)), (2, 0, 0));
    assert_eq!(bench.sampler.latest(&id("a")).unwrap().at, instant(15));
    bench.woken.recv().await.unwrap();
    assert_eq!(bench.sampler.latest(&id("a")).unwrap().at, instant(60));
}

#[tokio::test(start_paused = true)]
async fn the_same_question_keeps_its_sample_and_another_drops_it() {
    let mut bench = bench();
    bench.sampler.watch(&id("a"), request("a", 60));
    bench.woken.recv().await.unwrap();
    bench.sampler.watch(&id("a"), request("a", 60));
    assert!(bench.sampler.latest(&id("a")).is_some());
    let mut other = request("a", 60);
    other.metrics.truncate(1);
    bench.sampler.watch(&id("a"), other.clone());
    assert_eq!(bench.sampler.latest(&id("a")), None);
    // What was asked before the change must not answer the new question.
    *bench.fake.takes.lock().unwrap() = Duration::from_secs(5);
    pass(16).await;
    bench.sampler.watch(&id("a"), request("a", 60));
    pass(6).await;
    assert_eq!(bench.sampler.latest(&id("a")), None);
    bench.woken.recv().await.unwrap();
    assert_eq!(bench.sampler.latest(&id("a")).unwrap().readings.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn large_fleets_are_asked_for_in_chunks() {
    let mut bench = bench();
    for n in 0..250 {
        let name = format!("x{n:03}");
        bench.sampler.watch(&id(&name), request(&name, 60));
    }
    for _ in 0..250 {
        bench.woken.recv().await.unwrap();
    }
    assert_eq!(bench.fake.asked().len(), 5 * 4, "of 50 each");
}

/// VictoriaMetrics refuses a query of more than 16 KiB.
#[tokio::test(start_paused = true)]
async fn questions_about_canaries_with_long_names_are_about_fewer_of_them() {
    for (canaries, length) in [(10, 20), (50, 20), (100, 20), (100, 55), (3, 2000)] {
        let mut bench = bench();
        let names: Vec<String> = (0..canaries).map(|n| format!("{n:0length$}")).collect();
        for name in &names {
            bench.sampler.watch(&id(name), request(name, 60));
        }
        for _ in &names {
            bench.woken.recv().await.unwrap();
        }
        let mut asked_about = 0;
        for asked in bench.fake.asked() {
            let scope = Scope {
                workloads: asked.workloads.iter().map(|name| key(name)).collect(),
                ..Scope::default()
            };
            let length = query::longest(&scope);
            let alone = asked.workloads.len() == 2;
            assert!(length < 16 << 10 || alone, "{canaries} canaries: {length} bytes");
            asked_about += if asked.what == "freshness" {
                asked.workloads.len()
            } else {
                0
            };
        }
        assert_eq!(asked_about, 2 * names.len(), "each is asked about once");
    }
}

#[tokio::test(start_paused = true)]
async fn count_that_is_no_number_is_an_error_and_never_silence() {
    let mut bench = bench();
    bench.sampler.watch(&id("c"), request("c", 60));
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("c")).unwrap();
    assert!(matches!(sample.traffic.canary, Reading::Error(_)), "{sample:?}");
    assert!(matches!(sample.readings["rate"], Reading::Error(_)), "{sample:?}");
    assert_eq!(sample.traffic.reached_at, None);
}

#[tokio::test(start_paused = true)]
async fn samples_tell_counts_of_both_versions_and_which_pods_are_seen() {
    let mut bench = bench();
    bench.sampler.watch(&id("a"), request("a", 60));
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("a")).unwrap();
    let sides = &sample.counts[&Duration::from_secs(60)];
    let (canary, primary) = (sides.canary.as_ref().unwrap(), sides.primary.as_ref().unwrap());
    assert_eq!(
        (canary.requests, canary.bad, canary.buckets.len()),
        (1000.0, 10.0, 3)
    );
    assert_eq!((primary.requests, primary.buckets.len()), (9000.0, 0));
    let seen = &sample.seen;
    assert_eq!(seen.canary.pods, Reading::Value(2.0), "two of three within 20 s");
    assert_eq!(seen.primary.pods, Reading::Value(1.0));
    assert_eq!(seen.canary.called.as_ref().unwrap().requests, 1000.0);
    assert_eq!(sample.behind, Duration::ZERO);
    assert_eq!(sample.lag, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn window_of_the_traffic_follows_the_scrapes_that_the_source_shows() {
    let windows = |bench: &Bench| -> Vec<u64> {
        let asked = bench.fake.asked();
        let traffic = asked.iter().filter(|asked| asked.reporters.len() == 2);
        traffic.map(|asked| asked.window.as_secs()).collect()
    };
    let mut bench = bench_with(Settings::default());
    *bench.fake.interval.lock().unwrap() = Some(Duration::from_secs(30));
    bench.sampler.watch(&id("a"), request("a", 60));
    bench.woken.recv().await.unwrap();
    assert_eq!(windows(&bench), [150], "a minute while nothing is known");
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!(sample.scrape_interval, Some(Duration::from_secs(30)));
    assert_eq!(sample.traffic.window, Duration::from_secs(150));
    bench.woken.recv().await.unwrap();
    assert_eq!(windows(&bench), [150, 75]);
    // Another question, and another canary of the same source, begin with what is known.
    bench.sampler.watch(&id("a"), request("a", 4));
    bench.sampler.watch(&id("b"), request("b", 4));
    bench.woken.recv().await.unwrap();
    assert_eq!(windows(&bench), [150, 75, 75]);
}

#[tokio::test(start_paused = true)]
async fn reporter_of_the_analysis_is_the_one_that_is_asked() {
    let mut bench = bench();
    let by_callers = Request {
        reporter: Reporter::Source,
        ..request("a", 60)
    };
    bench.sampler.watch(&id("a"), by_callers);
    bench.woken.recv().await.unwrap();
    let asked = bench.fake.asked();
    let of_metrics = asked
        .iter()
        .filter(|asked| asked.window == Duration::from_secs(60));
    assert!(
        of_metrics
            .into_iter()
            .all(|asked| asked.reporters == [Reporter::Source]),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn metrics_look_back_no_further_than_the_evidence_goes() {
    let mut bench = bench();
    let since = |second| Request {
        since: Some(instant(second)),
        ..request("a", 60)
    };
    bench.sampler.watch(&id("a"), since(1));
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!(
        sample.readings["rate"],
        Reading::NoData,
        "14 s are no whole period of 15 s"
    );
    assert_eq!(bench.fake.asked().len(), 2, "freshness and traffic");
    for _ in 0..2 {
        bench.woken.recv().await.unwrap();
    }
    let sample = bench.sampler.latest(&id("a")).unwrap();
    let thirty = Duration::from_secs(30);
    assert_eq!((sample.at, sample.window), (instant(45), thirty));
    assert_eq!(sample.windows["rate"], thirty);
    assert_eq!(sample.readings["rate"], Reading::Value(99.0));
    assert!(sample.counts.contains_key(&thirty), "{sample:?}");
    // The next step: the sample stays, and what is asked next is about it alone.
    bench.sampler.watch(&id("a"), since(45));
    assert!(bench.sampler.latest(&id("a")).is_some());
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!(sample.windows["rate"], Duration::from_secs(15));
    for _ in 0..9 {
        bench.woken.recv().await.unwrap();
    }
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!(
        (sample.window, sample.windows.len()),
        (Duration::from_secs(60), 0),
        "and no further than it may"
    );
}

#[tokio::test(start_paused = true)]
async fn source_whose_time_is_behind_answers_of_an_earlier_instant() {
    let mut bench = bench();
    let since = |second| Request {
        since: Some(instant(second)),
        ..request("a", 60)
    };
    *bench.fake.behind.lock().unwrap() = TimeDelta::milliseconds(40_300);
    bench.sampler.watch(&id("a"), since(-20));
    // Asked at 15 s, and answered of 26 s before our zero: what evidence there is begins later.
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!(
        (sample.at, sample.behind),
        (instant(-26), Duration::from_secs(41))
    );
    assert_eq!(sample.readings["rate"], Reading::NoData);
    assert_eq!(sample.traffic.reached_at, Some(instant(-26)));
    for at in [-11, 4] {
        bench.woken.recv().await.unwrap();
        let sample = bench.sampler.latest(&id("a")).unwrap();
        assert_eq!(sample.at, instant(at));
        assert_eq!(sample.windows["rate"].as_secs(), if at < 0 { 0 } else { 15 });
    }
    let asked: Vec<_> = bench.fake.asked();
    let windows = asked.iter().filter(|asked| asked.what == "durations");
    assert_eq!(
        windows.map(|asked| asked.window.as_secs()).collect::<Vec<_>>(),
        [30, 15],
        "as far back as evidence goes, by the source's time as soon as that is known"
    );
    // Clocks that differ by less than a second are right.
    *bench.fake.behind.lock().unwrap() = TimeDelta::milliseconds(900);
    bench.woken.recv().await.unwrap();
    bench.woken.recv().await.unwrap();
    let sample = bench.sampler.latest(&id("a")).unwrap();
    assert_eq!((sample.at, sample.behind), (instant(75), Duration::ZERO));
}
