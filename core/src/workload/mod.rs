//! The workload and its Services as JSON: what they are and what they should be. No client here.
//!
//! JSON and not typed structs, so that no field is lost that our client library does not know.

pub mod deployment;
pub mod marks;
mod normal; // a pod template without what versions of the API server add
pub mod overwrite;
pub mod policies;
pub mod revision;
mod selector; // the label that tells pods of target and primary apart
pub mod service;
mod tracking; // marks of tools that a copy must not carry
mod view; // a Deployment as a decision sees it

use crate::pointer::At;
use serde_json::Value;
pub use service::Serves;
pub use view::Workload;

/// Whether everything in `wanted` stands in `live` as well: maps may have more, lists must be equally long.
#[must_use]
pub fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|have| contains(have, value))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(have, want)| contains(have, want))
        }
        _ => live == wanted,
    }
}

/// The string at `pointer`, or the empty string.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.at(pointer).and_then(Value::as_str).unwrap_or_default()
}
