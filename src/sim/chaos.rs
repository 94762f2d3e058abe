//! Faults by seed: what goes wrong between the controller and the API server.
//!
//! Chance depends on the seed and on the number of the request alone, so that a play whose faults are listed one by one
//! ([`Strikes::Listed`]) goes as the one in which they struck by chance.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;

use super::{
    api_server::{Delivery, Fault, Faults, Kind, request::Verb},
    cluster::by_controller,
};

/// How late a write may arrive.
pub const LATEST: TimeDelta = TimeDelta::seconds(60);

/// How often each thing was exercised, by name.
pub type Tally = Arc<Mutex<BTreeMap<String, u64>>>;

/// Notes that something was exercised.
pub fn note(tally: &Tally, what: impl Into<String>) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    *tally.entry(what.into()).or_default() += 1;
}

/// A fault that strikes one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Number of the request among those of the controller, from 0.
    pub request: u64,
    /// What goes wrong.
    pub fault: Fault,
}

/// Which faults strike.
#[derive(Clone, Debug)]
pub enum Strikes {
    /// This share of requests, from 0 to 1.
    ByChance(f64),
    /// These.
    Listed(Vec<Strike>),
}

/// What a play does to the faults while it goes on.
#[derive(Debug, Default)]
pub struct Control {
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// The API server does not answer anybody.
    pub outage: bool,
    /// The process that the API server cannot be reached from.
    pub cut_off: Option<&'static str>,
    /// Writes of this kind are refused with this status, as by a quota or a webhook.
    pub refused: Option<(Kind, u16)>,
    /// Every strike so far.
    pub struck: Vec<Strike>,
}

/// Faults that strike the controller's requests.
pub struct Chaos {
    seed: u64,
    strikes: Strikes,
    requests: u64,
    events: u64,
    control: Arc<Mutex<Control>>,
    tally: Tally,
}

impl Chaos {
    /// Faults of this seed.
    #[must_use]
    pub fn new(seed: u64, strikes: Strikes, tally: Tally) -> (Chaos, Arc<Mutex<Control>>) {
        let control = Arc::new(Mutex::new(Control::default()));
        let chaos = Chaos {
            seed,
            strikes,
            requests: 0,
            events: 0,
            control: control.clone(),
            tally,
        };
        (chaos, control)
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self, stream: u64, number: u64) -> fastrand::Rng {
        let mixed = self.seed ^ stream.rotate_left(40) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        fastrand::Rng::with_seed(mixed)
    }

    fn listed(&self, request: u64) -> Option<Fault> {
        let Strikes::Listed(strikes) = &self.strikes else {
            return None;
        };
        strikes.iter().find(|s| s.request == request).map(|s| s.fault)
    }

    /// Share of requests and events that something happens to.
    fn rate(&self) -> f64 {
        match self.strikes {
            Strikes::ByChance(rate) => rate,
            Strikes::Listed(_) => 0.0,
        }
    }
}

fn pick(rng: &mut fastrand::Rng, verb: Verb) -> Fault {
    let refusals = [429, 500, 503];
    match rng.u8(..12) {
        0..=3 => Fault::Refuse(refusals[rng.usize(..refusals.len())]),
        4 => Fault::LoseRequest,
        5 | 6 if verb.writes() => Fault::LoseAnswer,
        7 if verb.writes() => Fault::DieBefore,
        8 if verb.writes() => Fault::DieAfter,
        9 if verb.writes() => Fault::Refuse(409),
        10 | 11 if verb.writes() => Fault::Late(Duration::from_millis(
            rng.u64(50..LATEST.num_milliseconds().unsigned_abs()),
        )),
        _ => Fault::None,
    }
}

/// A name for a fault, for the tally.
#[must_use]
pub fn fault_name(fault: Fault) -> String {
    match fault {
        Fault::None => "spared".to_owned(),
        Fault::Refuse(code) => format!("refused {code}"),
        Fault::LoseRequest => "request lost".to_owned(),
        Fault::LoseAnswer => "answer lost".to_owned(),
        Fault::Late(_) => "write late".to_owned(),
        Fault::DieBefore => "died before a write".to_owned(),
        Fault::DieAfter => "died after a write".to_owned(),
    }
}

impl Faults for Chaos {
    fn strike(&mut self, actor: &'static str, verb: Verb, kind: Kind) -> Fault {
        if !by_controller(actor) {
            return Fault::None;
        }
        let request = self.requests;
        self.requests += 1;
        let mut control = self.control();
        if control.calm {
            return Fault::None;
        }
        if control.outage || control.cut_off == Some(actor) {
            return Fault::LoseRequest;
        }
        if let Some((_, code)) = control.refused.filter(|(of, _)| verb.writes() && *of == kind) {
            return Fault::Refuse(code);
        }
        let mut rng = self.chance(1, request);
        let by_chance = rng.f64() < self.rate();
        let chosen = by_chance.then(|| pick(&mut rng, verb));
        let fault = self.listed(request).or(chosen).unwrap_or(Fault::None);
        if fault != Fault::None {
            control.struck.push(Strike { request, fault });
            drop(control);
            note(&self.tally, fault_name(fault));
        }
        fault
    }

    fn latency(&mut self, actor: &'static str) -> Duration {
        if !by_controller(actor) {
            return Duration::from_millis(2);
        }
        let mut rng = self.chance(2, self.requests);
        // Mostly fast, now and then slow.
        if rng.f64() < 0.02 && !self.control().calm {
            Duration::from_millis(rng.u64(200..3000))
        } else {
            Duration::from_millis(rng.u64(1..15))
        }
    }

    fn deliver(&mut self, actor: &'static str, _: Kind) -> Delivery {
        self.events += 1;
        let mut rng = self.chance(3, self.events);
        let mut delivery = Delivery::after(Duration::from_millis(rng.u64(1..30)));
        let control = self.control();
        if control.calm || !by_controller(actor) {
            return delivery;
        }
        let cut_off = control.outage || control.cut_off == Some(actor);
        drop(control);
        let dice = rng.f64();
        let what = if cut_off || dice < 0.1 * self.rate() {
            delivery.close = true;
            "watch closed"
        } else if dice < 0.02 {
            delivery.delay = Duration::from_millis(rng.u64(500..4000));
            delivery.merge = rng.bool();
            if delivery.merge {
                "events merged"
            } else {
                "events late"
            }
        } else if dice < 0.04 {
            delivery.repeat = true;
            "events repeated"
        } else {
            return delivery;
        };
        note(&self.tally, what);
        delivery
    }
}
