//! The words of a run: its states, its questions, and what is answered. Pure.

use serde::{Deserialize, Serialize};

use super::super::{Build, BuildResult, Error, Halted, Item, ItemId, Refusal, Search, Triggered};

/// Where an order is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum State {
    /// Nothing of it is in Jenkins, and whether the job takes it was not heard.
    Wanted {
        /// How often there was no such job.
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u32,
    },
    /// A trigger may have been sent: queue and builds are looked through.
    Looking(Look),
    /// Nothing of it is in Jenkins: it may be triggered, by this process and now.
    Clear {
        /// No build of the order has a lower number.
        floor: u64,
        /// The life of Jenkins that it was seen in, if told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// How often there was no such job.
        #[serde(default, skip_serializing_if = "is_zero")]
        missed: u32,
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
    /// How often there was no such job.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u32,
    /// What follows if nothing is found.
    pub then: After,
}

/// What follows a search in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum After {
    /// It may be triggered.
    Trigger,
    /// The job is asked for again: it was not there to be triggered.
    AskJob,
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

impl Halt {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn is_none(&self) -> bool {
        *self == Halt::None
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
