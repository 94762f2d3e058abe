//! What one decision knows of the world: a snapshot of plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Act, Child, RolloutSpec, Serves, Weight, Workload};
use crate::{
    api::{CanaryStatus, GateState, Requesters, Shipping, UnderWay, Verb},
    freeze::Freezing,
    judge::Sample,
    user_aliases::UserAliases,
    workload::policies::Policies,
};

/// The world as one decision sees it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Canary's status: the memory.
    pub status: CanaryStatus,
    /// Whether our finalizer is on the Canary.
    pub finalizer: bool,
    /// Somebody else's object or controller in the way, in a sentence.
    pub conflict: Option<String>,
    /// The user's workload.
    pub target: Option<Workload>,
    /// The primary.
    pub primary: Option<Workload>,
    /// Services and DestinationRules that are missing or not as they should be; the apex Service only if its
    /// content (not its selector) is off.
    pub drifted: Vec<Child>,
    /// Objects that carry our marks, in the order in which they may be given up.
    pub existing: Vec<Child>,
    /// Those of them that were not created for this Canary: they are never deleted.
    pub adopted: Vec<Child>,
    /// Who decides now: different for every leadership, every process, and after every write whose outcome is unknown.
    pub epoch: String,
    /// A revision that the primary cannot return to, because no ReplicaSet has it any more.
    pub unrestorable: Option<String>,
    /// Objects that traffic depends on and that do not carry the present epoch.
    pub unfenced: Vec<Child>,
    /// Who asks for a release by a Promotion.
    pub requests: Requests,
    /// Which names mean the same person.
    pub aliases: Arc<UserAliases>,
    /// Policies and companions that select the target's pods and not the primary's; looked at while a primary is set up.
    pub policies: Policies,
    /// When this process gave up the latest write of this Canary whose outcome is unknown.
    pub unsettled_at: Option<DateTime<Utc>>,
    /// The Service that callers use.
    pub apex: Apex,
    /// The VirtualService.
    pub routes: Routes,
    /// Since when routes and the apex Service's selector are as they are, as far as this process knows.
    pub routing_since: DateTime<Utc>,
    /// Since when the target has its present template, as far as this process knows.
    pub template_since: DateTime<Utc>,
    /// Since when the metrics are sampled; now, if they are not.
    pub sampled_since: DateTime<Utc>,
    /// The latest sample of the metrics.
    pub sample: Option<Arc<Sample>>,
    /// Orders that were heeded or refused already, and whoever gave them has not been told: they are not forgotten.
    pub untold: BTreeSet<String>,
    /// Orders that were not heeded or refused yet, oldest first.
    pub orders: Vec<Order>,
    /// What was heard of jobs at gates since the status was written.
    pub gate_news: Vec<GateNews>,
    /// What freezes mean now.
    pub freezing: Freezing,
    /// The last write of each field, and how often it was carried out in a row: again means that somebody undid it.
    pub repeats: Vec<Repeat>,
    /// Writes that the API server refuses, oldest first: at most one per object.
    pub refused: Vec<RefusedWrite>,
    /// The kind of object whose watch is broken longest.
    pub broken_watch: Option<BrokenWatch>,
    /// What adopted objects offer and cannot be carried over, each as a sentence that names the object.
    pub uncarried: Vec<String>,
    /// VirtualServices of other namespaces that lead to the Service that callers use, as `<namespace>/<name>`.
    pub routes_elsewhere: Vec<String>,
    /// Number of the newest fact of the outbox that is known to be told.
    pub told: i64,
}

impl Observed {
    /// Why nothing of the Canary may be touched.
    #[must_use]
    pub fn hands_off(&self, spec: &RolloutSpec) -> Option<&str> {
        let suspended = spec
            .suspended()
            .then_some("the Canary is suspended (spec.suspend)");
        suspended.or(self.conflict.as_deref())
    }

    /// Why no release may begin now (`Finish`), or none may take a step (`Hold`). Without a primary nothing is frozen: a
    /// release is what brings it back.
    #[must_use]
    pub fn frozen(&self, under_way: UnderWay) -> Option<&str> {
        let applies = under_way == UnderWay::Finish || self.freezing.holds;
        let frozen = self.freezing.frozen.as_deref();
        frozen.filter(|_| applies && self.primary.is_some())
    }
}

/// The last write of a field, and how often somebody undid one.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// The write.
    pub act: Act,
    /// How often what was written to this field was undone and written again, with less than ten minutes between two. A write
    /// of another value is no repair, and does not end the quarrel.
    pub times: u32,
    /// When it was carried out last.
    pub last: DateTime<Utc>,
    /// When the field was put right last.
    pub repaired: Option<DateTime<Utc>>,
}

/// A write that the API server refused at its last try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedWrite {
    /// What was to be done, in words: `setting weights`.
    pub act: &'static str,
    /// Whether that is a fence.
    pub fence: bool,
    /// Kind and name of the object: `VirtualService/shop`.
    pub object: String,
    /// The API server's own words, at most 300 characters.
    pub message: String,
    /// When it was refused first.
    pub since: DateTime<Utc>,
    /// How often in a row.
    pub times: u32,
}

/// A watch that fails, and has brought nothing since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenWatch {
    /// The kind that is watched.
    pub kind: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The last error.
    pub message: String,
}

/// An order about one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What makes it unique.
    pub id: String,
    /// What is to be done.
    pub verb: Verb,
    /// The revision that is meant.
    pub revision: String,
    /// Who orders it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The gate that is decided on.
    pub gate: Option<String>,
    /// Everybody who is behind it, by every name that is known.
    pub people: Requesters,
}

/// Who asks for a release by Promotions that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// By the revision that the workload has got for them.
    pub shipped: BTreeMap<String, Requesters>,
    /// Of these revisions those of which every image was asked for by one Promotion: nothing of a revision before is in them.
    pub whole: BTreeSet<String>,
    /// Those for whom the workload gets other images, which may be on their way already.
    pub shipping: Option<Shipping>,
}

/// What was heard of the job at a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct GateNews {
    /// Name of the gate.
    pub gate: String,
    /// The revision that stands at it.
    pub revision: String,
    /// Since when it stands there, which tells one order from the next.
    pub since: DateTime<Utc>,
    /// Where the order is on its way.
    pub run: Value,
    /// Whether the gate is open.
    pub state: GateState,
    /// Why.
    pub message: Option<String>,
    /// The build, for people.
    pub url: Option<String>,
    /// Whether this process knows how the job stands now, or that nobody tells. What was written while it did not look may
    /// be of a job that has ended long since.
    pub caught_up: bool,
}

/// The Service that callers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apex {
    /// Which pods it selects; `None` if it does not exist or selects neither.
    pub serves: Option<Serves>,
    /// Its ready endpoints.
    pub endpoints: i32,
}

/// The VirtualService as far as this Canary is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routes {
    /// Istio's resources are not served by this cluster.
    NotInstalled,
    /// They cannot be read at present; why.
    Unavailable(String),
    /// There is none.
    Missing,
    /// There is none, and there was one before the Canary: it is its owner's to make again. What is told of that.
    Awaited(String),
    /// It has no route that can be split; why.
    Invalid(String),
    /// It is there.
    Present {
        /// The canary's share; `None` if routes differ, are not split, or have an unexpected share.
        weight: Option<Weight>,
        /// Whether any route names the primary or the canary.
        split: bool,
        /// Whether it was created for this Canary.
        owned: bool,
        /// Whether an owned one has the content that the Canary asks for.
        in_shape: bool,
    },
}

impl Routes {
    /// Why nothing can be decided with them, if that is so.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        match self {
            Routes::Missing | Routes::Present { .. } => None,
            Routes::NotInstalled => Some(
                "Istio's VirtualService and DestinationRule are not served by this cluster; install Istio's CRDs",
            ),
            Routes::Awaited(why) | Routes::Unavailable(why) | Routes::Invalid(why) => Some(why),
        }
    }

    /// The canary's share, if it is known and the same in every route.
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        match self {
            Routes::Present { weight, .. } => *weight,
            _ => None,
        }
    }
}
