//! Many seeds: how often a policy rolls back a healthy release, and how often it lets a bad one through.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

use super::{
    Error,
    bounds::clopper_pearson,
    play::{self, Setup},
    release::{Described, Release, in_words},
    story::{Act, Action},
    timeline::rounded,
    units::{clock, number},
    verdict::Outcome,
};

/// What many rehearsals came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Odds {
    /// The first seed; the others follow it.
    pub first_seed: u64,
    /// Requests a second.
    pub rps: f64,
    /// A release that behaves like the present one.
    pub healthy: Group,
    /// The described release; null if none was described.
    pub described: Option<Group>,
}

/// Rehearsals of one release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// How the release behaves, in words.
    #[serde(skip)]
    pub words: String,
    /// How the release behaves.
    pub release: Described,
    /// Rehearsals.
    pub runs: u64,
    /// Promoted.
    pub promoted: Share,
    /// Rolled back.
    pub rolled_back: Share,
    /// Held or undecided.
    pub undecided: Share,
    /// Seconds from the ship to the verdict, or to the end without one.
    pub verdict_seconds: Spread,
    /// Requests that failed until then.
    pub failed_requests: Spread,
}

/// A counted share with its exact 95 % confidence bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// How often it was seen.
    pub count: u64,
    /// In percent.
    pub percent: f64,
    /// Lower bound in percent.
    pub lower_percent: f64,
    /// Upper bound in percent.
    pub upper_percent: f64,
}

/// Middle and upper end of what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Half of the rehearsals had no more.
    pub median: f64,
    /// 95 of 100 rehearsals had no more.
    pub p95: f64,
}

impl Share {
    fn of(count: u64, runs: u64) -> Share {
        let (low, high) = clopper_pearson(count, runs);
        Share {
            count,
            percent: rounded(100.0 * count as f64 / runs.max(1) as f64),
            lower_percent: rounded(100.0 * low),
            upper_percent: rounded(100.0 * high),
        }
    }

    fn words(self, runs: u64) -> String {
        format!(
            "{} of {runs}, {} % (95 % sure: {} % to {} %)",
            self.count,
            number(self.percent, 2),
            number(self.lower_percent, 2),
            number(self.upper_percent, 2)
        )
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Spread {
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

/// One rehearsal, as far as it counts.
struct Run {
    outcome: Outcome,
    after_seconds: f64,
    failed: u64,
}

/// Plays `runs` seeds from `seed` on, on all cores: the described release, if there is one, and a healthy one.
/// `progress` is told how many rehearsals of how many are done.
///
/// # Errors
/// If an object is refused.
pub fn repeat(
    setup: &Setup,
    seed: u64,
    runs: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Odds, Error> {
    let healthy = healthy(setup);
    let described = setup.release != healthy.release || setup.acts != healthy.acts;
    let releases: Vec<&Setup> = if described {
        vec![&healthy, setup]
    } else {
        vec![&healthy]
    };
    let mut groups = play_all(&releases, seed, runs, progress)?.into_iter();
    let mut group = |setup: &Setup| Group::of(setup, &groups.next().unwrap_or_default());
    Ok(Odds {
        first_seed: seed,
        rps: setup.rps,
        healthy: group(&healthy),
        described: described.then(|| group(setup)),
    })
}

/// The same with releases that behave like the present one.
fn healthy(setup: &Setup) -> Setup {
    let acts = setup.acts.iter().map(|act| Act {
        at: act.at,
        action: match &act.action {
            Action::Ship(_) => Action::Ship(Release::default()),
            other => other.clone(),
        },
    });
    Setup {
        release: Release::default(),
        acts: acts.collect(),
        ..setup.clone()
    }
}

fn play_all(
    releases: &[&Setup],
    seed: u64,
    runs: u64,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<Vec<Run>>, Error> {
    let all = runs * releases.len() as u64;
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let outcomes = Mutex::new((0..all).map(|_| None).collect::<Vec<_>>());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= all {
                return;
            }
            let setup = releases[(i / runs) as usize];
            let run = play_one(setup, seed.wrapping_add(i % runs));
            if run.is_err() {
                next.store(all, Ordering::Relaxed);
            }
            outcomes.lock().unwrap_or_else(PoisonError::into_inner)[i as usize] = Some(run);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let runs_of_all = outcomes.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
    let mut rest = runs_of_all.into_iter();
    let groups = releases
        .iter()
        .map(|_| rest.by_ref().take(runs as usize).collect());
    Ok(groups.collect())
}

fn play_one(setup: &Setup, seed: u64) -> Result<Run, Error> {
    let ending = play::play(setup, seed, &mut |_| Ok(()))?;
    Ok(Run {
        outcome: ending.verdict.outcome,
        after_seconds: ending.verdict.after_seconds,
        failed: ending.until_verdict.failed(),
    })
}

impl Group {
    fn of(setup: &Setup, runs: &[Run]) -> Group {
        let all = runs.len() as u64;
        let share = |outcomes: &[Outcome]| {
            let count = runs.iter().filter(|run| outcomes.contains(&run.outcome)).count();
            Share::of(count as u64, all)
        };
        let behaviour = setup.release.behaviour(&setup.present);
        Group {
            words: in_words(&behaviour),
            release: Described::of(&behaviour),
            runs: all,
            promoted: share(&[Outcome::Promoted]),
            rolled_back: share(&[Outcome::RolledBack]),
            undecided: share(&[Outcome::Held, Outcome::Undecided]),
            verdict_seconds: Spread::of(runs.iter().map(|run| run.after_seconds).collect()),
            failed_requests: Spread::of(runs.iter().map(|run| run.failed as f64).collect()),
        }
    }

    fn lines(&self, question: &str, answer: Share) -> Vec<String> {
        let mut lines = vec![format!("{question} {}", answer.words(self.runs))];
        if self.undecided.count > 0 {
            lines.push(format!(
                "  held or undecided at the end: {}",
                self.undecided.words(self.runs)
            ));
        }
        lines.push(format!(
            "  verdict after {} (median), {} (p95); requests failed until then: {} (median), {} (p95)",
            clock(self.verdict_seconds.median),
            clock(self.verdict_seconds.p95),
            self.failed_requests.median,
            self.failed_requests.p95
        ));
        lines
    }
}

impl Odds {
    /// The two answers in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self
            .healthy
            .lines("A healthy release is rolled back:", self.healthy.rolled_back);
        if let Some(group) = &self.described {
            let question = format!("The described release ({}) is let through:", group.words);
            lines.extend(group.lines(&question, group.promoted));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_of_ranks() {
        let values = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(values);
        assert!((spread.median - 50.0).abs() < 1e-9 && (spread.p95 - 95.0).abs() < 1e-9);
        assert!((Spread::of(vec![3.0]).p95 - 3.0).abs() < 1e-9);
        assert!(Spread::of(Vec::new()).median.abs() < 1e-9);
    }
}
