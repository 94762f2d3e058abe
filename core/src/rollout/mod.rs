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
pub mod weight;

pub use decide::{analysis_is_skipped, decide, policies_wanted, refuse, repeated};
pub use decision::{Act, Child, Decision, Field, Sampling, Serves};
pub use observed::{Apex, BrokenWatch, GateNews, Observed, Order, RefusedWrite, Repeat, Routes, Workload};
pub use spec::{CanaryId, GateSpec, HandBack, Names, Opens, RolloutSpec, Steps};
pub use validate::{Invalid, Problem, validate};
pub use weight::Weight;
