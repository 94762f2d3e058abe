//! What we remember on a VirtualService of how the user wrote its routes, as annotations.
//!
//! Both are comma-separated lists of `<protocol>/<route>` with or without a number; a route is called by its name, or by
//! its position where it has none. Invariant: what is noted helps to undo a split, and is never needed to see one.

use std::collections::{BTreeMap, BTreeSet};

use crate::pointer::At;
use serde_json::Value;

use super::{RouteError, edit::Edit};

/// Remembers, for lone destinations, which weight they had: `<protocol>/<route>` (there was none) and
/// `<protocol>/<route>=<weight>`.
pub const IMPLICIT_WEIGHT_ANNOTATION: &str = "bellwether.dev/implicit-weight";

/// Remembers, for routes with several destinations, by what all weights are multiplied while they are split:
/// `<protocol>/<route>=<factor>`.
pub const WEIGHT_SCALE_ANNOTATION: &str = "bellwether.dev/weight-scale";

/// Annotation of a created VirtualService: the spec that was applied last. With it a part that is later taken out of the
/// Canary can be told from one that a user added by hand.
pub const APPLIED_ANNOTATION: &str = "bellwether.dev/applied-routes";

type Numbers = BTreeMap<String, Option<i64>>;

/// The notes on one VirtualService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notes {
    implicit: Numbers,
    scales: Numbers,
    /// Whether the VirtualService was created for the Canary.
    pub(super) created: bool,
}

impl Notes {
    /// The notes on `vs`.
    pub(super) fn of(vs: &Value) -> Notes {
        Notes {
            implicit: numbers(annotation(vs, IMPLICIT_WEIGHT_ANNOTATION)),
            scales: numbers(annotation(vs, WEIGHT_SCALE_ANNOTATION)),
            created: annotation(vs, APPLIED_ANNOTATION).is_some(),
        }
    }

    /// Whether the route with this key was split by us.
    pub(super) fn has(&self, key: &str) -> bool {
        self.implicit.contains_key(key) || self.scales.contains_key(key)
    }

    /// What the lone destination of a route had for a weight, if that is known.
    pub(super) fn implicit(&self, key: &str) -> Option<Option<i64>> {
        self.implicit.get(key).copied()
    }

    /// By what the weights of a route were multiplied.
    pub(super) fn scale(&self, key: &str) -> i64 {
        self.scales.get(key).copied().flatten().unwrap_or(1).max(1)
    }

    /// Notes what the lone destination of a route has for a weight.
    pub(super) fn note_implicit(&mut self, key: &str, weight: Option<i64>) {
        self.implicit.insert(key.to_owned(), weight);
    }

    /// Notes by what the weights of a route are multiplied.
    pub(super) fn note_scale(&mut self, key: &str, scale: i64) {
        self.scales.insert(key.to_owned(), Some(scale));
    }

    /// Those on routes that are `split` and not `ours`: another Canary's.
    pub(super) fn of_others(mut self, split: &BTreeSet<String>, ours: &BTreeSet<String>) -> Notes {
        for numbers in [&mut self.implicit, &mut self.scales] {
            numbers.retain(|key, _| split.contains(key) && !ours.contains(key));
        }
        self
    }

    /// Writes what is not on the VirtualService yet.
    pub(super) fn write(&self, edit: &mut Edit) -> Result<(), RouteError> {
        let present = Notes::of(edit.doc());
        if self.implicit != present.implicit {
            edit.annotate(IMPLICIT_WEIGHT_ANNOTATION, &text(&self.implicit))?;
        }
        if self.scales != present.scales {
            edit.annotate(WEIGHT_SCALE_ANNOTATION, &text(&self.scales))?;
        }
        Ok(())
    }
}

/// The annotation `name` of a VirtualService.
pub(super) fn annotation<'a>(vs: &'a Value, name: &str) -> Option<&'a str> {
    vs.at("/metadata/annotations")?.get(name)?.as_str()
}

fn numbers(text: Option<&str>) -> Numbers {
    text.unwrap_or_default()
        .split(',')
        .filter(|item| !item.is_empty())
        .filter_map(|item| match item.split_once('=') {
            None => Some((item.to_owned(), None)),
            Some((key, number)) => Some((key.to_owned(), Some(number.parse().ok()?))),
        })
        .collect()
}

fn text(numbers: &Numbers) -> String {
    let items = numbers.iter().map(|(key, number)| match number {
        None => key.clone(),
        Some(number) => format!("{key}={number}"),
    });
    items.collect::<Vec<_>>().join(",")
}
