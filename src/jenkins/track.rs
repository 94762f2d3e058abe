//! The way of one order through Jenkins: what to ask next, and what follows from an answer. Pure and total.
//!
//! A [`Run`] is written down after every answer and before the next question. Whoever finds it written down, however
//! old, goes on from there. The permission to trigger is never written down: who reads it finds an order to look.

use serde::{Deserialize, Serialize};

mod protocol;

use super::{Build, Halted, ItemState, Refusal, Search, Triggered};
pub use protocol::{After, Answer, Ask, Halt, Known, Look, Said, State};

/// How often queue and builds are looked through in vain before a trigger counts as not taken. Between two looks there
/// is a pause: a request may arrive after its sender gave up, and for a moment a build is neither queued nor listed.
const LOOKS: u32 = 3;
/// How often in a row a build has to be missing before it counts as deleted, and how often an order has to be told that
/// there is no such job: some proxies answer 404 for what is down. At long pauses it is more than a restart takes.
const MISSES: u32 = 10;
/// After how many polls a stop is asked for again: the first may have been lost.
const HALT_AGAIN: u32 = 10;

/// One order on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Run {
    #[serde(flatten)]
    state: State,
    #[serde(default, skip_serializing_if = "Halt::is_none")]
    halt: Halt,
}

/// A run as it was written down.
#[derive(Deserialize)]
struct Written {
    #[serde(flatten)]
    state: State,
    #[serde(default)]
    halt: Halt,
}

impl From<Written> for Run {
    fn from(written: Written) -> Run {
        let state = match written.state {
            State::Clear {
                floor,
                session,
                missed,
            } => State::Looking(Look {
                missed,
                ..Look::again(floor, session, After::Trigger)
            }),
            other => other,
        };
        Run {
            state,
            halt: written.halt,
        }
    }
}

impl Look {
    fn again(floor: u64, session: Option<String>, then: After) -> Look {
        Look {
            floor,
            first: false,
            left: LOOKS,
            queue_done: false,
            gone: None,
            session,
            missed: 0,
            then,
        }
    }

    /// Nothing was found, this time either.
    fn in_vain(self, search: &Search) -> State {
        if self.left > 1 {
            return State::Looking(Look {
                left: self.left - 1,
                queue_done: false,
                ..self
            });
        }
        let gone = self.gone.as_ref().map(|gone| gone.session.as_ref());
        // Only a Jenkins that began anew can have forgotten an item that nobody cancelled.
        let forgotten = gone.is_none_or(|before| {
            before.is_some() && self.session.is_some() && before != self.session.as_ref()
        });
        match self.then {
            _ if *search == Search::Unfinished => State::Lost,
            After::Trigger if forgotten => State::Clear {
                floor: self.floor,
                session: self.session,
                missed: self.missed,
            },
            After::Trigger | After::Lose => State::Lost,
            After::AskJob => State::Wanted { missed: self.missed },
            After::Refuse(why) => State::Refused { why },
        }
    }
}

impl Default for Run {
    fn default() -> Run {
        Run::wanted()
    }
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn wanted() -> Run {
        Run {
            state: State::Wanted { missed: 0 },
            halt: Halt::None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether it is to end before its time.
    #[must_use]
    pub fn halt(&self) -> Halt {
        self.halt
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.next() == Ask::Nothing
    }

    /// Whether to wait before the next question, because it was asked before.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        match &self.state {
            State::Wanted { missed } => *missed > 0,
            State::Looking(look) => !look.queue_done && !look.first,
            State::Queued { .. } | State::Building { .. } => self.halt != Halt::Due,
            _ => false,
        }
    }

    /// Whether what was asked for was missing the last time: a Jenkins that is being restarted takes its time, and nobody
    /// needs to be eager.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match &self.state {
            State::Wanted { missed } | State::Building { missed, .. } => *missed > 0,
            State::Looking(look) => look.then == After::AskJob,
            _ => false,
        }
    }

    /// What to ask.
    #[must_use]
    pub fn next(&self) -> Ask {
        let halting = self.halt == Halt::Due;
        match &self.state {
            State::Wanted { .. } => Ask::Job,
            State::Looking(look) if !look.queue_done => Ask::FindItem,
            State::Looking(look) => Ask::FindBuild {
                floor: (!look.first).then_some(look.floor),
                item: look.gone.as_ref().map(|gone| gone.item),
            },
            State::Clear { .. } => Ask::Trigger,
            State::Queued { known, .. } if halting => Ask::Cancel(known.item),
            State::Queued { known, .. } => Ask::Item(known.item),
            State::Building { number, .. } if halting => Ask::Stop(*number),
            State::Building { number, .. } => Ask::Build(*number),
            State::Ended { .. } | State::Cancelled | State::Lost | State::Refused { .. } => Ask::Nothing,
        }
    }

    /// It is not wanted any more: what is in Jenkins is to be cancelled or stopped.
    #[must_use]
    pub fn withdrawn(self) -> Run {
        let halt = if self.halt == Halt::None {
            Halt::Due
        } else {
            self.halt
        };
        let state = match self.state {
            State::Wanted { .. } => State::Cancelled,
            // An earlier trigger may still be on its way.
            State::Clear { floor, session, .. } => {
                State::Looking(Look::again(floor, session, After::Trigger))
            }
            other => other,
        };
        Run { state, halt }
    }

    /// What follows from the answer to [`Run::next`]. An answer to another question changes nothing.
    #[must_use]
    pub fn saw(self, answer: Answer) -> Run {
        if self.is_over() {
            return self;
        }
        let Answer { session, said } = answer;
        let halt = self.halt.after(&said);
        let before = self.state.clone();
        let state = match self.state {
            State::Wanted { missed } => wanted(missed, said, session),
            State::Looking(look) => looking(look.in_life(session), said),
            State::Clear {
                floor,
                session: old,
                missed,
            } => clear(floor, session.or(old), missed, said),
            State::Queued { known, floor } => queued(known, floor, session, said),
            State::Building { number, url, missed } => building(number, url, missed, said),
            over => over,
        };
        Run { state, halt }.halting(&before)
    }

    /// The same, for one that was withdrawn: it is never triggered, and what became a build is stopped as such.
    fn halting(self, before: &State) -> Run {
        if self.halt == Halt::None {
            return self;
        }
        let Run { state, halt } = self;
        match (&state, before) {
            (State::Clear { .. } | State::Wanted { .. }, _) => Run {
                state: State::Cancelled,
                halt,
            },
            (State::Queued { .. }, State::Queued { .. })
            | (State::Building { .. }, State::Building { .. }) => Run { state, halt },
            (State::Queued { .. } | State::Building { .. }, _) => Run {
                state,
                halt: Halt::Due,
            },
            _ => Run { state, halt },
        }
    }
}

impl Halt {
    fn after(self, said: &Said) -> Halt {
        match (self, said) {
            (Halt::Due, Said::Halted(Halted::Denied)) => Halt::Denied,
            (Halt::Due, Said::Halted(_) | Said::Trouble(_)) => Halt::Asked(0),
            (Halt::Asked(polls), Said::Item(_) | Said::Build(_)) if polls + 1 >= HALT_AGAIN => Halt::Due,
            (Halt::Asked(polls), Said::Item(_) | Said::Build(_)) => Halt::Asked(polls + 1),
            (same, _) => same,
        }
    }
}

impl Look {
    /// What was not found in one life of Jenkins says nothing about what the next one brings back.
    fn in_life(self, session: Option<String>) -> Look {
        let changed = session.is_some() && session != self.session;
        let restarted = changed && self.session.is_some() && !self.first;
        Look {
            left: if restarted { LOOKS } else { self.left },
            queue_done: self.queue_done && !restarted,
            session: session.or(self.session),
            ..self
        }
    }
}

fn wanted(missed: u32, said: Said, session: Option<String>) -> State {
    match said {
        Said::Ready { next_build } => State::Looking(Look {
            first: true,
            left: 1,
            missed,
            ..Look::again(next_build, session, After::Trigger)
        }),
        Said::Unfit(Refusal::NoSuchJob) if missed + 1 < MISSES => State::Wanted { missed: missed + 1 },
        Said::Unfit(why) => State::Refused { why },
        _ => State::Wanted { missed },
    }
}

fn looking(look: Look, said: Said) -> State {
    match said {
        Said::Item(item) => match item.id {
            Some(item) => State::Queued {
                known: Known {
                    item,
                    session: look.session,
                },
                floor: look.floor,
            },
            // An old core: the item cannot be asked for. While it is listed it will become a build, and if it is gone
            // without one, nobody can say why.
            None => State::Looking(Look {
                first: false,
                left: LOOKS,
                then: After::Lose,
                ..look
            }),
        },
        Said::NoItem => State::Looking(Look {
            queue_done: true,
            ..look
        }),
        Said::Search(Search::Found(build)) => built(&build),
        // An answer about builds that was asked for in an earlier life, or before the queue was searched, is none.
        Said::Search(search) if look.queue_done => look.in_vain(&search),
        _ => State::Looking(look),
    }
}

fn clear(floor: u64, session: Option<String>, missed: u32, said: Said) -> State {
    let again = |then| Look {
        missed,
        ..Look::again(floor, session.clone(), then)
    };
    State::Looking(match said {
        Said::Triggered(Triggered::Queued(item) | Triggered::Merged(item)) => {
            let known = Known { item, session };
            return State::Queued { known, floor };
        }
        Said::Triggered(Triggered::Untold) => again(After::Lose),
        Said::Triggered(Triggered::SentBack) => again(After::Refuse(Refusal::Vetoed)),
        // The job was there a moment ago.
        Said::Triggered(Triggered::Refused(Refusal::NoSuchJob)) if missed + 1 < MISSES => Look {
            missed: missed + 1,
            ..again(After::AskJob)
        },
        Said::Triggered(Triggered::Refused(why)) => return State::Refused { why },
        _ => again(After::Trigger),
    })
}

fn queued(known: Known, floor: u64, session: Option<String>, said: Said) -> State {
    match said {
        Said::Item(item) => match item.state {
            ItemState::Cancelled => State::Cancelled,
            ItemState::Left(Some(build)) => State::Building {
                number: build.number,
                url: build.url,
                missed: 0,
            },
            _ => State::Queued {
                known: Known {
                    session: session.or(known.session),
                    ..known
                },
                floor,
            },
        },
        Said::NoItem => State::Looking(Look {
            gone: Some(known),
            ..Look::again(floor, session, After::Trigger)
        }),
        _ => State::Queued { known, floor },
    }
}

fn building(number: u64, url: String, missed: u32, said: Said) -> State {
    match said {
        Said::Build(build) if build.running || build.result.is_some() => built(&build),
        // It neither runs nor has a result: it will not get one.
        Said::Build(_) | Said::NoBuild if missed + 1 >= MISSES => State::Lost,
        Said::Build(_) | Said::NoBuild => State::Building {
            number,
            url,
            missed: missed + 1,
        },
        _ => State::Building { number, url, missed },
    }
}

fn built(build: &Build) -> State {
    let (number, url) = (build.number, build.url.clone());
    match build.ended() {
        Some(result) => State::Ended { number, url, result },
        None => State::Building {
            number,
            url,
            missed: 0,
        },
    }
}

#[cfg(test)]
mod tests;
