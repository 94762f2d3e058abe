//! Policies, Services and companions that select the target's pods, and would not select the primary's.
//!
//! The primary's pods have another value of one label (see [`Selector`]). Whoever selects pods by it guards or serves the target
//! alone: requests to the primary are then denied, or let through that should be denied, and a Service that is not the Canary's
//! leads nowhere once the target has no pods.

use crate::pointer::At;
use serde_json::{Map, Value, json};

use super::{deployment::Selector, text};

/// What becomes of a set-up that an object of a kind does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It decides which requests arrive: the set-up waits.
    Holds,
    /// It is told, and nothing waits.
    Told,
}

/// A kind of object that selects pods, or names the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyKind {
    /// API group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name in URLs.
    pub plural: &'static str,
    /// What becomes of the set-up.
    pub effect: Effect,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    effect: Effect,
) -> PolicyKind {
    PolicyKind {
        group,
        version,
        kind,
        plural,
        effect,
    }
}

const SERVICE: &str = "Service";

/// Every kind that is looked at.
pub const KINDS: [PolicyKind; 9] = [
    kind("", "v1", SERVICE, "services", Effect::Holds),
    kind(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        Effect::Holds,
    ),
    kind(
        "security.istio.io",
        "v1",
        "AuthorizationPolicy",
        "authorizationpolicies",
        Effect::Holds,
    ),
    kind(
        "security.istio.io",
        "v1",
        "PeerAuthentication",
        "peerauthentications",
        Effect::Holds,
    ),
    kind(
        "security.istio.io",
        "v1",
        "RequestAuthentication",
        "requestauthentications",
        Effect::Holds,
    ),
    kind(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        Effect::Told,
    ),
    kind(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        Effect::Told,
    ),
    kind(
        "monitoring.coreos.com",
        "v1",
        "PodMonitor",
        "podmonitors",
        Effect::Told,
    ),
    kind(
        "networking.istio.io",
        "v1alpha3",
        "EnvoyFilter",
        "envoyfilters",
        Effect::Told,
    ),
];

/// What was found in the Canary's namespace; objects as `Kind/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Policies and Services that select the target's pods and not the primary's.
    pub uncovered: Vec<String>,
    /// Other objects that do so.
    pub companions: Vec<String>,
    /// Kinds that nobody may read here, and others of which nothing depends.
    pub unread: Vec<String>,
    /// Policies that could not be read for now; why.
    pub failed: Vec<String>,
}

impl Policies {
    /// Adds the objects of one kind that select the pods of `target` and not those of a primary made from it. The Services
    /// with the names `own` are the Canary's, which follow it.
    pub fn add(
        &mut self,
        kind: &PolicyKind,
        objects: &[Value],
        (target, selector): (&Value, &Selector),
        own: &[&str],
    ) {
        let labels = target.at("/spec/template/metadata/labels");
        let of_target = labels.and_then(Value::as_object).cloned().unwrap_or_default();
        let mut of_primary = of_target.clone();
        of_primary.insert(selector.label.clone(), selector.primary_value().into());
        let name = text(target, "/metadata/name");
        let primary = format!("{name}-primary");
        let service = kind.kind == SERVICE;
        let guards = kind.effect == Effect::Holds && !service;
        let selected_by =
            |object: &Value, labels: &Map<String, Value>, name: &str| selects(kind, object, labels, name);
        let found = objects.iter().filter(|object| {
            let (one, other) = (
                selected_by(object, &of_target, name),
                selected_by(object, &of_primary, &primary),
            );
            // A policy that selects the primary alone, as all pods but the target's, concerns it as well.
            let differs = if guards { one != other } else { one && !other };
            if service {
                // Another Service has other callers, whatever it says.
                return differs && !own.contains(&text(object, "/metadata/name"));
            }
            // Whoever writes the same for the other pods has covered them.
            let twin = |twin: &Value| {
                let wanted = if one {
                    selected_by(twin, &of_primary, &primary)
                } else {
                    selected_by(twin, &of_target, name)
                };
                wanted && without_selector(twin) == without_selector(object)
            };
            (differs && !objects.iter().any(twin)) || leaves_out(object, objects, (&of_target, &of_primary))
        });
        let list = match kind.effect {
            Effect::Holds => &mut self.uncovered,
            Effect::Told => &mut self.companions,
        };
        list.extend(found.map(|object| format!("{}/{}", kind.kind, text(object, "/metadata/name"))));
    }

    /// The policies that nobody accepted. `accepted` has them as `Kind/name` with commas between, or is `all`.
    #[must_use]
    pub fn unaccepted(&self, accepted: &str) -> Vec<&str> {
        let all = self.uncovered.iter().map(String::as_str);
        all.filter(|policy| !accepts(accepted, policy)).collect()
    }

    /// What could not be read, unless all policies are accepted, whatever they are.
    #[must_use]
    pub fn unknown(&self, accepted: &str) -> &[String] {
        if accepts(accepted, "all") {
            &[]
        } else {
            &self.failed
        }
    }
}

fn accepts(accepted: &str, policy: &str) -> bool {
    let mut names = accepted.split(',').map(str::trim);
    names.any(|name| name == policy || name == "all")
}

/// What an object says of the pods that it selects.
fn without_selector(object: &Value) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("podSelector");
        spec.remove("selector");
    }
    spec
}

/// Whether an object of this kind concerns pods with these labels of a workload of this name.
fn selects(kind: &PolicyKind, object: &Value, labels: &Map<String, Value>, workload: &str) -> bool {
    let by_labels = |pointer: &str| {
        let wanted = object.at(pointer).and_then(Value::as_object);
        // Without a selector it is for the whole namespace.
        wanted.is_none_or(|wanted| has_all(labels, wanted))
    };
    match kind.kind {
        SERVICE => {
            // Without a selector, or with a name of elsewhere, it leads to no pods that it selects.
            let wanted = object.at("/spec/selector").and_then(Value::as_object);
            text(object, "/spec/type") != "ExternalName"
                && wanted.is_some_and(|wanted| !wanted.is_empty() && has_all(labels, wanted))
        }
        "NetworkPolicy" => object
            .at("/spec/podSelector")
            .is_none_or(|selector| matches(selector, labels)),
        "PodDisruptionBudget" | "PodMonitor" => object
            .at("/spec/selector")
            .is_none_or(|selector| matches(selector, labels)),
        "HorizontalPodAutoscaler" => {
            text(object, "/spec/scaleTargetRef/kind") == "Deployment"
                && text(object, "/spec/scaleTargetRef/name") == workload
        }
        "EnvoyFilter" => by_labels("/spec/workloadSelector/labels"),
        _ => by_labels("/spec/selector/matchLabels"),
    }
}

/// Whether a rule of a NetworkPolicy lets the pods of `of_target` through and not those of `of_primary`, which reach nobody
/// then, or not every port. Other rules for the same pods and ports, also of another policy in `all`, let them through as well.
fn leaves_out(
    policy: &Value,
    all: &[Value],
    (of_target, of_primary): (&Map<String, Value>, &Map<String, Value>),
) -> bool {
    let namespace = text(policy, "/metadata/namespace");
    [("/spec/ingress", "from"), ("/spec/egress", "to")]
        .into_iter()
        .any(|(direction, peers)| {
            let rules = |policy| rules_at(policy, direction);
            let admits = |rule: &Value, labels| admits(rule.get(peers), labels, namespace);
            let same_pods = |other: &&Value| other.at("/spec/podSelector") == policy.at("/spec/podSelector");
            let has_twin = |rule: &Value| {
                let twins = all.iter().filter(same_pods).flat_map(rules);
                twins
                    .filter(|twin| {
                        list(twin.get("ports")).is_empty() || twin.get("ports") == rule.get("ports")
                    })
                    .any(|twin| admits(twin, of_primary))
            };
            rules(policy).any(|rule| admits(rule, of_target) && !admits(rule, of_primary) && !has_twin(rule))
        })
}

fn rules_at<'a>(policy: &'a Value, direction: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    list(policy.at(direction)).iter()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether pods of this namespace with these labels are among `peers`; without any everybody is.
fn admits(peers: Option<&Value>, labels: &Map<String, Value>, namespace: &str) -> bool {
    let peers = list(peers);
    peers.is_empty()
        || peers.iter().any(|peer| {
            // Those of other namespaces are no pods of ours.
            let here = peer.get("namespaceSelector");
            here.is_none_or(|selector| may_match_namespace(selector, namespace))
                && peer
                    .get("podSelector")
                    .is_some_and(|selector| matches(selector, labels))
        })
}

/// Whether a selector of namespaces may select the one of this name. Of its labels only the one is known that the API server
/// gives every namespace; a policy that may concern us is looked at rather than passed over.
fn may_match_namespace(selector: &Value, namespace: &str) -> bool {
    const NAME: &str = "kubernetes.io/metadata.name";
    let known = Map::from_iter([(NAME.to_owned(), Value::from(namespace))]);
    let mut of_name = Map::new();
    if let Some(wanted) = selector.get("matchLabels").and_then(|labels| labels.get(NAME)) {
        of_name.insert("matchLabels".to_owned(), json!({ NAME: wanted }));
    }
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let expressions = expressions.into_iter().flatten();
    let expressions: Vec<&Value> = expressions.filter(|e| text(e, "/key") == NAME).collect();
    of_name.insert("matchExpressions".to_owned(), json!(expressions));
    matches(&Value::Object(of_name), &known)
}

fn has_all(labels: &Map<String, Value>, wanted: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a `LabelSelector` selects these labels; an empty one selects everything.
fn matches(selector: &Value, labels: &Map<String, Value>) -> bool {
    let by_labels = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    by_labels.is_none_or(|wanted| has_all(labels, wanted))
        && expressions.into_iter().flatten().all(|expression| {
            let value = labels.get(text(expression, "/key"));
            let values = expression.get("values").and_then(Value::as_array);
            let listed = || value.is_some_and(|value| values.is_some_and(|values| values.contains(value)));
            match text(expression, "/operator") {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

#[cfg(test)]
mod tests;
