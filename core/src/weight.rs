//! A share of traffic in whole percent; one type so that no weight outside 0–100 can exist.

use std::fmt;

/// A traffic weight in percent, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u8);

impl Weight {
    /// No traffic.
    pub const ZERO: Weight = Weight(0);
    /// All traffic.
    pub const FULL: Weight = Weight(100);

    /// The weight of `percent`, if it lies in 0..=100.
    #[must_use]
    pub fn new(percent: i64) -> Option<Weight> {
        u8::try_from(percent).ok().filter(|p| *p <= 100).map(Weight)
    }

    /// `percent`, cut to 0..=100.
    #[must_use]
    pub fn saturating(percent: i64) -> Weight {
        Weight(u8::try_from(percent.clamp(0, 100)).unwrap_or(100))
    }

    /// The weight in percent.
    #[must_use]
    pub fn percent(self) -> u8 {
        self.0
    }

    /// What is left of 100 %.
    #[must_use]
    pub fn complement(self) -> Weight {
        Weight(100 - self.0)
    }

    /// Whether no traffic flows.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}
