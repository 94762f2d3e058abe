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

/// What of `rules` applies to the Service of the callers: Istio heeds those of the Service's namespace and, if there is
/// none, those of the root namespace; of these the closest host. Several for one host count as one, the oldest first.
#[must_use]
pub fn applying<'a>(rules: impl IntoIterator<Item = &'a Value>, names: &ServiceNames) -> Policies {
    let mut found: Vec<(bool, Closeness, &Value)> = rules
        .into_iter()
        .filter(|rule| rule.at("/spec/workloadSelector").is_none_or(Value::is_null))
        .filter_map(|rule| {
            let namespace = text(rule, "/metadata/namespace");
            let close = closeness(text(rule, "/spec/host"), namespace, names)?;
            visible(rule, names).then_some((namespace == names.namespace, close, rule))
        })
        .collect();
    found.sort_by_key(|(near, close, rule)| {
        let age = (
            text(rule, "/metadata/creationTimestamp"),
            text(rule, "/metadata/name"),
        );
        (Reverse((*near, *close)), age)
    });
    let Some((near, close, _)) = found.first().copied() else {
        return Policies::default();
    };
    let mut policies = Policies::default();
    for (_, _, rule) in found.iter().filter(|(n, c, _)| (*n, *c) == (near, close)) {
        merge(&mut policies, rule);
    }
    policies
}

/// Whether callers in the Service's namespace heed `rule`.
fn visible(rule: &Value, names: &ServiceNames) -> bool {
    let Some(to) = rule
        .at("/spec/exportTo")
        .and_then(Value::as_array)
        .filter(|to| !to.is_empty())
    else {
        return true;
    };
    let own = text(rule, "/metadata/namespace") == names.namespace;
    to.iter()
        .filter_map(Value::as_str)
        .any(|to| to == "*" || to == names.namespace || (own && to == "."))
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
