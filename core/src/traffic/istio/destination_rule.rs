//! DestinationRules: one per Service of a Canary, so that mutual TLS and connection pools apply to both versions.
//!
//! What the user's own rules say about the Service of the callers is carried over, because they do not apply to the
//! Services that the routes lead to. Invariant: a subset that a route names is defined on both sides, or is missed by
//! name before the route is written.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::pointer::At;
use serde_json::{Value, json};

use super::{Role, ServiceNames};
use crate::workload::{deployment::Selector, text};

/// The namespace whose rules apply where the Service's own namespace has none; Istio's default.
pub const ROOT_NAMESPACE: &str = "istio-system";

/// A subset, and the rule that defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// Name of the DestinationRule.
    pub rule: String,
    /// Istio's Subset as it is.
    pub body: Value,
}

impl Subset {
    /// The name by which destinations ask for it.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.body, "/name")
    }
}

/// What DestinationRules say about one Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// Istio's TrafficPolicy, with all its fields.
    pub traffic_policy: Option<Value>,
    /// The subsets.
    pub subsets: Vec<Subset>,
    /// The namespaces that heed it; all if absent.
    pub export_to: Option<Value>,
}

impl Policies {
    /// Lets what the Canary says go before what the rules say: for all that heed them, and callers in its own namespace.
    pub fn overrule(&mut self, traffic_policy: &Value, names: &ServiceNames) {
        self.traffic_policy = Some(traffic_policy.clone());
        if !heard_here(self.export_to.as_ref(), true, names) {
            self.export_to = None;
        }
    }
}

/// How closely a host means the Service: the longer a wildcard, the closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Wildcard(usize),
    Exact,
}

/// Whether a DestinationRule for `host` in `namespace` may apply to the Service of the callers.
#[must_use]
pub fn concerns(host: &str, namespace: &str, names: &ServiceNames) -> bool {
    closeness(host, namespace, names).is_some()
}

fn closeness(host: &str, namespace: &str, names: &ServiceNames) -> Option<Closeness> {
    if names.resolve(host, namespace) == Some(Role::Apex) {
        return Some(Closeness::Exact);
    }
    names
        .covered(host, Role::Apex)
        .then_some(Closeness::Wildcard(host.len()))
}

/// A rule for the Service of the callers.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// Whether it is of the Service's own namespace.
    near: bool,
    close: Closeness,
    rule: &'a Value,
}

impl<'a> Found<'a> {
    fn export_to(&self) -> Option<&'a Value> {
        let to = self.rule.at("/spec/exportTo")?;
        to.as_array().filter(|to| !to.is_empty()).map(|_| to)
    }

    fn is_exported_to_all(&self) -> bool {
        self.export_to()
            .and_then(Value::as_array)
            .is_none_or(|to| to.iter().any(|to| to == "*"))
    }

    fn name(&self) -> &'a str {
        text(self.rule, "/metadata/name")
    }
}

/// The rules for the Service of the callers, the closest first: those that callers in its namespace heed, and those of its
/// namespace that only callers in other namespaces heed.
fn found<'a>(
    rules: impl IntoIterator<Item = &'a Value>,
    names: &ServiceNames,
) -> (Vec<Found<'a>>, Vec<Found<'a>>) {
    let mut found: Vec<Found<'_>> = rules
        .into_iter()
        .filter(|rule| rule.at("/spec/workloadSelector").is_none_or(Value::is_null))
        .filter_map(|rule| {
            let namespace = text(rule, "/metadata/namespace");
            let close = closeness(text(rule, "/spec/host"), namespace, names)?;
            let near = namespace == names.namespace;
            Some(Found { near, close, rule })
        })
        .collect();
    found.sort_by_key(|found| {
        let age = (text(found.rule, "/metadata/creationTimestamp"), found.name());
        (Reverse((found.near, found.close)), age)
    });
    let (here, mut elsewhere): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|found| heard_here(found.export_to(), found.near, names));
    elsewhere.retain(|found| found.near && found.export_to() != Some(&json!(["~"])));
    (here, elsewhere)
}

/// Of these rules those that both sides get: the closest for callers in the Service's namespace or, where that has only rules
/// for other namespaces, the closest of them, which stay for those alone.
fn carried<'a>(here: &[Found<'a>], elsewhere: &[Found<'a>]) -> Vec<Found<'a>> {
    let near = here.first().filter(|first| first.near);
    let Some(first) = near.or(elsewhere.first()).or(here.first()) else {
        return Vec::new();
    };
    let for_here = heard_by(first, here);
    let group = if for_here { here } else { elsewhere };
    let alike = |other: &&Found<'_>| {
        (other.near, other.close) == (first.near, first.close)
            && (for_here || other.export_to() == first.export_to())
    };
    group.iter().filter(alike).copied().collect()
}

fn heard_by(rule: &Found<'_>, group: &[Found<'_>]) -> bool {
    group.iter().any(|other| std::ptr::eq(other.rule, rule.rule))
}

/// What of `rules` applies to the Service of the callers: Istio heeds those of the Service's namespace and, if there is
/// none, those of the root namespace; of these the closest host. Several for one host count as one, the oldest first.
#[must_use]
pub fn applying<'a>(rules: impl IntoIterator<Item = &'a Value>, names: &ServiceNames) -> Policies {
    let (here, elsewhere) = found(rules, names);
    let mut policies = Policies::default();
    for found in carried(&here, &elsewhere) {
        merge(&mut policies, found.rule);
    }
    policies
}

/// Rules that speak for callers of other namespaces than those that both sides get: each a sentence that says what would be
/// right. Wildcards mean the Services of the two sides as well, and need no copy where that is not heeded.
#[must_use]
pub fn unheard<'a>(rules: impl IntoIterator<Item = &'a Value>, names: &ServiceNames) -> Vec<String> {
    let (here, elsewhere) = found(rules, names);
    let carried = carried(&here, &elsewhere);
    let Some(first) = carried.first() else {
        return Vec::new();
    };
    let for_all = carried.iter().all(Found::is_exported_to_all);
    let is_lost = |other: &&Found<'_>| {
        let closer =
            |closer: &Found<'_>| closer.near && closer.is_exported_to_all() && closer.close > other.close;
        !heard_by(other, &carried) && (for_all || other.close == Closeness::Exact) && !here.iter().any(closer)
    };
    // Callers here heed a rule of the root namespace where those of their own are for others.
    let root = here.first().filter(|_| !heard_by(first, &here));
    let lost = elsewhere.iter().chain(root).filter(is_lost);
    lost.map(|lost| {
        let (lost, kept, apex) = (lost.name(), first.name(), &names.apex);
        format!(
            "DestinationRule {lost}: it and DestinationRule {kept} speak for callers of Service {apex} in different namespaces \
             (exportTo), and each side of the Canary has one rule, a copy of {kept}; let one rule speak for all of them"
        )
    })
    .collect()
}

/// Whether callers in the Service's namespace heed a rule that is exported to these, of that namespace if `near`.
fn heard_here(export_to: Option<&Value>, near: bool, names: &ServiceNames) -> bool {
    export_to.and_then(Value::as_array).is_none_or(|to| {
        to.iter()
            .filter_map(Value::as_str)
            .any(|to| to == "*" || to == names.namespace || (near && to == "."))
    })
}

fn merge(policies: &mut Policies, rule: &Value) {
    let part = |key: &str| rule.get("spec")?.get(key).filter(|part| !part.is_null()).cloned();
    policies.traffic_policy = policies.traffic_policy.take().or_else(|| part("trafficPolicy"));
    policies.export_to = policies.export_to.take().or_else(|| part("exportTo"));
    let subsets = part("subsets").and_then(|subsets| subsets.as_array().cloned());
    for body in subsets.unwrap_or_default() {
        let subset = Subset {
            rule: text(rule, "/metadata/name").to_owned(),
            body,
        };
        if !policies.subsets.iter().any(|known| known.name() == subset.name()) {
            policies.subsets.push(subset);
        }
    }
}

/// The spec of the DestinationRule of the Service with this role. A subset of the callers' Service becomes one of the
/// primary's by the label that tells the primary's pods apart.
#[must_use]
pub fn build(names: &ServiceNames, role: Role, policies: &Policies, selector: Option<&Selector>) -> Value {
    let mut spec = json!({ "host": names.short(role) });
    if let Some(policy) = policies.traffic_policy.as_ref().filter(|p| !p.is_null()) {
        spec["trafficPolicy"] = policy.clone();
    }
    let subsets = policies.subsets.iter().map(|subset| {
        let mut body = subset.body.clone();
        if role == Role::Primary
            && let Some(selector) = selector
            && let Some(value) = body
                .get_mut("labels")
                .and_then(|labels| labels.get_mut(&selector.label))
            && *value == selector.value.as_str()
        {
            *value = json!(selector.primary_value());
        }
        body
    });
    let subsets: Vec<Value> = subsets.collect();
    if !subsets.is_empty() {
        spec["subsets"] = Value::Array(subsets);
    }
    if let Some(to) = &policies.export_to {
        spec["exportTo"] = to.clone();
    }
    spec
}

/// Whether the `live` spec differs from the `desired` one in its host, traffic policy or visibility, or in subsets that are
/// desired. Other parts, such as subsets that a user added, are left alone. Istio's schema has no defaults, hence any
/// difference is an edit.
#[must_use]
pub fn drift(live: &Value, desired: &Value) -> bool {
    let field = |spec: &Value, key: &str| spec.get(key).filter(|v| !v.is_null()).cloned();
    let differs = |key: &str| field(live, key) != field(desired, key);
    let lacks = |key: &str| field(desired, key).is_some() && differs(key);
    ["host", "trafficPolicy", "exportTo"].into_iter().any(differs) || lacks("subsets")
}

/// Which of the subsets that routes name cannot be served by pods with the labels of `template`, of the target: each a
/// sentence that says what would be right.
#[must_use]
pub fn unfit_subsets(
    used: &BTreeSet<String>,
    policies: &Policies,
    names: &ServiceNames,
    template: Option<&Value>,
) -> Vec<String> {
    let apex = &names.apex;
    let labels = template.and_then(|template| template.at("/metadata/labels"));
    let sentence = |name: &String| {
        let Some(subset) = policies.subsets.iter().find(|subset| subset.name() == name) else {
            return Some(format!(
                "VirtualService: a route leads to subset {name} of Service {apex}, which no DestinationRule for {apex} \
                 defines; define it, or take the subset out of the route"
            ));
        };
        let wanted = subset.body.get("labels").and_then(Value::as_object)?;
        let (key, value) = wanted
            .iter()
            .find(|(key, value)| labels.and_then(|all| all.get(*key)) != Some(*value))?;
        let value = value.as_str().unwrap_or_default();
        let has = labels.and_then(|all| all.get(key)).and_then(Value::as_str);
        let has = has.map_or("have no such label".to_owned(), |has| format!("have {key}={has}"));
        Some(format!(
            "DestinationRule {}: subset {name}, to which a route leads, selects {key}={value}, and the new pods {has}; \
             let it select what every version has, or take the subset out of the route",
            subset.rule
        ))
    };
    used.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests;
