//! The kinds of objects that the simulated API server knows.

/// What makes `metadata.generation` rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// A change of `spec`.
    Spec,
    /// A change of anything but metadata and status: custom resources.
    AllButStatus,
}

/// A kind of object.
#[derive(Debug)]
pub struct Resource {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Name in paths.
    pub plural: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Whether the status is written apart from the rest.
    pub status: bool,
    /// What makes the generation rise.
    pub generation: Generation,
    /// Whether a CustomResourceDefinition brings it.
    pub custom: bool,
}

impl Kind {
    /// Whether an object may be replaced without saying which version of it.
    #[must_use]
    pub fn replaced_unconditionally(self) -> bool {
        !self.resource().custom && self != Kind::LEASE
    }
}

impl Resource {
    /// `group/version`, or `version` in the core.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group` as the server names it in messages.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// A kind, by its position in the table of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(usize);

impl Kind {
    /// `apps/v1` Deployment.
    pub const DEPLOYMENT: Kind = Kind(0);
    /// `apps/v1` ReplicaSet.
    pub const REPLICA_SET: Kind = Kind(1);
    /// `v1` Service.
    pub const SERVICE: Kind = Kind(2);
    /// `discovery.k8s.io/v1` EndpointSlice.
    pub const ENDPOINT_SLICE: Kind = Kind(3);
    /// `events.k8s.io/v1` Event.
    pub const EVENT: Kind = Kind(4);
    /// `coordination.k8s.io/v1` Lease.
    pub const LEASE: Kind = Kind(5);
    /// `bellwether.dev/v1beta1` Canary.
    pub const CANARY: Kind = Kind(6);
    /// `networking.istio.io/v1` VirtualService.
    pub const VIRTUAL_SERVICE: Kind = Kind(7);
    /// `networking.istio.io/v1` DestinationRule.
    pub const DESTINATION_RULE: Kind = Kind(8);
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    pub const AUTOSCALER: Kind = Kind(9);

    /// `bellwether.dev/v1beta1` Promotion.
    pub const PROMOTION: Kind = Kind(10);
    /// `bellwether.dev/v1beta1` Command.
    pub const COMMAND: Kind = Kind(11);
    /// `bellwether.dev/v1beta1` Approval.
    pub const APPROVAL: Kind = Kind(12);
    /// `bellwether.dev/v1beta1` Freeze.
    pub const FREEZE: Kind = Kind(13);
    /// `bellwether.dev/v1beta1` ClusterFreeze; its namespace is empty.
    pub const CLUSTER_FREEZE: Kind = Kind(14);

    /// `networking.k8s.io/v1` NetworkPolicy.
    pub const NETWORK_POLICY: Kind = Kind(15);
    /// `security.istio.io/v1` AuthorizationPolicy.
    pub const AUTHORIZATION_POLICY: Kind = Kind(16);

    /// `bellwether.dev/v1beta1` PromotionLedger.
    pub const PROMOTION_LEDGER: Kind = Kind(17);

    /// Kinds that nobody obeys here, and that are not served unless somebody wants them.
    pub const POLICIES: [Kind; 2] = [Kind::NETWORK_POLICY, Kind::AUTHORIZATION_POLICY];

    /// What is known of the kind.
    #[must_use]
    pub fn resource(self) -> &'static Resource {
        &RESOURCES[self.0]
    }

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Kind> {
        (0..RESOURCES.len()).map(Kind)
    }

    /// The kind at this place of the API.
    #[must_use]
    pub fn at(group: &str, version: &str, plural: &str) -> Option<Kind> {
        Kind::all().find(|kind| {
            let r = kind.resource();
            r.group == group && r.version == version && r.plural == plural
        })
    }

    /// The kind of an object by its `apiVersion` and `kind`.
    #[must_use]
    pub fn named(api_version: &str, name: &str) -> Option<Kind> {
        Kind::all().find(|kind| kind.resource().kind == name && kind.resource().api_version() == api_version)
    }
}

const fn resource(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    generation: Generation,
) -> Resource {
    Resource {
        group,
        version,
        plural,
        kind,
        status: !matches!(generation, Generation::None),
        generation,
        custom: matches!(generation, Generation::AllButStatus),
    }
}

/// A kind of ours without a status.
const fn statusless(plural: &'static str, kind: &'static str) -> Resource {
    Resource {
        status: false,
        ..resource(
            "bellwether.dev",
            "v1beta1",
            plural,
            kind,
            Generation::AllButStatus,
        )
    }
}

static RESOURCES: [Resource; 18] = [
    resource("apps", "v1", "deployments", "Deployment", Generation::Spec),
    resource("apps", "v1", "replicasets", "ReplicaSet", Generation::Spec),
    resource("", "v1", "services", "Service", Generation::None),
    resource(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        Generation::None,
    ),
    resource("events.k8s.io", "v1", "events", "Event", Generation::None),
    resource("coordination.k8s.io", "v1", "leases", "Lease", Generation::None),
    resource(
        "bellwether.dev",
        "v1beta1",
        "canaries",
        "Canary",
        Generation::AllButStatus,
    ),
    resource(
        "networking.istio.io",
        "v1",
        "virtualservices",
        "VirtualService",
        Generation::AllButStatus,
    ),
    resource(
        "networking.istio.io",
        "v1",
        "destinationrules",
        "DestinationRule",
        Generation::AllButStatus,
    ),
    Resource {
        group: "autoscaling",
        version: "v2",
        plural: "horizontalpodautoscalers",
        kind: "HorizontalPodAutoscaler",
        status: true,
        generation: Generation::None,
        custom: false,
    },
    resource(
        "bellwether.dev",
        "v1beta1",
        "promotions",
        "Promotion",
        Generation::AllButStatus,
    ),
    resource(
        "bellwether.dev",
        "v1beta1",
        "commands",
        "Command",
        Generation::AllButStatus,
    ),
    resource(
        "bellwether.dev",
        "v1beta1",
        "approvals",
        "Approval",
        Generation::AllButStatus,
    ),
    statusless("freezes", "Freeze"),
    statusless("clusterfreezes", "ClusterFreeze"),
    Resource {
        status: false,
        ..resource(
            "networking.k8s.io",
            "v1",
            "networkpolicies",
            "NetworkPolicy",
            Generation::Spec,
        )
    },
    resource(
        "security.istio.io",
        "v1",
        "authorizationpolicies",
        "AuthorizationPolicy",
        Generation::AllButStatus,
    ),
    statusless("promotionledgers", "PromotionLedger"),
];
