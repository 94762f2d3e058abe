//! What a play is made of, as data: it can be drawn from a seed, made smaller, and printed.

use bellwether::sim::chaos::Strikes;
use chrono::TimeDelta;

use super::{happening::Happening, setup::Setup};

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Event {
    /// How long after the event before it.
    pub after: TimeDelta,
    /// To which Canary.
    pub canary: usize,
    /// What.
    pub what: Happening,
}

/// A whole play.
#[derive(Clone, Debug)]
pub struct Story {
    /// Where all chance comes from.
    pub seed: u64,
    /// The Canaries.
    pub setups: Vec<Setup>,
    /// What happens.
    pub events: Vec<Event>,
    /// What goes wrong with requests.
    pub strikes: Strikes,
    /// Replicas of the controller; two elect a leader.
    pub replicas: usize,
    /// How wrong their clocks are.
    pub skews: [TimeDelta; 2],
    /// Whether the Canaries are deleted at the end.
    pub deleted: bool,
}

impl Story {
    /// The story of a seed.
    pub fn of(seed: u64) -> Story {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let canaries = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let setups: Vec<Setup> = (0..canaries).map(|_| Setup::draw(&mut rng)).collect();
        let replicas = if rng.u8(..4) == 0 { 2 } else { 1 };
        let rate = [0.0, 0.02, 0.08, 0.2][rng.usize(..4)];
        let mut events = Vec::new();
        for _ in 0..rng.usize(3..14) {
            let event = Event {
                after: TimeDelta::milliseconds(rng.i64(1..40_000)),
                canary: rng.usize(..canaries),
                what: Happening::draw(&mut rng, replicas),
            };
            // Robots that quarrel over a manifest do so within seconds, while a withdrawal is not over.
            let again = (event.what == Happening::Revert && rng.bool()).then(|| Event {
                after: TimeDelta::milliseconds(rng.i64(1..8_000)),
                canary: event.canary,
                what: Happening::ShipAgain,
            });
            events.push(event);
            events.extend(again);
        }
        let mut skew = || TimeDelta::milliseconds(rng.i64(-2_000..2_000));
        let skews = [skew(), skew()];
        Story {
            seed,
            setups,
            events,
            strikes: Strikes::ByChance(rate),
            replicas,
            skews,
            deleted: rng.u8(..4) == 0,
        }
    }
}
