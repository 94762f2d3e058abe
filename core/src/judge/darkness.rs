//! Whether the traffic that the weight promises arrives.
//!
//! A canary that refuses connections reports nothing at all, neither errors nor latency; what betrays it is that the
//! requests it should have got are missing.

use super::{Reading, Traffic};
use crate::weight::Weight;

/// Requests that must be expected at the canary before their absence means anything.
const MIN_EXPECTED: f64 = 10.0;
/// Requests of both versions below which their ratio means nothing.
const MIN_TOGETHER: f64 = 30.0;
/// By which factor a share may be off: proxies balance per connection, and windows overlap a change of weight.
const FACTOR: f64 = 2.0;
/// Standard errors by which an observed share may differ.
const STANDARD_ERRORS: f64 = 5.0;
/// A count below this is none; counts are extrapolated and need not be whole.
const NONE: f64 = 0.5;

/// Whether this count of requests has any.
#[must_use]
pub fn has_requests(count: &Reading) -> bool {
    count.value().is_some_and(|count| count >= NONE)
}

/// Whether requests are missing at the canary: at this weight it should have got at least ten in the window, judged by
/// the primary's, and got none. Without the primary's count, or at 100 %, nothing can be expected.
#[must_use]
pub fn is_dark(traffic: &Traffic, weight: Weight) -> bool {
    let Some(primary) = traffic.primary.value() else {
        return false;
    };
    if weight == Weight::FULL {
        return false;
    }
    let expected = expected(primary, weight);
    let arrived = match traffic.canary {
        Reading::Value(count) => count >= NONE,
        Reading::NoData => false,
        Reading::Error(_) => return false,
    };
    expected >= MIN_EXPECTED && !arrived
}

/// Requests that the canary should have had while the primary had so many.
fn expected(primary: f64, weight: Weight) -> f64 {
    primary * f64::from(weight.percent()) / f64::from(weight.complement().percent())
}

/// As [`is_dark`], where nothing arrived for all of `seconds`, which is longer than the window of the counts: with little
/// traffic a window alone cannot tell.
#[must_use]
pub fn is_dark_for(traffic: &Traffic, weight: Weight, seconds: f64) -> bool {
    let window = traffic.window.as_secs_f64();
    let Some(primary) = traffic
        .primary
        .value()
        .filter(|_| window > 0.0 && weight != Weight::FULL)
    else {
        return false;
    };
    let arrived = match traffic.canary {
        Reading::Value(count) => count >= NONE,
        Reading::NoData => false,
        Reading::Error(_) => return false,
    };
    !arrived && expected(primary * seconds / window, weight) >= MIN_EXPECTED
}

/// Whether the canary's share of the requests agrees with `weight`: both versions' shares are off by a factor of at most
/// two, or the canary's by at most five standard errors. `None` if there are too few requests to tell (30 together).
#[must_use]
pub fn follows(canary_count: f64, primary_count: f64, weight: Weight) -> Option<bool> {
    let canary = if canary_count < NONE { 0.0 } else { canary_count };
    let primary = if primary_count < NONE { 0.0 } else { primary_count };
    let together = canary + primary;
    // Not `<`, so that NaN is too few as well.
    if !together.is_finite() || together < MIN_TOGETHER {
        return None;
    }
    let share = canary / together;
    let expected = f64::from(weight.percent()) / 100.0;
    let error = STANDARD_ERRORS * (expected * (1.0 - expected) / together).sqrt();
    let lowest = (expected / FACTOR)
        .max(1.0 - FACTOR * (1.0 - expected))
        .min(expected - error);
    let highest = (expected * FACTOR)
        .min(1.0 - (1.0 - expected) / FACTOR)
        .max(expected + error);
    Some((lowest..=highest).contains(&share))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dark_means_that_expected_requests_are_missing() {
        let value = Reading::Value;
        let table = [
            // Expected are 90 * 10/90 = 10.
            (value(0.0), value(90.0), 10, true),
            (value(0.4), value(90.0), 10, true),
            (value(0.6), value(90.0), 10, false),
            (Reading::NoData, value(90.0), 10, true),
            (value(0.0), value(89.0), 10, false),
            (value(0.0), value(10.0), 50, true),
            (value(0.0), value(1e6), 0, false),
            (value(0.0), value(1e6), 100, false),
            (Reading::Error("x".into()), value(1e6), 50, false),
            (value(0.0), Reading::Error("x".into()), 50, false),
            (Reading::NoData, Reading::NoData, 50, false),
            (value(0.0), value(f64::NAN), 50, false),
            (value(12.0), value(90.0), 10, false),
        ];
        for (canary, primary, weight, dark) in table {
            let traffic = Traffic {
                window: Duration::from_secs(15),
                canary,
                primary,
                reached_at: None,
            };
            assert_eq!(
                is_dark(&traffic, Weight::saturating(weight)),
                dark,
                "{traffic:?} at {weight} %"
            );
        }
    }

    #[test]
    fn a_share_follows_within_a_factor_or_chance() {
        let table = [
            (10.0, 90.0, 10, Some(true)),
            (10.0, 19.0, 10, None),
            (f64::NAN, 100.0, 10, None),
            (2000.0, 8000.0, 10, Some(true)),
            (2100.0, 7900.0, 10, Some(false)),
            (500.0, 9500.0, 10, Some(true)),
            (400.0, 9600.0, 10, Some(false)),
            (0.0, 10_000.0, 10, Some(false)),
            // With 40 requests at 5 %, none at all is chance.
            (0.0, 40.0, 5, Some(true)),
            // The primary's share counts alike: 30 % instead of 5 %.
            (7000.0, 3000.0, 95, Some(false)),
            (9200.0, 800.0, 95, Some(true)),
            (0.0, 1000.0, 0, Some(true)),
            (0.3, 1000.0, 0, Some(true)),
            (20.0, 1000.0, 0, Some(false)),
            (1000.0, 0.0, 100, Some(true)),
            (1000.0, 20.0, 100, Some(false)),
        ];
        for (canary, primary, weight, expected) in table {
            let got = follows(canary, primary, Weight::saturating(weight));
            assert_eq!(got, expected, "{canary}:{primary} at {weight} %");
        }
    }

    proptest! {
        #[test]
        fn the_exact_share_always_follows(together in 100u32..1_000_000, w in 0..=100i64) {
            let weight = Weight::saturating(w);
            let canary = f64::from(together) * f64::from(weight.percent()) / 100.0;
            prop_assert_eq!(follows(canary, f64::from(together) - canary, weight), Some(true));
        }

        #[test]
        fn both_versions_are_treated_alike(canary in 1u32..10_000, primary in 30u32..10_000, w in 0..=100i64) {
            let weight = Weight::saturating(w);
            let (c, p) = (f64::from(canary), f64::from(primary));
            // Exactly at a limit, rounding may differ.
            let near = |a: f64| follows(a + 0.001, p, weight) == follows(a - 0.001, p, weight);
            prop_assume!(near(c));
            prop_assert_eq!(follows(c, p, weight), follows(p, c, weight.complement()));
        }
    }
}
