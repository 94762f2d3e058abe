//! Labels and annotations by which tools track what they applied. A copy that carries one is taken for theirs: Argo CD
//! and `kubectl apply --prune` delete what is marked and not in Git.

/// Prefixes of marks that no copy may carry.
const PREFIXES: [&str; 12] = [
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "applyset.kubernetes.io/",
    "kapp.k14s.io/",
    "objectset.rio.cattle.io/",
    "fleet.cattle.io/",
    "config.k8s.io/",
    "configmanagement.gke.io/",
];

/// Marks of objects that pods carry for people as well: Argo CD tracks objects by it, Helm calls a release by it.
const OF_OBJECTS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];

/// Whether `key` tracks an object.
#[must_use]
pub fn of_objects(key: &str) -> bool {
    of_templates(key) || OF_OBJECTS.contains(&key)
}

/// Whether `key` tracks what it stands on, in a pod template too.
#[must_use]
pub fn of_templates(key: &str) -> bool {
    PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}
