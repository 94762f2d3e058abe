//! `Canary`: how the changes of one workload are released. Field names and meanings are Flagger's `v1beta1`.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{absent, gate::Gate, schema, status::CanaryStatus};

/// How every change of one workload is released: in which steps, judged by what, over which routes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[kube(
    group = "bellwether.dev",
    version = "v1beta1",
    kind = "Canary",
    plural = "canaries",
    shortname = "can",
    category = "all",
    namespaced,
    status = "CanaryStatus",
    doc = "A Canary releases every change of a workload gradually: the new revision gets a growing share of traffic, is judged, and is promoted or rolled back.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name: must have at most 63 characters, it becomes a label value"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.canaryWeight"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "LastTransition", type_ = "date", json_path = ".status.lastTransitionTime"),
    printcolumn(name = "Held", type_ = "string", json_path = ".status.hold.reason", priority = 1),
    printcolumn(name = "FailedChecks", type_ = "integer", json_path = ".status.failedChecks", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision.current", priority = 1),
    printcolumn(name = "Promoted", type_ = "string", json_path = ".status.revision.promoted", priority = 1),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1),
    printcolumn(name = "Interval", type_ = "string", json_path = ".spec.analysis.interval", priority = 1)
)]
#[x_kube(validation = Rule::new("(has(self.service.name) && self.service.name != '') || size(self.targetRef.name) <= 55")
    .message("spec.targetRef.name: must have at most 55 characters, or set spec.service.name: the Services <name>-primary and <name>-canary may have 63"))]
#[x_kube(validation = Rule::new("(has(self.service.name) && self.service.name != '') || self.targetRef.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
    .message("spec.service.name: is missing, and the workload's name cannot be that of a Service, which begins with a letter and has only a-z, 0-9 and -; set spec.service.name"))]
#[x_kube(validation = Rule::new("!has(self.analysis.metrics) || size(self.analysis.metrics) == 0 || !((has(self.service.appProtocol) && self.service.appProtocol.matches('^(?i)(tcp|tls)$')) || ((!has(self.service.appProtocol) || self.service.appProtocol == '') && has(self.service.portName) && self.service.portName.matches('^(tcp|tls)(-.*)?$')))")
    .message("spec.analysis.metrics: request-success-rate and request-duration count HTTP requests, and the service's port is TCP; remove them, and let spec.analysis.gates judge the release"))]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::NeverNull)]
pub struct CanarySpec {
    /// The workload whose changes are released; in the Canary's own namespace.
    pub target_ref: TargetRef,
    /// The service in front of the workload and how requests are routed to it.
    pub service: Service,
    /// In which steps, how long and by which checks a new revision is judged.
    pub analysis: Analysis,
    /// Seconds that a new revision, or the primary during a promotion, may take to become ready. Default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: Option<i32>,
    /// Ship without analysis: promote as soon as the new revision's pods are ready.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub skip_analysis: bool,
    /// On deletion, remove the routing objects that were created instead of leaving them pointed at the workload.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub revert_on_deletion: bool,
    /// Hands off: nothing of this Canary is touched while true; the traffic stays as it is.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub suspend: bool,
}

/// The workload to release.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.kind == 'Deployment'").message("spec.targetRef.kind: must be Deployment"))]
#[x_kube(validation = Rule::new("self.name == oldSelf.name").message("spec.targetRef.name: cannot change, the primary of the old workload would be left behind; delete the Canary and create another"))]
#[x_kube(validation = Rule::new("self.name.matches('^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')").message("spec.targetRef.name: must be the name of a Deployment: a-z, 0-9, - and ."))]
#[x_kube(validation = Rule::new("self.apiVersion == 'apps/v1'").message("spec.targetRef.apiVersion: must be apps/v1"))]
pub struct TargetRef {
    /// `apps/v1`.
    #[schemars(length(max = 63))]
    pub api_version: String,
    /// `Deployment`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 237))]
    pub name: String,
}

/// The service in front of the workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.name) ? self.name : '') == (has(oldSelf.name) ? oldSelf.name : '')")
    .message("spec.service.name: cannot change, the objects of the old name would be left behind; delete the Canary and create another"))]
#[x_kube(validation = Rule::new("!has(self.delegation) || !self.delegation || ((!has(self.hosts) || size(self.hosts) == 0) && (!has(self.gateways) || size(self.gateways) == 0))")
    .message("spec.service.delegation: a delegate has neither hosts nor gateways; remove spec.service.hosts and spec.service.gateways"))]
pub struct Service {
    /// Name of the Service and VirtualService; `-primary` and `-canary` are appended for the other two Services.
    /// Default: the workload's name.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 55))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("spec.service.name: must be a DNS label of at most 55 characters"))]
    pub name: Option<String>,
    /// Port of the Services.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Name of the port; Istio tells the protocol by it. Default `http`.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 63))]
    pub port_name: Option<String>,
    /// Port of the pods, number or name. Default: `port`.
    #[serde(default, deserialize_with = "port", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::int_or_string")]
    pub target_port: Option<ServicePort>,
    /// The port's `appProtocol`; `tcp` routes TCP instead of HTTP.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 63))]
    pub app_protocol: Option<String>,
    /// Every container port becomes a port of the Services; a Service that was there before keeps its own.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub port_discovery: bool,
    /// Timeout of a request, such as `15s`.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 20))]
    pub timeout: Option<String>,
    /// Istio gateways the route is bound to. Default `mesh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub gateways: Option<Vec<String>>,
    /// Hosts of the route; the service's own name is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub hosts: Option<Vec<String>>,
    /// The VirtualService is a delegate: without hosts and gateways.
    #[serde(default, deserialize_with = "absent::or_default")]
    pub delegation: bool,
    /// Istio TrafficPolicy of both DestinationRules, handed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub traffic_policy: Option<Value>,
    /// Istio HTTPMatchRequests of the route, handed on as they are.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_objects")]
    pub matches: Option<Vec<Value>>,
    /// Istio HTTPRewrite, handed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub rewrite: Option<Value>,
    /// Istio HTTPRetry, handed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub retries: Option<Value>,
    /// Istio Headers, handed on as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub headers: Option<Value>,
    /// Istio CorsPolicy, handed on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub cors_policy: Option<Value>,
    /// Labels and annotations of the Service `<name>` and the VirtualService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apex: Option<Metadata>,
    /// Labels and annotations of the Service `<name>-primary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<Metadata>,
    /// Labels and annotations of the Service `<name>-canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Metadata>,
}

/// A port by number or by name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum ServicePort {
    /// Port number.
    Number(i32),
    /// Name of a container port.
    Name(String),
}

/// The port; absent for null and an empty name.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServicePort>, D::Error> {
    let port = Option::<ServicePort>::deserialize(deserializer)?;
    Ok(port.filter(|port| *port != ServicePort::Name(String::new())))
}

/// Labels and annotations to put on an object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default)]
pub struct Metadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// In which steps a new revision is released and by which checks it is judged.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.stepWeight) && self.stepWeight > 0) || (has(self.stepWeights) && size(self.stepWeights) > 0)")
    .message("spec.analysis: there is no step; set stepWeight (with maxWeight) or stepWeights"))]
#[x_kube(validation = Rule::new("!has(self.stepWeights) || self.stepWeights.all(w, w >= 1 && w <= 100)")
    .message("spec.analysis.stepWeights: every weight must lie in 1 to 100"))]
#[x_kube(validation = Rule::new("!has(self.stepWeights) || (self.stepWeights.isSorted() && self.stepWeights.all(w, self.stepWeights.exists_one(v, v == w)))")
    .message("spec.analysis.stepWeights: must rise from step to step"))]
pub struct Analysis {
    /// Length of a step and time between two checks, such as `30s` or `1m`; at least `1s`. Default `1m`.
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub interval: Option<String>,
    /// Failed checks, counted over the whole rollout, at which it is rolled back. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub threshold: Option<i32>,
    /// Weight in percent that is never exceeded, and after which the revision is promoted. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    #[x_kube(validation = Rule::new("self >= 1").message("spec.analysis.maxWeight: must lie in 1 to 100"))]
    pub max_weight: Option<i32>,
    /// Percent by which the weight rises with every step; wins over `stepWeights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    pub step_weight: Option<i32>,
    /// The weights of the steps in percent, rising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub step_weights: Option<Vec<i32>>,
    /// Percent by which traffic returns to the primary with every interval of a promotion. Default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::percent")]
    pub step_weight_promotion: Option<i32>,
    /// How long metrics may be missing before the traffic retreats to the primary, such as `5m` (the default).
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub max_blind: Option<String>,
    /// Whether requests must be known to arrive before pods are scaled away: `measured` (the default), or `assumed` for a
    /// service that no metric tells of, such as plain TCP without a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<ReachPolicy>,
    /// Whose proxies count the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reporter: Option<MetricReporter>,
    /// The checks of every step.
    #[serde(default, deserialize_with = "absent::or_default")]
    #[schemars(length(max = 32))]
    pub metrics: Vec<Metric>,
    /// What a release waits for beside its checks.
    #[serde(
        default,
        deserialize_with = "absent::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub gates: Vec<Gate>,
}

/// A check: a metric and the range its value must lie in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name in ['request-success-rate', 'request-duration']")
    .message("spec.analysis.metrics[].name: unknown metric without a query; built in are request-success-rate and request-duration"))]
#[x_kube(validation = Rule::new("has(self.thresholdRange) && (has(self.thresholdRange.min) || has(self.thresholdRange.max))")
    .message("spec.analysis.metrics[].thresholdRange: set min, max or both"))]
#[x_kube(validation = Rule::new("!has(self.disconnects) || self.name == 'request-success-rate'")
    .message("spec.analysis.metrics[].disconnects: only request-success-rate has good and bad requests; remove it"))]
pub struct Metric {
    /// `request-success-rate` (percent of requests without a 5xx or a gRPC status 2, 4, 12, 13, 14 or 15) or
    /// `request-duration` (p99 in milliseconds).
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Time over which the value is taken, such as `1m` (the default).
    #[serde(
        default,
        deserialize_with = "absent::text",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::duration")]
    pub interval: Option<String>,
    /// The accepted range, both ends included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_range: Option<ThresholdRange>,
    /// What requests are whose caller went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnects: Option<MetricDisconnects>,
}

/// Whose proxies count the requests: the called pods' (`destination`, the default), or the callers' (`source`), which
/// see requests that never arrive as well.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MetricReporter {
    /// The callers'.
    Source,
    /// The called pods'.
    Destination,
}

/// What requests are whose caller went away before there was an answer (response code 0): neither good nor bad
/// (`ignored`, the default), or `bad`. Over half of the canary's requests they are a failed check in any case, unless
/// the primary's callers do the same.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MetricDisconnects {
    /// Neither good nor bad.
    Ignored,
    /// Bad.
    Bad,
}

/// An accepted range, both ends included.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("spec.analysis.metrics[].thresholdRange: min must not exceed max"))]
pub struct ThresholdRange {
    /// Least accepted value, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest accepted value, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// How it is known that requests arrive where they are routed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum ReachPolicy {
    /// Metrics count them.
    Measured,
    /// Nothing counts them; ready pods are taken to be reached.
    Assumed,
}
