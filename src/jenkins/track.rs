//! The way of one order through Jenkins: what to ask next, and what follows from an answer. Pure and total.
//!
//! A [`Run`] is written down after every answer and before the next question. Whoever finds it written down, however
//! old, goes on from there. The permission to trigger is never written down: who reads it finds an order to look.

use serde::{Deserialize, Serialize};

use super::{Build, BuildResult, Error, Halted, Item, ItemId, ItemState, Refusal, Search, Triggered};

/// How often queue and builds are looked through in vain before a trigger counts as not taken. Between two looks there
/// is a pause: a request may arrive after its sender gave up, and for a moment a build is neither queued nor listed.
const LOOKS: u32 = 3;
/// How often in a row a build has to be missing before it counts as deleted: some proxies answer 404 for what is down.
const MISSES: u32 = 3;
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

/// Where an order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum State {
    /// Nothing was asked yet.
    Wanted,
    /// A trigger may have been sent: queue and builds are looked through.
    Looking(Look),
    /// Nothing of it is in Jenkins: it may be triggered, by this process and now.
    Clear {
        /// No build of the order has a lower number.
        floor: u64,
        /// The life of Jenkins that it was seen in, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// It is in the queue.
    Queued {
        /// The item.
        #[serde(flatten)]
        known: Known,
        /// No build of the order has a lower number.
        floor: u64,
    },
    /// It is a build.
    Building {
        /// Its number.
        number: u64,
        /// Its URL, for people.
        url: String,
        /// How often in a row it was missing.
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u32,
    },
    /// The build has ended.
    Ended {
        /// Its number.
        number: u64,
        /// Its URL, for people.
        url: String,
        /// How it ended.
        result: BuildResult,
    },
    /// It was cancelled before it became a build.
    Cancelled,
    /// It was taken, and nothing of it is left: it was cancelled while nobody looked, or its build was deleted.
    Lost,
    /// There will be no build.
    Refused {
        /// Why.
        why: Refusal,
    },
}

/// An item of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Its number.
    pub item: ItemId,
    /// The life of Jenkins that it was last seen in, if told. Only between two lives can a queue be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A search through queue and builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// No build of the order has a lower number.
    pub floor: u64,
    /// Whether this life of the order has not sent a trigger: found is only what an earlier one left.
    #[serde(default)]
    pub first: bool,
    /// How many looks are left.
    pub left: u32,
    /// Whether in this look the queue was searched, and the builds come next: what leaves the one is in the other.
    #[serde(default)]
    pub queue_done: bool,
    /// The item that was in the queue and is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Known>,
    /// The life of Jenkins that is looked at, if told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What follows if nothing is found.
    pub then: After,
}

/// What follows a search in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum After {
    /// It may be triggered.
    Trigger,
    /// It was refused.
    Refuse(Refusal),
    /// It is lost.
    Lose,
}

/// Whether it is to end before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Halt {
    /// No.
    #[default]
    None,
    /// Yes, and Jenkins has to be told.
    Due,
    /// Jenkins was told so many polls ago.
    Asked(u32),
    /// Jenkins does not let us.
    Denied,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whether the job takes the order.
    Job,
    /// For the order's item in the queue.
    FindItem,
    /// For the order's build.
    FindBuild {
        /// How far back; `None` for as many as Jenkins lists at once.
        floor: Option<u64>,
        /// The item that it was.
        item: Option<ItemId>,
    },
    /// For a build. The only question that must not be asked twice.
    Trigger,
    /// How the item is.
    Item(ItemId),
    /// How the build is.
    Build(u64),
    /// To cancel the item.
    Cancel(ItemId),
    /// To stop the build.
    Stop(u64),
    /// Nothing: it is over.
    Nothing,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The life of Jenkins that answered, if told.
    pub session: Option<String>,
    /// What was said.
    pub said: Said,
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The job takes the order; its next build has this number.
    Ready {
        /// Number of the next build.
        next_build: u64,
    },
    /// The job does not take the order.
    Unfit(Refusal),
    /// The item of the order.
    Item(Item),
    /// There is no such item.
    NoItem,
    /// The build of the order.
    Build(Build),
    /// There is no such build.
    NoBuild,
    /// What a search among the builds brought.
    Search(Search),
    /// What became of the trigger.
    Triggered(Triggered),
    /// What became of a stop or a cancellation.
    Halted(Halted),
    /// There is no answer, and nobody knows what became of the question.
    Trouble(Error),
}

impl From<Written> for Run {
    fn from(written: Written) -> Run {
        let state = match written.state {
            State::Clear { floor, session } => State::Looking(Look::again(floor, session, After::Trigger)),
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
            },
            After::Trigger | After::Lose => State::Lost,
            After::Refuse(why) => State::Refused { why },
        }
    }
}

impl Halt {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_none(&self) -> bool {
        *self == Halt::None
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
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
            state: State::Wanted,
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
            State::Looking(look) => !look.queue_done && !look.first,
            State::Queued { .. } | State::Building { .. } => self.halt != Halt::Due,
            _ => false,
        }
    }

    /// What to ask.
    #[must_use]
    pub fn next(&self) -> Ask {
        let halting = self.halt == Halt::Due;
        match &self.state {
            State::Wanted => Ask::Job,
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
            State::Wanted => State::Cancelled,
            // An earlier trigger may still be on its way.
            State::Clear { floor, session } => State::Looking(Look::again(floor, session, After::Trigger)),
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
            State::Wanted => wanted(said, session),
            State::Looking(look) => looking(look.in_life(session), said),
            State::Clear { floor, session: old } => clear(floor, session.or(old), said),
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
            (State::Clear { .. }, _) => Run {
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

fn wanted(said: Said, session: Option<String>) -> State {
    match said {
        Said::Ready { next_build } => State::Looking(Look {
            first: true,
            left: 1,
            ..Look::again(next_build, session, After::Trigger)
        }),
        Said::Unfit(why) => State::Refused { why },
        _ => State::Wanted,
    }
}

fn looking(look: Look, said: Said) -> State {
    match said {
        Said::Item(item) => State::Queued {
            known: Known {
                item: item.id,
                session: look.session,
            },
            floor: look.floor,
        },
        Said::NoItem => State::Looking(Look {
            queue_done: true,
            ..look
        }),
        Said::Search(Search::Found(build)) => built(build),
        // An answer about builds that was asked for in an earlier life, or before the queue was searched, is none.
        Said::Search(search) if look.queue_done => look.in_vain(&search),
        _ => State::Looking(look),
    }
}

fn clear(floor: u64, session: Option<String>, said: Said) -> State {
    let again = |then| State::Looking(Look::again(floor, session.clone(), then));
    match said {
        Said::Triggered(Triggered::Queued(item) | Triggered::Merged(item)) => State::Queued {
            known: Known { item, session },
            floor,
        },
        Said::Triggered(Triggered::Untold) => again(After::Lose),
        Said::Triggered(Triggered::SentBack) => again(After::Refuse(Refusal::Vetoed)),
        Said::Triggered(Triggered::Refused(why)) => State::Refused { why },
        _ => again(After::Trigger),
    }
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
        Said::Build(build) if build.running || build.result.is_some() => built(build),
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

fn built(build: Build) -> State {
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
