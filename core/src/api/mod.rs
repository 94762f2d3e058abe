//! The custom resources as users write them: types, schema and CEL rules, no logic.
//!
//! The types stand apart from any API group except where `CustomResource` ties them to `bellwether.dev`, so that
//! a second group can reuse them. Invariant: nothing here names another module of the controller.

mod absent;
mod approval;
mod canary;
mod canary_ref;
mod command;
mod freeze;
mod gate;
mod promotion;
mod promotion_ledger;
mod schema;
mod status;
mod verb;

pub use approval::{Approval, ApprovalSpec};
pub use canary::{
    Analysis, Canary, CanarySpec, Metadata, Metric, MetricDisconnects, MetricReporter, ReachPolicy, Service,
    ServicePort, TargetRef, ThresholdRange,
};
pub use canary_ref::CanaryRef;
pub use command::{Command, CommandSpec, CommandStatus};
pub use freeze::{ClusterFreeze, ClusterFreezeSpec, Freeze, FreezeSpec, FreezeWindow, UnderWay};
pub use gate::{ApprovalGate, Gate, GatePoint, GateState, GateStatus, JenkinsGate};
pub use promotion::{
    Awaited, Conflict, Log, OnClientLost, Policy, Promotion, PromotionPhase, PromotionSpec, PromotionStatus,
    Requester,
};
pub use promotion_ledger::{LedgerEntry, PromotionLedger, PromotionLedgerSpec};
pub use schema::LINE;
pub use status::{
    CanaryStatus, CheckStatus, Condition, FirstCallsStatus, Hold, HoldReason, Intervention, Notice,
    NoticeKind, Outbox, Outcome, PastRollout, Pause, Phase, RejectedRevision, Requesters, Retirement,
    RetirementKind, Retreat, RevisionStatus, Shipping, Situation, StepStatus, TransferStatus,
};
pub use verb::{AbortAction, GateDecision, Verb};

/// The API group of every resource here.
pub const GROUP: &str = "bellwether.dev";
