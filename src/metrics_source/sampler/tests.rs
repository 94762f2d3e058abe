use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// Runs with tokio's time, which tests pause; starts 2.5 s after a full minute.
struct TestClock(Instant);

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn now(&self) -> DateTime<Utc> {
        instant(2) + TimeDelta::milliseconds(500) + TimeDelta::from_std(self.0.elapsed()).unwrap()
    }
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// Answers for the workloads `a`, `b` and `c` in namespace `shop`, and notes what it was asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(DateTime<Utc>, String)>>,
    broken: AtomicBool,
    takes: Mutex<Duration>,
}

#[async_trait]
impl MetricSource for Fake {
    async fn vector(&self, promql: &str, at: DateTime<Utc>) -> Result<Vec<(WorkloadKey, f64)>, SourceError> {
        self.asked.lock().unwrap().push((at, promql.to_owned()));
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep_until(Instant::now() + takes).await;
        if self.broken.load(Ordering::Relaxed) {
            return Err(SourceError::Status {
                code: 502,
                body: "Bad Gateway".into(),
            });
        }
        let scale = if promql.starts_with("sum by") { 1000.0 } else { 1.0 };
        let of = |name: &str, value: f64| {
            (
                WorkloadKey {
                    namespace: "shop".into(),
                    workload: name.into(),
                },
                value * scale,
            )
        };
        Ok(vec![
            of("a", 1.0),
            of("b", 2.0),
            of("c", f64::NAN),
            of("a-primary", 9.0),
            of("stranger", 5.0),
        ])
    }
}

impl Fake {
    fn asked(&self) -> Vec<(DateTime<Utc>, String)> {
        self.asked.lock().unwrap().clone()
    }
}

struct Bench {
    fake: Arc<Fake>,
    sampler: Arc<Sampler>,
    woken: UnboundedReceiver<CanaryId>,
    running: tokio::task::JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn bench() -> Bench {
    let (sender, woken) = unbounded_channel();
    let fake = Arc::new(Fake::default());
    let settings = Settings {
        traffic_window: Duration::from_secs(20),
    };
    let clock = Arc::new(TestClock(Instant::now()));
    let source: Arc<dyn MetricSource> = Arc::<Fake>::clone(&fake);
    let sampler = Arc::new(Sampler::new(source, clock, settings, sender));
    let runner = Arc::clone(&sampler);
    let running = tokio::spawn(async move { runner.run().await });
    Bench {
        fake,
        sampler,
        woken,
        running,
    }
}

fn id(name: &str) -> CanaryId {
    CanaryId {
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn request(name: &str, interval: u64) -> Request {
    let metric = |name: &str, kind| MetricSpec {
        name: name.into(),
        kind,
        window: Duration::from_secs(60),
        min: Some(1.0),
        max: None,
    };
    Request {
        namespace: "shop".into(),
        target: name.into(),
        primary: format!("{name}-primary"),
        interval: Duration::from_secs(interval),
        metrics: vec![
            metric("rate", MetricKind::SuccessRate),
            metric("p99", MetricKind::Duration),
        ],
    }
}

/// Lets `seconds` of paused time pass.
async fn pass(seconds: u64) {
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(seconds)).await;
}

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
    assert_eq!(asked.len(), 3, "success rate, duration and requests: {asked:?}");
    for (at, promql) in &asked {
        assert_eq!(*at, instant(15), "a quarter of the interval, aligned");
        let counts = promql.starts_with("sum by");
        let names = if counts {
            "=~\"a|a-primary|b|b-primary|c|c-primary\""
        } else {
            "=~\"a|b|c\""
        };
        assert!(promql.contains(names), "{promql}");
        assert!(
            promql.contains(if counts { "[20s]" } else { "[60s]" }),
            "{promql}"
        );
    }
    let of = |name: &str| bench.sampler.latest(&id(name)).unwrap();
    let a = of("a");
    assert_eq!((a.at, a.window), (instant(15), Duration::from_secs(60)));
    assert_eq!(a.readings["rate"], Reading::Value(1.0));
    let expected = Traffic {
        window: Duration::from_secs(20),
        canary: Reading::Value(1000.0),
        primary: Reading::Value(9000.0),
        reached_at: Some(a.at),
    };
    assert_eq!(a.traffic, expected);
    assert_eq!(of("b").readings["p99"], Reading::Value(2.0));
    assert_eq!(of("b").traffic.primary, Reading::NoData);
    assert_eq!(of("c").readings["rate"], Reading::NoData, "NaN is no data");

    bench.woken.recv().await.unwrap();
    assert_eq!(bench.fake.asked().len(), 6, "the next round, no query in between");
    assert_eq!(bench.fake.asked()[5].0, instant(30));
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
        assert_eq!(period(Duration::from_secs(interval)), expected, "{interval} s");
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
    }
    bench.fake.broken.store(false, Ordering::Relaxed);
    bench.woken.recv().await.unwrap();
    assert_eq!(
        bench.sampler.latest(&id("a")).unwrap().readings["rate"],
        Reading::Value(1.0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_gets_one_round_at_a_time_and_holds_up_nobody_else() {
    let mut bench = bench();
    *bench.fake.takes.lock().unwrap() = Duration::from_secs(40);
    bench.sampler.watch(&id("a"), request("a", 60));
    pass(20).await;
    assert_eq!(bench.fake.asked().len(), 3);
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
            .filter(|(when, q)| *when == instant(at) && q.contains("\"a\""))
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
    assert_eq!(bench.fake.asked().len(), 3 * 3);
}

#[test]
fn count_that_is_no_number_is_an_error_and_never_silence() {
    assert!(matches!(read(Question::Requests, f64::NAN), Reading::Error(_)));
    assert_eq!(read(Question::Requests, 0.0), Reading::Value(0.0));
    let rate = Question::Metric(crate::judge::MetricKind::SuccessRate, Duration::from_secs(10));
    assert_eq!(read(rate, f64::NAN), Reading::NoData);
}
