//! Plays that are made, not drawn: each shows a defect that needs one thing at its instant, which chance brings too rarely.

use bellwether::{defect::Defect, sim::chaos::Strikes};
use chrono::TimeDelta;

use super::{
    happening::{Happening, Happening as H, Refused},
    robot::Insists,
    story::{Event, Moment, Story},
};

/// How many plays there are of the same events.
const VARIANTS: u64 = 400;

/// The plays that are made for `defect`, if chance shows it too rarely.
pub fn made_for(defect: Defect) -> Vec<Story> {
    let promoting = Some(Moment::Phase("Promoting"));
    let sent = Some(Moment::Weight);
    match defect {
        // A template is pushed while the primary's new one is refused.
        Defect::PromotesWhateverIsThere => {
            let events = [
                (None, 60_000, H::Ship("good")),
                (sent, 3_000, H::WritesAreRefused(Refused::Deployments, 403)),
                (promoting, 2_000, H::WritesAreAccepted),
                (None, 1, H::Ship("good")),
            ];
            let mut story = play(0, 0.0, &events);
            // The primary keeps serving while it is replaced, so that the canary needs not stand in for it.
            (story.setups[0].recreate, story.setups[0].replicas) = (false, 4);
            vec![story]
        }
        // Somebody deletes an object while nobody watches, and the log does not go back so far.
        Defect::KeepsWhatIsGone => vec![play(
            0,
            0.0,
            &[
                (None, 90_000, H::ReplicaIsCutOff(0)),
                (None, 2_000, H::PrimaryIsDeleted),
                (None, 2_000, H::LogIsCompacted),
                (None, 2_000, H::ApiServerIsBack),
            ],
        )],
        // A robot does not give up.
        Defect::QuarrelsWithoutEnd => {
            let events = [
                (None, 90_000, H::Robot(Insists::Service, 3)),
                (None, 400_000, H::RobotsRest),
            ];
            let mut story = play(0, 0.0, &events);
            story.setups[0].adopted = true;
            vec![story]
        }
        // A step's write comes late, after its process and its release are gone.
        Defect::DoesNotFence => of_chance(
            0.3,
            &[
                (None, 60_000, H::Ship("good")),
                (sent, 1, H::Revert),
                (None, 1, H::ReplicaRestarts(0)),
            ],
        ),
        Defect::DoesNotAwaitLateWrites => of_chance(
            0.3,
            &[(None, 60_000, H::Ship("good")), (sent, 1, H::CanaryIsDeleted)],
        ),
        // Whoever asked for the release says yes at its last gate, once the Promotion is gone.
        Defect::ForgetsWhoAsked => {
            let events = [
                (None, 60_000, H::Promote("good", "queue")),
                (
                    Some(Moment::Phase("WaitingPromotion")),
                    1,
                    H::PromotionsAreDeleted,
                ),
                (None, 5_000, H::GatesAreSettled(true)),
            ];
            let mut story = play(0, 0.0, &events);
            story.setups[0].gates = (&["confirm-promotion"], 40);
            vec![story]
        }
        _ => Vec::new(),
    }
}

/// The same events under different faults.
fn of_chance(rate: f64, events: &[Made]) -> Vec<Story> {
    (0..VARIANTS).map(|seed| play(seed, rate, events)).collect()
}

/// What it waits for, after how many milliseconds, and what happens.
type Made = (Option<Moment>, i64, Happening);

/// One Canary of chance `seed`, with these events, and faults at this rate.
fn play(seed: u64, rate: f64, events: &[Made]) -> Story {
    let mut story = Story::plain(seed);
    story.setups.truncate(1);
    story.setups[0].gates.0 = &[];
    story.replicas = 1;
    story.deleted = false;
    story.strikes = Strikes::ByChance(rate);
    let event = |(when, after, what): &Made| Event {
        when: *when,
        after: TimeDelta::milliseconds(*after),
        canary: 0,
        what: what.clone(),
    };
    story.events = events.iter().map(event).collect();
    story
}
