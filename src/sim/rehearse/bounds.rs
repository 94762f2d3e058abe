//! How sure a counted share is: exact confidence bounds after Clopper and Pearson.

/// Chance on either side that the true share lies beyond the bounds: together 5 %.
const TAIL: f64 = 0.025;

/// The 95 % confidence bounds, from 0 to 1, of a share of which `hits` of `runs` were seen.
#[must_use]
pub fn clopper_pearson(hits: u64, runs: u64) -> (f64, f64) {
    if runs == 0 {
        return (0.0, 1.0);
    }
    let chances = Binomial::new(hits, runs);
    let lowest = if hits == 0 {
        0.0
    } else {
        // Where that many hits or more would be as rare as the tail.
        bisect(|share| 1.0 - chances.fewer(share) < TAIL)
    };
    let highest = if hits == runs {
        1.0
    } else {
        bisect(|share| chances.at_most(share) > TAIL)
    };
    (lowest, highest)
}

/// The share at which `below` ceases to hold.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

struct Binomial {
    runs: u64,
    /// Logarithms of the numbers of ways to hit 0, 1, … times, up to the hits that were seen.
    ways: Vec<f64>,
}

impl Binomial {
    fn new(hits: u64, runs: u64) -> Binomial {
        let mut ways = vec![0.0];
        let mut log = 0.0;
        for k in 1..=hits {
            log += ((runs - k + 1) as f64).ln() - (k as f64).ln();
            ways.push(log);
        }
        Binomial { runs, ways }
    }

    fn sum(&self, share: f64, terms: usize) -> f64 {
        let (hit, miss) = (share.ln(), (-share).ln_1p());
        let chances = self.ways.iter().take(terms).enumerate().map(|(k, ways)| {
            let (k, rest) = (k as f64, (self.runs - k as u64) as f64);
            (ways + k * hit + rest * miss).exp()
        });
        chances.sum()
    }

    fn at_most(&self, share: f64) -> f64 {
        self.sum(share, self.ways.len())
    }

    fn fewer(&self, share: f64) -> f64 {
        self.sum(share, self.ways.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_tables() {
        // As `binom.test` of R gives them.
        let table = [
            (0, 10, 0.0, 0.308_497),
            (5, 10, 0.187_086, 0.812_914),
            (1, 20, 0.001_265, 0.248_733),
            (10, 10, 0.691_503, 1.0),
            (0, 1000, 0.0, 0.003_682),
            (50, 1000, 0.037_335, 0.065_390),
        ];
        for (hits, runs, low, high) in table {
            let (lowest, highest) = clopper_pearson(hits, runs);
            assert!((lowest - low).abs() < 2e-6, "{hits} of {runs}: {lowest}");
            assert!((highest - high).abs() < 2e-6, "{hits} of {runs}: {highest}");
        }
    }

    #[test]
    fn bounds_hold_the_share_and_mirror() {
        for runs in [1, 7, 100, 20_000] {
            for hits in [0, 1, runs / 3, runs / 2, runs] {
                let (low, high) = clopper_pearson(hits, runs);
                let share = hits as f64 / runs as f64;
                assert!((low..=high).contains(&share), "{hits} of {runs}: {low}..{high}");
                let (mirrored, _) = clopper_pearson(runs - hits, runs);
                assert!((mirrored - (1.0 - high)).abs() < 1e-9, "{hits} of {runs}");
            }
        }
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }
}
