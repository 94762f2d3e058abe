//! Chance, in one place: pauses are spread so that aligned work does not stay aligned. With a seed it is the same in
//! every run, which the simulation needs.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A source of spread.
pub struct Jitter(Mutex<fastrand::Rng>);

impl Jitter {
    /// A different spread in every process.
    #[must_use]
    pub fn random() -> Jitter {
        Jitter(Mutex::new(fastrand::Rng::new()))
    }

    /// The same spread for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Jitter {
        Jitter(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A name that nobody has.
    pub fn unique(&self) -> String {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{:032x}", rng.u128(..))
    }

    /// Half to all of `span`.
    pub fn spread(&self, span: Duration) -> Duration {
        let part = self.0.lock().unwrap_or_else(PoisonError::into_inner).f64();
        span.mul_f64(0.5 + 0.5 * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_lies_between_half_and_all_and_repeats_with_its_seed() {
        let spans = |jitter: &Jitter| -> Vec<Duration> {
            (0..100).map(|_| jitter.spread(Duration::from_secs(10))).collect()
        };
        let first = spans(&Jitter::seeded(7));
        assert!(first.iter().all(|s| (5.0..=10.0).contains(&s.as_secs_f64())));
        assert_eq!(first, spans(&Jitter::seeded(7)));
        assert_ne!(first, spans(&Jitter::seeded(8)));
    }
}
