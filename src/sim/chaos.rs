//! Faults by seed: what goes wrong between the controller and the API server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::api_server::{Fault, Faults, Kind, request::Verb};

/// How often each kind of fault struck, by name.
pub type Tally = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Notes that something was exercised.
pub fn note(tally: &Tally, what: &'static str) {
    *tally
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(what)
        .or_default() += 1;
}

/// Faults that strike the controller's requests at random, until they are calmed.
pub struct Chaos {
    rng: fastrand::Rng,
    /// Share of requests that something happens to, from 0 to 1.
    rate: f64,
    tally: Tally,
}

impl Chaos {
    /// Faults of this seed.
    #[must_use]
    pub fn new(seed: u64, rate: f64, tally: Tally) -> Chaos {
        Chaos {
            rng: fastrand::Rng::with_seed(seed),
            rate,
            tally,
        }
    }

    fn pick(&mut self, verb: Verb) -> (Fault, &'static str) {
        let refusals = [(429, "refused 429"), (500, "refused 500"), (503, "refused 503")];
        match self.rng.u8(..10) {
            0..=3 => {
                let (code, name) = refusals[self.rng.usize(..refusals.len())];
                (Fault::Refuse(code), name)
            }
            4 => (Fault::LoseRequest, "request lost"),
            5 | 6 if verb.writes() => (Fault::LoseAnswer, "answer lost"),
            7 if verb.writes() => (Fault::DieBefore, "died before a write"),
            8 if verb.writes() => (Fault::DieAfter, "died after a write"),
            9 if verb.writes() => (Fault::Refuse(409), "refused 409"),
            _ => (Fault::None, "spared"),
        }
    }
}

impl Faults for Chaos {
    fn strike(&mut self, actor: &'static str, verb: Verb, _: Kind) -> Fault {
        if actor != "bellwether" || self.rng.f64() >= self.rate {
            return Fault::None;
        }
        let (fault, name) = self.pick(verb);
        note(&self.tally, name);
        fault
    }

    fn latency(&mut self) -> Duration {
        // Mostly fast, now and then slow.
        if self.rng.f64() < 0.02 {
            Duration::from_millis(self.rng.u64(200..3000))
        } else {
            Duration::from_millis(self.rng.u64(1..15))
        }
    }

    fn event_delay(&mut self, _: Kind) -> Option<Duration> {
        let dice = self.rng.f64();
        if dice < 0.1 * self.rate {
            note(&self.tally, "watch closed");
            return None;
        }
        if dice < 0.02 {
            note(&self.tally, "event late");
            return Some(Duration::from_millis(self.rng.u64(500..4000)));
        }
        Some(Duration::from_millis(self.rng.u64(1..30)))
    }
}
