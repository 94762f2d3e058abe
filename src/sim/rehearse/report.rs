//! The JSON document of one rehearsal.

use serde::Serialize;

use super::{
    play::{Ending, Setup},
    release::Described,
    timeline::{Entry, Requests},
    verdict::Verdict,
};

/// One rehearsal. Times are virtual, counted from the ship of the release.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace of the Canary.
    pub namespace: String,
    /// Name of the Canary.
    pub canary: String,
    /// The seed: the same seed is the same rehearsal.
    pub seed: u64,
    /// Requests a second.
    pub rps: f64,
    /// The release that was shipped.
    pub release: Described,
    /// What was assumed or ignored, one sentence each.
    pub notes: Vec<String>,
    /// Seconds that the Canary took to be set up before the ship.
    pub set_up_seconds: f64,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
    /// Requests from the ship to the end.
    pub requests: Requests,
    /// How it ended.
    pub verdict: Verdict,
}

impl Report {
    /// The document of a rehearsal that ended.
    #[must_use]
    pub fn of(setup: &Setup, seed: u64, timeline: Vec<Entry>, ending: Ending) -> Report {
        let id = &setup.input.spec.id;
        Report {
            namespace: id.namespace.clone(),
            canary: id.name.clone(),
            seed,
            rps: setup.rps,
            release: Described::of(&setup.release.behaviour(&setup.present)),
            notes: setup.input.notes.clone(),
            set_up_seconds: ending.set_up_seconds,
            timeline,
            requests: ending.requests,
            verdict: ending.verdict,
        }
    }
}
