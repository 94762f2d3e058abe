//! The kinds of objects that are watched and written, as untyped JSON.

use kube::{
    api::{Api, ApiResource, DynamicObject},
    core::GroupVersionKind,
};

use crate::{rollout::Child, traffic::istio::destination_rule::ROOT_NAMESPACE};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `bellwether.dev/v1beta1` Canary.
    Canary,
    /// `apps/v1` Deployment.
    Deployment,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice; known by the name of its Service.
    EndpointSlice,
    /// `networking.istio.io/v1` VirtualService.
    VirtualService,
    /// `networking.istio.io/v1` DestinationRule.
    DestinationRule,
    /// DestinationRules of Istio's root namespace, apart from the others: for whoever works in another namespace alone.
    MeshRule,
    /// `bellwether.dev/v1beta1` Promotion; known by the name of its Canary.
    Promotion,
    /// `bellwether.dev/v1beta1` Command; known by the name of its Canary.
    Command,
    /// `bellwether.dev/v1beta1` Approval; known by the name of its Canary.
    Approval,
    /// `bellwether.dev/v1beta1` Freeze; known by its namespace.
    Freeze,
    /// `bellwether.dev/v1beta1` ClusterFreeze, without a namespace; all are known together.
    ClusterFreeze,
}

impl Kind {
    /// Every kind but Canary: what Canaries are made of.
    const PARTS: [Kind; 11] = [
        Kind::Deployment,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::VirtualService,
        Kind::DestinationRule,
        Kind::MeshRule,
        Kind::Promotion,
        Kind::Command,
        Kind::Approval,
        Kind::Freeze,
        Kind::ClusterFreeze,
    ];

    /// Every kind but Canary that is watched by whoever works in this namespace alone, or in all of them.
    pub fn parts(namespace: Option<&str>) -> impl Iterator<Item = Kind> {
        let apart = namespace.is_some_and(|namespace| namespace != ROOT_NAMESPACE);
        Kind::PARTS
            .into_iter()
            .filter(move |kind| *kind != Kind::MeshRule || apart)
    }

    /// Whether it comes with Istio, and may thus be absent.
    #[must_use]
    pub fn istio(self) -> bool {
        matches!(
            self,
            Kind::VirtualService | Kind::DestinationRule | Kind::MeshRule
        )
    }

    /// Whether the controller does its work without it, if the cluster does not serve it.
    #[must_use]
    pub fn optional(self) -> bool {
        self.istio() || self.names_canary() || matches!(self, Kind::Freeze | Kind::ClusterFreeze)
    }

    /// Whether its objects name the Canary that they are for. All of them are kept, whether or not there is such a Canary:
    /// whoever waits for one is told, and none stays for ever.
    #[must_use]
    pub fn names_canary(self) -> bool {
        matches!(self, Kind::Promotion | Kind::Command | Kind::Approval)
    }

    /// Field by which objects of this kind are known, if it is not their own name.
    #[must_use]
    pub fn known_by(self) -> Option<&'static str> {
        match self {
            Kind::EndpointSlice => Some("/metadata/labels/kubernetes.io~1service-name"),
            Kind::Promotion | Kind::Command | Kind::Approval => Some("/spec/canaryRef/name"),
            Kind::Freeze | Kind::ClusterFreeze => Some("/metadata/namespace"),
            _ => None,
        }
    }

    /// The resource as the API server knows it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Kind::Canary => (crate::api::GROUP, "v1beta1", "Canary", "canaries"),
            Kind::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Kind::Service => ("", "v1", "Service", "services"),
            Kind::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Kind::VirtualService => ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
            Kind::DestinationRule | Kind::MeshRule => {
                ("networking.istio.io", "v1", "DestinationRule", "destinationrules")
            }
            Kind::Promotion => (crate::api::GROUP, "v1beta1", "Promotion", "promotions"),
            Kind::Command => (crate::api::GROUP, "v1beta1", "Command", "commands"),
            Kind::Approval => (crate::api::GROUP, "v1beta1", "Approval", "approvals"),
            Kind::Freeze => (crate::api::GROUP, "v1beta1", "Freeze", "freezes"),
            Kind::ClusterFreeze => (crate::api::GROUP, "v1beta1", "ClusterFreeze", "clusterfreezes"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Whether its objects belong to the cluster as a whole.
    #[must_use]
    pub fn of_cluster(self) -> bool {
        self == Kind::ClusterFreeze
    }

    /// A client for all objects of this kind that somebody looks at who works in this namespace alone, or in all of them.
    #[must_use]
    pub fn watched(self, client: &kube::Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            _ if self == Kind::MeshRule => self.api(client, ROOT_NAMESPACE),
            Some(namespace) => self.api(client, namespace),
            None => Api::all_with(client.clone(), &self.resource()),
        }
    }

    /// Whether its objects lie beyond this namespace: whoever works there alone need not have rights to them.
    #[must_use]
    pub fn beyond(self, namespace: Option<&str>) -> bool {
        namespace.is_some() && (self.of_cluster() || self == Kind::MeshRule)
    }

    /// A client for this kind in one namespace, if it has namespaces.
    #[must_use]
    pub fn api(self, client: &kube::Client, namespace: &str) -> Api<DynamicObject> {
        if self.of_cluster() {
            return Api::all_with(client.clone(), &self.resource());
        }
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}

impl From<Child> for Kind {
    fn from(child: Child) -> Kind {
        match child {
            Child::ApexService | Child::PrimaryService | Child::CanaryService => Kind::Service,
            Child::PrimaryRule | Child::CanaryRule => Kind::DestinationRule,
            Child::Routes => Kind::VirtualService,
            Child::PrimaryDeployment | Child::Target => Kind::Deployment,
        }
    }
}
