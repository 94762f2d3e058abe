//! The rules of a rollout: plain data in, plain data out.
//!
//! [`validate()`] turns a Canary into a [`RolloutSpec`] in which no field can be nonsense; [`decide()`] turns what was
//! observed into acts, the next status and the instant of the next look.
//! Invariant: nothing here names a client, a clock, a runtime or a log.

pub mod decide;
pub mod decision;
pub mod observed;
pub mod spec;
pub mod validate;

pub use crate::{
    weight::{self, Weight},
    workload::{Serves, Workload},
};
pub use decide::{analysis_is_skipped, decide, policies_wanted, refuse, refuses_late_writes, repeated};
pub use decision::{Act, Child, Decision, Field, Sampling};
pub use observed::{Apex, BrokenWatch, GateNews, Observed, Order, RefusedWrite, Repeat, Requests, Routes};
pub use spec::{CanaryId, GateSpec, HandBack, Names, Opens, RolloutSpec, Steps};
pub use validate::{Invalid, Problem, validate};
