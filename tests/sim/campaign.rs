//! Many seeds, on all cores.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bellwether::sim::chaos::Tally;

use super::{
    ALONE, coverage,
    play::{Broken, play},
    shrink::{shrink, tell},
    story::Story,
};

/// Rollouts that a run of the suite begins at least.
const ROLLOUTS: u64 = 10_000;
/// How long a play may take on the clock of the machine.
const STUCK: Duration = Duration::from_secs(60);
/// Broken plays after which a campaign ends.
const ENOUGH: usize = 6;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name} must be a whole number, and is {text:?}"))
        })
}

struct Campaign {
    /// The first seed.
    from: u64,
    next: AtomicU64,
    rollouts: AtomicU64,
    wanted: u64,
    tally: Tally,
    broken: Mutex<BTreeMap<u64, (Story, Broken)>>,
    /// Seeds that are being played, and what the process had computed when they began.
    playing: Mutex<BTreeMap<u64, Duration>>,
    began: Instant,
}

impl Campaign {
    fn run(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.work())).collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                self.end_if_stuck();
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
    }

    /// A play that computes this long goes round in circles at one instant of its time; nothing else can end it. One that
    /// waits for a processor does not.
    fn end_if_stuck(&self) {
        let playing = self.playing.lock().unwrap();
        let computed = computed();
        if let Some((seed, _)) = playing.iter().find(|(_, began)| computed - **began > STUCK) {
            println!("SEED={seed} does not end: something is repeated without letting time pass");
            std::process::exit(101);
        }
    }

    fn work(&self) {
        while self.rollouts.load(Ordering::Relaxed) < self.wanted
            && self.broken.lock().unwrap().len() < ENOUGH
        {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let story = Story::of(seed);
            self.playing.lock().unwrap().insert(seed, computed());
            let outcome = play(&story, &self.tally);
            self.playing.lock().unwrap().remove(&seed);
            match outcome {
                Ok(played) => {
                    self.rollouts.fetch_add(played.rollouts, Ordering::Relaxed);
                }
                Err(broken) => {
                    println!("SEED={seed}: {}", broken.what);
                    self.broken.lock().unwrap().insert(seed, (story, broken));
                }
            }
            let plays = self.plays(seed + 1);
            if plays.is_multiple_of(50) {
                self.show(plays);
            }
        }
    }

    /// How many plays there were when `next` is the seed of the next one.
    fn plays(&self, next: u64) -> u64 {
        next - self.from
    }

    fn show(&self, plays: u64) {
        let mut out = std::io::stdout();
        let rollouts = self.rollouts.load(Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let line = format!(
            "{plays} plays, {rollouts} of {} rollouts, {seconds:.0} s",
            self.wanted
        );
        if out.is_terminal() {
            // Progress that cannot be written is no reason to stop.
            let _ = write!(out, "\r{line} ");
            let _ = out.flush();
        } else if plays.is_multiple_of(500) {
            println!("{line}");
        }
    }
}

/// Time that all threads of this process together had a processor.
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[test]
fn no_fault_breaks_an_invariant_and_every_rollout_comes_to_rest() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(seed) = number("SEED") {
        // The controller's own lines, of this play and of the smallest one that breaks the rule: RUST_LOG=bellwether=debug.
        let logged = |story: &Story| {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            let lines = tracing_subscriber::fmt().with_env_filter(filter).without_time();
            tracing::subscriber::with_default(lines.finish(), || play(story, &Tally::default()))
        };
        let story = Story::of(seed);
        println!("{story:#?}");
        if let Err(broken) = logged(&story) {
            println!("{}\n", tell(&story, &broken));
            let (story, broken) = shrink(&story, broken);
            println!("the smallest play:");
            let _again = logged(&story);
            panic!("made smaller:\n{}", tell(&story, &broken));
        }
        return;
    }
    let from = number("FROM").unwrap_or(0);
    let campaign = Campaign {
        from,
        next: AtomicU64::new(from),
        rollouts: AtomicU64::new(0),
        wanted: number("N").unwrap_or(ROLLOUTS),
        tally: Tally::default(),
        broken: Mutex::default(),
        playing: Mutex::default(),
        began: Instant::now(),
    };
    campaign.run();
    let tally = campaign.tally.lock().unwrap().clone();
    println!(
        "{} rollouts in {} plays from seed {from} on, {:.0} s\n{}",
        campaign.rollouts.load(Ordering::Relaxed),
        campaign.plays(campaign.next.load(Ordering::Relaxed)),
        campaign.began.elapsed().as_secs_f64(),
        coverage::table(&tally)
    );
    let broken = campaign.broken.into_inner().unwrap();
    let told: Vec<String> = broken
        .into_values()
        .map(|(story, broken)| {
            let (story, broken) = shrink(&story, broken);
            tell(&story, &broken)
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    let missing = coverage::missing(&tally);
    assert!(
        campaign.wanted < ROLLOUTS || missing.is_empty(),
        "never exercised: {missing:?}"
    );
}
