//! What proxies counted of one workload in one window, and the values that metrics make of it.
//!
//! Sources answer counts and not ratios: a ratio cannot be added up, compared with the other side's, or told from chance.
//! Invariant: a window without requests has no success rate and no quantile, rather than a good or a bad one.

/// The quantile that `request-duration` is.
const P99: f64 = 0.99;
/// By which share cumulative buckets may fall before that is more than rounding; Prometheus' own tolerance.
const MONOTONIC_TOLERANCE: f64 = 1e-12;

/// What proxies reported of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The proxy of the pod that was called.
    #[default]
    Destination,
    /// The proxies of the callers: they see what never arrives as well.
    Source,
}

/// What requests are taken for that ended without an answer because the caller went away (response code 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Disconnects {
    /// Neither good nor bad: a success rate does not count them.
    #[default]
    Ignored,
    /// Bad.
    Bad,
}

/// A bucket of a histogram, as Prometheus keeps it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Upper bound in milliseconds, included; the last bucket's is infinite.
    pub le_ms: f64,
    /// Requests that took so long at most: those of the buckets below are counted as well.
    pub count: f64,
}

/// Requests of one workload in one window. Counts are extrapolated to the window's ends and need not be whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// All requests that ended, however they did.
    pub requests: f64,
    /// Those that failed: 5xx, and the gRPC statuses 2, 4, 12, 13, 14 and 15.
    pub bad: f64,
    /// Those whose caller went away before there was an answer (response code 0).
    pub disconnects: f64,
    /// Those that were turned away: 403, gRPC status 7.
    pub denied: f64,
    /// Those that asked for something that is not there: 404.
    pub absent: f64,
    /// Those of callers that the mesh does not know, such as probes, health checks, or a gateway without a proxy. They are
    /// counted in the other fields as well.
    pub strangers: Tally,
    /// Histogram of the durations of all requests, by rising bound; empty where nobody asked for it.
    pub buckets: Vec<Bucket>,
}

/// Requests by how they ended, as in [`Counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// All of them.
    pub requests: f64,
    /// Those that failed.
    pub bad: f64,
    /// Those whose caller went away.
    pub disconnects: f64,
    /// Those that were turned away.
    pub denied: f64,
    /// Those that asked for something that is not there.
    pub absent: f64,
}

impl Tally {
    /// Whether there is a request.
    #[must_use]
    pub fn any(&self) -> bool {
        self.requests >= 0.5
    }

    /// Requests that were not answered as a caller wants it.
    #[must_use]
    pub fn refused(&self) -> f64 {
        (self.bad + self.denied + self.absent + self.disconnects).min(self.requests)
    }

    /// Share of the requests that are refused, from 0 to 1; `None` without requests.
    #[must_use]
    pub fn refused_share(&self) -> Option<f64> {
        self.any().then(|| self.refused() / self.requests)
    }
}

impl Counts {
    /// The requests of callers that the mesh knows: what probes and scrapes get says nothing about anybody else.
    #[must_use]
    pub fn of_callers(&self) -> Tally {
        let strangers = &self.strangers;
        Tally {
            requests: (self.requests - strangers.requests).max(0.0),
            bad: (self.bad - strangers.bad).max(0.0),
            disconnects: (self.disconnects - strangers.disconnects).max(0.0),
            denied: (self.denied - strangers.denied).max(0.0),
            absent: (self.absent - strangers.absent).max(0.0),
        }
    }

    /// Requests that were not answered as a caller wants it: failed, denied, or given up.
    #[must_use]
    pub fn refused(&self) -> f64 {
        (self.bad + self.denied + self.absent + self.disconnects).min(self.requests)
    }

    /// Requests that were answered and not refused.
    #[must_use]
    pub fn answered(&self) -> f64 {
        (self.requests - self.refused()).max(0.0)
    }

    /// Percent of the requests that did not fail; `None` if there is no request that could tell.
    #[must_use]
    pub fn success_rate(&self, disconnects: Disconnects) -> Option<f64> {
        let (all, bad) = match disconnects {
            Disconnects::Ignored => (self.requests - self.disconnects, self.bad),
            Disconnects::Bad => (self.requests, self.bad + self.disconnects),
        };
        // Also without a number in it nothing is divided.
        (all > 0.0 && bad >= 0.0).then(|| 100.0 - 100.0 * (bad / all).min(1.0))
    }

    /// 99th percentile of the durations in milliseconds; `None` without requests.
    #[must_use]
    pub fn p99(&self) -> Option<f64> {
        quantile(P99, &self.buckets)
    }

    /// Whether more than half of at least `least` requests were given up by their callers.
    #[must_use]
    pub fn mostly_disconnects(&self, least: f64) -> bool {
        self.requests >= least && self.disconnects > self.requests / 2.0
    }
}

/// The same of both versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sides<T> {
    /// Of the workload that is released.
    pub canary: T,
    /// Of the primary.
    pub primary: T,
}

/// The `q` quantile as Prometheus' `histogram_quantile` computes it from buckets by rising bound: linear within the bucket,
/// the highest finite bound if it lies beyond that. `None` without observations, or without a bucket that counts all.
#[must_use]
pub fn quantile(q: f64, buckets: &[Bucket]) -> Option<f64> {
    let (last, finite) = buckets.split_last()?;
    let highest = finite.last()?.le_ms;
    if last.le_ms != f64::INFINITY || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let counts = monotonic(buckets);
    let total = counts.last().copied().filter(|total| *total > 0.0)?;
    let rank = q * total;
    let Some(place) = finite.iter().zip(&counts).position(|(_, count)| *count >= rank) else {
        return Some(highest);
    };
    let end = finite[place].le_ms;
    if place == 0 && end <= 0.0 {
        return Some(end);
    }
    let (start, below) = match place.checked_sub(1) {
        Some(before) => (finite[before].le_ms, counts[before]),
        None => (0.0, 0.0),
    };
    let within = counts[place] - below;
    let share = if within > 0.0 {
        (rank - below) / within
    } else {
        0.0
    };
    Some(start + (end - start) * share)
}

/// The counts of the buckets, made to rise: sums of series that were scraped at different moments need not.
fn monotonic(buckets: &[Bucket]) -> Vec<f64> {
    let mut highest = 0.0_f64;
    let raise = |bucket: &Bucket| {
        let rounding = (highest - bucket.count).abs() <= MONOTONIC_TOLERANCE * highest;
        highest = if rounding {
            highest
        } else {
            highest.max(bucket.count)
        };
        highest
    };
    buckets.iter().map(raise).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        let bucket = |(le_ms, count): &(f64, f64)| Bucket {
            le_ms: *le_ms,
            count: *count,
        };
        pairs.iter().map(bucket).collect()
    }

    #[test]
    fn success_rate_leaves_out_who_went_away_unless_that_is_bad() {
        let counts = Counts {
            requests: 200.0,
            bad: 1.0,
            disconnects: 100.0,
            ..Counts::default()
        };
        assert_eq!(counts.success_rate(Disconnects::Ignored), Some(99.0));
        assert_eq!(counts.success_rate(Disconnects::Bad), Some(49.5));
        assert_eq!(Counts::default().success_rate(Disconnects::Bad), None);
        let only_disconnects = Counts {
            requests: 3.0,
            disconnects: 3.0,
            ..Counts::default()
        };
        assert_eq!(only_disconnects.success_rate(Disconnects::Ignored), None);
        assert_eq!(only_disconnects.success_rate(Disconnects::Bad), Some(0.0));
    }

    #[test]
    fn extrapolation_never_makes_a_rate_negative() {
        let counts = Counts {
            requests: 10.0,
            bad: 10.4,
            ..Counts::default()
        };
        assert_eq!(counts.success_rate(Disconnects::Ignored), Some(0.0));
        assert_eq!((counts.refused(), counts.answered()), (10.0, 0.0));
        let broken = Counts {
            requests: f64::NAN,
            ..Counts::default()
        };
        assert_eq!(broken.success_rate(Disconnects::Ignored), None);
    }

    #[test]
    fn denied_requests_are_refused_and_no_failures() {
        let counts = Counts {
            requests: 100.0,
            denied: 90.0,
            bad: 2.0,
            disconnects: 3.0,
            ..Counts::default()
        };
        assert_eq!((counts.refused(), counts.answered()), (95.0, 5.0));
        assert!(counts.success_rate(Disconnects::Ignored).unwrap() > 97.0);
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        type Pairs = &'static [(f64, f64)];
        const INF: f64 = f64::INFINITY;
        let table: [(f64, Pairs, Option<f64>); 14] = [
            (0.0, &[(0.1, 1.0), (0.2, 2.0), (INF, 4.0)], Some(0.0)),
            (0.25, &[(0.1, 1.0), (0.2, 2.0), (INF, 4.0)], Some(0.1)),
            (0.5, &[(0.1, 1.0), (0.2, 2.0), (INF, 4.0)], Some(0.2)),
            // Beyond the highest finite bound nothing is known.
            (0.75, &[(0.1, 1.0), (0.2, 2.0), (INF, 4.0)], Some(0.2)),
            (1.0, &[(0.1, 1.0), (0.2, 2.0), (INF, 4.0)], Some(0.2)),
            // A lowest bucket that is not above zero is its bound.
            (
                0.01,
                &[(-0.2, 1.0), (-0.1, 2.0), (0.3, 2.0), (INF, 2.0)],
                Some(-0.2),
            ),
            (
                0.99,
                &[(25.0, 90.0), (50.0, 98.0), (100.0, 100.0), (INF, 100.0)],
                Some(75.0),
            ),
            (0.99, &[(25.0, 100.0), (50.0, 100.0), (INF, 100.0)], Some(24.75)),
            // Sums of series that were not scraped together may fall.
            (
                0.5,
                &[(10.0, 60.0), (20.0, 40.0), (INF, 100.0)],
                Some(10.0 * 50.0 / 60.0),
            ),
            (0.5, &[(10.0, 0.0), (INF, 0.0)], None),
            (0.5, &[(10.0, 5.0), (20.0, 5.0)], None),
            (0.5, &[(INF, 5.0)], None),
            (0.5, &[], None),
            (0.5, &[(10.0, f64::NAN), (INF, f64::NAN)], None),
        ];
        for (q, pairs, expected) in table {
            let got = quantile(q, &buckets(pairs));
            let near = match (got, expected) {
                (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
                (got, expected) => got == expected,
            };
            assert!(near, "{q} of {pairs:?}: {got:?} and not {expected:?}");
        }
    }

    #[test]
    fn half_of_the_requests_given_up_is_not_yet_most() {
        let counts = |requests: f64, disconnects: f64| Counts {
            requests,
            disconnects,
            ..Counts::default()
        };
        assert!(counts(10.0, 5.5).mostly_disconnects(10.0));
        assert!(!counts(10.0, 5.0).mostly_disconnects(10.0));
        assert!(!counts(9.0, 9.0).mostly_disconnects(10.0), "too few");
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_lie_between_the_bounds(
            steps in proptest::collection::vec(0.0f64..100.0, 3..12), a in 0.0f64..=1.0, b in 0.0f64..=1.0,
        ) {
            let mut count = 0.0;
            let mut all: Vec<Bucket> = steps
                .iter()
                .enumerate()
                .map(|(n, more)| {
                    count += more;
                    Bucket { le_ms: (n + 1) as f64, count }
                })
                .collect();
            let last = all.len() - 1;
            all[last].le_ms = f64::INFINITY;
            if let (Some(low), Some(high)) = (quantile(a.min(b), &all), quantile(a.max(b), &all)) {
                prop_assert!(low <= high + 1e-9, "{low} > {high}");
                prop_assert!((0.0..=last as f64).contains(&high));
            }
        }
    }
}
