//! What a decision says: acts in order, and when to look again.

use chrono::{DateTime, Utc};

use super::{Serves, Weight};
use crate::api::CanaryStatus;

/// An object that belongs to a Canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Child {
    /// Service `<name>`.
    ApexService,
    /// Service `<name>-primary`.
    PrimaryService,
    /// Service `<name>-canary`.
    CanaryService,
    /// DestinationRule `<name>-primary`.
    PrimaryRule,
    /// DestinationRule `<name>-canary`.
    CanaryRule,
    /// VirtualService `<name>`.
    Routes,
    /// Deployment `<target>-primary`.
    PrimaryDeployment,
    /// The user's Deployment, which is never created or deleted.
    Target,
}

/// One guarded, idempotent write.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Write the present epoch on an object, so that writes decided before it was written are refused.
    Fence(Child),
    /// Put our finalizer on the Canary.
    AddFinalizer,
    /// Take our finalizer off the Canary; the last act of all.
    RemoveFinalizer,
    /// Bring a Service or DestinationRule to the content that the Canary asks for.
    Apply(Child),
    /// Create the VirtualService, or repair an owned one, with the canary at this weight.
    ApplyRoutes(Weight),
    /// Split the traffic in an existing VirtualService.
    Route(Weight),
    /// Make the apex Service select these pods.
    PointApex(Serves),
    /// Give the primary the target's pod template, which must be of this revision. `replicas` is set only if given.
    Promote {
        /// The analysed revision.
        revision: String,
        /// New `spec.replicas`.
        replicas: Option<i32>,
    },
    /// Give the primary back the pod template of this revision, from its own ReplicaSets.
    Restore {
        /// The revision to return to.
        revision: String,
    },
    /// Give the target the primary's pod template, which is this revision.
    HandBack {
        /// The promoted revision.
        revision: String,
    },
    /// Set `spec.replicas` of the target.
    ScaleTarget(i32),
    /// Set `spec.replicas` of the primary.
    ScalePrimary(i32),
    /// Write the status.
    Record(Box<CanaryStatus>),
    /// Undo our changes of the VirtualService: its routes lead to the apex Service again.
    MergeRoutes,
    /// Take our marks off an object that stays.
    Release(Child),
    /// Delete an object of ours.
    Delete(Child),
}

/// What a write sets. Of two writes of one field the later one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// The VirtualService.
    Routes,
    /// The selector of the apex Service.
    Apex,
    /// The target's replicas.
    TargetReplicas,
    /// The primary's replicas.
    PrimaryReplicas,
    /// The primary's pod template.
    PrimaryTemplate,
    /// The target's pod template.
    TargetTemplate,
    /// A Service or DestinationRule.
    Child(Child),
}

impl Act {
    /// The field that it sets; `None` of what nobody can undo and have repeated.
    #[must_use]
    pub fn field(&self) -> Option<Field> {
        match self {
            Act::Route(_) | Act::ApplyRoutes(_) | Act::MergeRoutes => Some(Field::Routes),
            Act::PointApex(_) => Some(Field::Apex),
            Act::ScaleTarget(_) => Some(Field::TargetReplicas),
            Act::ScalePrimary(_) => Some(Field::PrimaryReplicas),
            Act::Promote { .. } | Act::Restore { .. } => Some(Field::PrimaryTemplate),
            Act::HandBack { .. } => Some(Field::TargetTemplate),
            Act::Apply(child) => Some(Field::Child(*child)),
            Act::Fence(_)
            | Act::AddFinalizer
            | Act::RemoveFinalizer
            | Act::Record(_)
            | Act::Release(_)
            | Act::Delete(_) => None,
        }
    }

    /// The object that it is about, besides the Canary itself.
    #[must_use]
    pub fn child(&self) -> Option<Child> {
        match self {
            Act::Fence(child) | Act::Apply(child) | Act::Release(child) | Act::Delete(child) => Some(*child),
            Act::ApplyRoutes(_) | Act::Route(_) | Act::MergeRoutes => Some(Child::Routes),
            Act::PointApex(_) => Some(Child::ApexService),
            Act::Promote { .. } | Act::Restore { .. } | Act::ScalePrimary(_) => {
                Some(Child::PrimaryDeployment)
            }
            Act::ScaleTarget(_) | Act::HandBack { .. } => Some(Child::Target),
            Act::AddFinalizer | Act::RemoveFinalizer | Act::Record(_) => None,
        }
    }
}

/// Whether metrics of a Canary are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// They are.
    Wanted,
    /// Twice a minute is enough: whether requests arrive, and no metric of the analysis.
    Occasional,
    /// They are not.
    Unwanted,
    /// This round did not come to it: what was measured so far is not to be forgotten.
    AsBefore,
}

/// What follows from an observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Writes in order; the first that fails ends the round, unless they are `independent`.
    pub acts: Vec<Act>,
    /// Whether no act relies on one before it about another object: what the API server refuses of one object then does
    /// not keep the acts about others, or a status, from being carried out. Only so may safety be decided on several
    /// objects at once, and a verdict be recorded though an object cannot be written; a status among the acts must not say
    /// that an act before it was carried out.
    pub independent: bool,
    /// A verdict that fell in this round, as a status that claims nothing of the routes: it is recorded also where they are
    /// refused, or the release would be judged anew on what comes later.
    pub verdict: Option<Box<CanaryStatus>>,
    /// When to look again even if nothing changes.
    pub wake_at: Option<DateTime<Utc>>,
    /// Whether metrics of this Canary are needed now.
    pub sampling: Sampling,
    /// From when on counts are evidence of the present step: metrics look back no further. `None` outside of a step.
    pub evidence_from: Option<DateTime<Utc>>,
    /// Whether traffic is at risk, so that this Canary passes before routine work.
    pub urgent: bool,
}
