//! What a pod counts, and what Prometheus makes of it: `istio_requests_total` and the histogram of durations.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::judge::Bucket;

/// Upper bounds of the buckets in milliseconds, Istio's.
pub const BOUNDS: [f64; 17] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0, 30_000.0,
    60_000.0, 300_000.0, 600_000.0,
];

/// How long scrapes are kept; longer than any window.
pub const KEPT: TimeDelta = TimeDelta::minutes(12);

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Answers that were no 5xx.
    pub good: f64,
    /// 5xx.
    pub bad: f64,
    /// 403 of the pod's proxy; not among the good ones.
    pub denied: f64,
    /// By bucket, not cumulative; what is beyond the last bound is in the totals only.
    pub buckets: [f64; BOUNDS.len()],
}

/// The counters of one pod with their scrapes.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    now: Counts,
    scrapes: VecDeque<(DateTime<Utc>, Counts)>,
}

impl Meter {
    /// Counts an answer.
    pub fn count(&mut self, failed: bool, milliseconds: f64) {
        if failed {
            self.now.bad += 1.0;
        } else {
            self.now.good += 1.0;
        }
        let place = BOUNDS.partition_point(|bound| *bound < milliseconds);
        if let Some(bucket) = self.now.buckets.get_mut(place) {
            *bucket += 1.0;
        }
    }

    /// Counts a request that the pod's proxy denied.
    pub fn deny(&mut self) {
        self.now.denied += 1.0;
        if let Some(bucket) = self.now.buckets.first_mut() {
            *bucket += 1.0;
        }
    }

    /// The process that counts begins anew.
    pub fn reset(&mut self) {
        self.now = Counts::default();
    }

    /// Keeps the counters as they are at `at`.
    pub fn scrape(&mut self, at: DateTime<Utc>) {
        self.scrapes.push_back((at, self.now));
        while self.scrapes.front().is_some_and(|(old, _)| at - *old > KEPT) {
            self.scrapes.pop_front();
        }
    }

    /// Whether two scrapes up to `known` were taken in the window that ends at `at`.
    #[must_use]
    pub fn scraped_twice(&self, at: DateTime<Utc>, known: DateTime<Utc>, window: TimeDelta) -> bool {
        let scrapes = self.scrapes.iter().rev().map(|(when, _)| *when);
        scrapes
            .filter(|when| *when > at - window && *when <= known)
            .nth(1)
            .is_some()
    }

    /// All scrapes are forgotten.
    pub fn forget(&mut self) {
        self.scrapes.clear();
    }

    /// When the newest scrape was taken that is known at `at`.
    #[must_use]
    pub fn newest(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.scrapes
            .iter()
            .rev()
            .map(|(when, _)| *when)
            .find(|when| *when <= at)
    }

    /// The usual time between two scrapes in `span` up to `at`, of those up to `known`, if there were some before as well: scrapes that failed do not
    /// count, as `up` has samples of them too.
    #[must_use]
    pub fn gap(&self, at: DateTime<Utc>, known: DateTime<Utc>, span: TimeDelta) -> Option<TimeDelta> {
        let from = at - span;
        self.scrapes.front().filter(|(when, _)| *when <= from)?;
        let times = self.scrapes.iter().map(|(when, _)| *when);
        let within: Vec<DateTime<Utc>> = times.filter(|when| *when > from && *when <= known).collect();
        let mut gaps: Vec<TimeDelta> = within.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort();
        gaps.get(gaps.len() / 2).copied()
    }

    /// What is to be known of the window that ends at `at`, at `at`: see [`Meter::increase_of_known`].
    #[must_use]
    pub fn increase(&self, at: DateTime<Utc>, window: TimeDelta) -> Option<Counts> {
        self.increase_of_known(at, at, window)
    }

    /// What PromQL's `increase` says of the window that ends at `at` if scrapes are known up to `known`: the growth between its first and last scrape,
    /// extrapolated to the window's ends by half a scrape interval at most. A series of errors begins with its first
    /// error, so that the first ones are not seen as growth.
    #[must_use]
    pub fn increase_of_known(
        &self,
        at: DateTime<Utc>,
        known: DateTime<Utc>,
        window: TimeDelta,
    ) -> Option<Counts> {
        let after = |instant| self.scrapes.partition_point(|(when, _)| *when <= instant);
        let within: Vec<&(DateTime<Utc>, Counts)> = {
            let (first, end) = (after(at - window), after(known));
            self.scrapes.range(first..end.max(first)).collect()
        };
        if within.is_empty() {
            return None;
        }
        let total = |c: &Counts| c.good;
        let good = growth(&within, at, window, total);
        let bad = growth(&within, at, window, |c| c.bad);
        let denied = growth(&within, at, window, |c| c.denied);
        if good.is_none() && bad.is_none() && denied.is_none() {
            return None;
        }
        let (good, bad, denied) = (good.unwrap_or(0.0), bad.unwrap_or(0.0), denied.unwrap_or(0.0));
        let mut buckets = [0.0; BOUNDS.len()];
        for (i, bucket) in buckets.iter_mut().enumerate() {
            *bucket = growth(&within, at, window, |c| c.buckets[i]).unwrap_or(0.0);
        }
        Some(Counts {
            good,
            bad,
            denied,
            buckets,
        })
    }
}

fn growth(
    scrapes: &[&(DateTime<Utc>, Counts)],
    at: DateTime<Utc>,
    window: TimeDelta,
    of: impl Fn(&Counts) -> f64,
) -> Option<f64> {
    let mut exists = scrapes
        .iter()
        .skip_while(|(_, counts)| of(counts) == 0.0)
        .peekable();
    let (first_at, first) = exists.peek().map(|(when, counts)| (*when, of(counts)))?;
    let (count, last_at, last) = exists.fold((0u32, first_at, first), |(n, _, _), (when, counts)| {
        (n + 1, *when, of(counts))
    });
    if count < 2 {
        return None;
    }
    let seconds = |span: TimeDelta| span.as_seconds_f64();
    let sampled = seconds(last_at - first_at);
    let average = sampled / f64::from(count - 1);
    let edge = |gap: f64| if gap < average * 1.1 { gap } else { average / 2.0 };
    // A counter that is lower than before began anew.
    let pairs = scrapes.windows(2).map(|pair| (of(&pair[0].1), of(&pair[1].1)));
    let resets: f64 = pairs
        .filter(|(before, after)| after < before)
        .map(|(before, _)| before)
        .sum();
    let increase = last - first + resets;
    let mut before = edge(seconds(first_at - (at - window)));
    if increase > 0.0 && first >= 0.0 {
        // A counter is not extrapolated below zero.
        before = before.min(sampled * first / increase);
    }
    let after = edge(seconds(at - last_at));
    Some(increase * (sampled + before + after) / sampled)
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.good += other.good;
        self.bad += other.bad;
        self.denied += other.denied;
        for (own, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *own += theirs;
        }
    }
}

impl Counts {
    /// The buckets as Prometheus has them: each counts those below as well, and the last one all; what is beyond the last
    /// bound is not in it.
    #[must_use]
    pub fn cumulative(&self) -> Vec<Bucket> {
        let mut count = 0.0;
        let finite = self.buckets.iter().zip(BOUNDS).map(|(bucket, le_ms)| {
            count += bucket;
            Bucket { le_ms, count }
        });
        let mut buckets: Vec<Bucket> = finite.collect();
        buckets.push(Bucket {
            le_ms: f64::INFINITY,
            count,
        });
        buckets
    }

    /// All answers.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.good + self.bad + self.denied
    }

    /// PromQL's `histogram_quantile`: linear within the bucket; `None` without answers.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total: f64 = self.buckets.iter().sum();
        if total <= 0.0 {
            return None;
        }
        let rank = q * total;
        let (mut seen, mut lower) = (0.0, 0.0);
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            if *bucket > 0.0 && seen + bucket >= rank {
                return Some(lower + (bound - lower) * (rank - seen) / bucket);
            }
            seen += bucket;
            lower = bound;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::clock::SimClock;

    #[test]
    fn scrapes_tell_how_often_and_when_they_were() {
        let start = SimClock::epoch();
        let at = |second| start + TimeDelta::seconds(second);
        let mut meter = Meter::default();
        for scrape in (0..10).filter(|scrape| *scrape != 7) {
            meter.scrape(at(scrape * 15));
        }
        assert_eq!(meter.newest(at(140)), Some(at(135)));
        assert_eq!(meter.newest(at(29)), Some(at(15)), "what is known late is old");
        let gap = |span| meter.gap(at(140), at(140), TimeDelta::seconds(span));
        assert_eq!(gap(100), Some(TimeDelta::seconds(15)), "one was lost");
        assert_eq!(gap(300), None, "it is younger");
    }

    #[test]
    fn increase_is_extrapolated_to_the_window_and_needs_two_scrapes() {
        let start = SimClock::epoch();
        let mut meter = Meter::default();
        for second in 0..=20 {
            for _ in 0..10 {
                meter.count(false, 8.0);
            }
            meter.scrape(start + TimeDelta::seconds(second));
            if second == 0 {
                assert_eq!(meter.increase(start, TimeDelta::seconds(10)), None);
            }
        }
        let end = start + TimeDelta::seconds(20);
        let counts = meter.increase(end, TimeDelta::seconds(10)).unwrap();
        assert!((counts.all() - 100.0).abs() < 1e-6, "{counts:?}");
        assert_eq!(counts.quantile(0.5), Some(7.5));
        assert_eq!(
            crate::judge::counts::quantile(0.5, &counts.cumulative()),
            Some(7.5)
        );
    }

    #[test]
    fn errors_alone_are_requests_as_well() {
        let start = SimClock::epoch();
        let mut meter = Meter::default();
        for second in 0..=10 {
            meter.count(true, 8.0);
            meter.scrape(start + TimeDelta::seconds(second));
        }
        let end = start + TimeDelta::seconds(10);
        let counts = meter.increase(end, TimeDelta::seconds(10));
        assert_eq!(counts.map(|counts| counts.good), Some(0.0));
        assert!(counts.is_some_and(|counts| counts.bad > 8.0), "{counts:?}");
    }
}
