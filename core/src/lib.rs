//! How Bellwether decides, without any input or output: plain data in, plain data out.
//!
//! [`rollout::validate()`] parses a Canary, [`rollout::decide()`] turns what was observed into acts. Invariant: nothing here
//! can name a client, a runtime, a clock or a log, because this crate depends on none.

pub mod api; // the custom resources: types, schema, CEL rules
pub mod defect; // deliberate defects, which the simulation must find; none in release builds
pub mod duration; // durations as people write them
pub mod explain; // what a Canary is doing and why, and what comes next
pub mod freeze; // whether a release may begin now
pub mod judge; // what measurements say
pub mod pointer; // parts of JSON objects
pub mod printable; // texts as others may see them
pub mod promotion; // promotions, and commands about a revision
pub mod rollout; // the rules of a rollout
pub mod traffic; // Istio's objects as JSON
pub mod user_aliases; // which names mean the same person
pub mod weight; // a share of traffic in whole percent
pub mod workload; // Deployments and Services as JSON
