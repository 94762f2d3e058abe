//! What a play is made of, as data: it can be drawn from a seed, made smaller, and printed.

use bellwether::sim::chaos::Strikes;
use chrono::TimeDelta;

use super::{happening::Happening, setup::Setup};

/// What an event may wait for: things that go wrong in an instant rarely fall into it by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The Canary comes to this phase.
    Phase(&'static str),
    /// Its canary is to have traffic.
    Weight,
}

impl Moment {
    fn draw(rng: &mut fastrand::Rng) -> Moment {
        let phases = [
            "Initializing",
            "Progressing",
            "Promoting",
            "Promoting",
            "Finalising",
            "Failed",
            "Terminating",
        ];
        match rng.usize(..phases.len() + 2) {
            n if n < phases.len() => Moment::Phase(phases[n]),
            _ => Moment::Weight,
        }
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it waits for first, if it comes soon.
    pub when: Option<Moment>,
    /// How long after that, or after the event before it.
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
        Story::draw(seed, true)
    }

    /// The story of a seed with ordinary Canaries, and without what lasts for a while.
    pub fn plain(seed: u64) -> Story {
        Story::draw(seed, false)
    }

    fn draw(seed: u64, varied: bool) -> Story {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let canaries = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let mut setups: Vec<Setup> = (0..canaries).map(|_| Setup::draw(&mut rng)).collect();
        if varied {
            vary(seed, &mut setups);
        }
        let replicas = if rng.u8(..4) == 0 { 2 } else { 1 };
        let rate = [0.0, 0.02, 0.08, 0.2][rng.usize(..4)];
        let mut events = Vec::new();
        for _ in 0..rng.usize(3..14) {
            let event = Event {
                when: None,
                after: TimeDelta::milliseconds(rng.i64(1..40_000)),
                canary: rng.usize(..canaries),
                what: Happening::draw(&mut rng, replicas),
            };
            let reacts = rng.u8(..8) < if event.what == Happening::Revert { 4 } else { 1 };
            let reaction = if reacts {
                reaction(&mut rng, &event)
            } else {
                Vec::new()
            };
            events.push(event);
            events.extend(reaction);
        }
        if varied {
            add_lasting(seed, &mut events, replicas);
            add_timed(seed, &mut events, replicas);
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

/// Makes Canaries less ordinary. The chance is another one, so that the rest of a story stays what it is.
fn vary(seed: u64, setups: &mut [Setup]) {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0xD134_2543_DE82_EF95));
    let scrapes = [2, 2, 2, 2, 2, 2, 2, 5, 15][rng.usize(..9)];
    for setup in setups {
        setup.vary(&mut rng);
        setup.scrapes = scrapes;
        // A window without two scrapes tells nothing, ever.
        setup.window = setup.window.max(2 * scrapes + 1);
    }
}

/// Puts things among the events that last for a while. Their chance is their own: the others stay what they are.
fn add_lasting(seed: u64, events: &mut Vec<Event>, replicas: usize) {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for _ in 0..[0, 0, 1, 1, 2, 3][rng.usize(..6)] {
        let at = rng.usize(..events.len());
        let event = Event {
            when: None,
            after: TimeDelta::milliseconds(rng.i64(1..10_000)),
            canary: events[at].canary,
            what: Happening::draw_lasting(&mut rng, replicas),
        };
        events.insert(at, event);
    }
}

/// Puts things among the events that wait for their moment. Their chance is their own as well.
fn add_timed(seed: u64, events: &mut Vec<Event>, replicas: usize) {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0xA24B_AED4_963E_E407));
    for _ in 0..[0, 0, 0, 1, 1, 2][rng.usize(..6)] {
        let at = rng.usize(..events.len());
        let event = Event {
            when: Some(Moment::draw(&mut rng)),
            after: TimeDelta::milliseconds(rng.i64(1..1_500)),
            canary: events[at].canary,
            what: if rng.u8(..4) == 0 {
                Happening::draw_lasting(&mut rng, replicas)
            } else {
                Happening::draw(&mut rng, replicas)
            },
        };
        events.insert(at + 1, event);
    }
}

/// What people and robots do about an event within seconds, before the controller is done with it.
fn reaction(rng: &mut fastrand::Rng, event: &Event) -> Vec<Event> {
    let mut then = |milliseconds: std::ops::Range<i64>, what| Event {
        when: None,
        after: TimeDelta::milliseconds(rng.i64(milliseconds)),
        canary: event.canary,
        what,
    };
    match event.what {
        // Who sees errors pushes a fix, while those of before are still in every window.
        Happening::Ship("errors60" | "slow") => vec![then(15_000..40_000, Happening::Ship("good"))],
        // Robots that quarrel over a manifest set it back and forth, while a withdrawal is not over.
        Happening::Ship("good") => {
            let revert = then(8_000..25_000, Happening::Revert);
            let again = then(100..5_000, Happening::ShipAgain);
            vec![revert, again]
        }
        Happening::Revert => vec![then(1..8_000, Happening::ShipAgain)],
        _ => Vec::new(),
    }
}
