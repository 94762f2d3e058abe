//! Which names the objects of a Canary have, and whether a cluster takes them.

use super::problems::Problems;
use crate::{
    api::{Canary, Service},
    rollout::Names,
};

/// Most characters of the Service's name, so that `<name>-primary` has at most 63.
const LONGEST_SERVICE: usize = 55;

/// The names; `None` if one cannot be used, which is noted in `problems`.
pub(super) fn names(canary: &Canary, namespace: String, problems: &mut Problems) -> Option<Names> {
    let target = &canary.spec.target_ref;
    let mut usable = true;
    let mut refuse = |field: &str, problem: String| {
        problems.note(field, problem);
        usable = false;
    };
    if target.kind != "Deployment" {
        refuse(
            "spec.targetRef.kind",
            format!("is {:?}; must be Deployment", target.kind),
        );
    }
    if target.name.is_empty() {
        refuse("spec.targetRef.name", "must not be empty".to_owned());
    } else if !is_subdomain(&target.name) {
        refuse(
            "spec.targetRef.name",
            format!(
                "is {:?}; must be the name of a Deployment: a-z, 0-9, - and .",
                target.name
            ),
        );
    }
    let given = canary.spec.service.name.clone().filter(|name| !name.is_empty());
    let apex = given.clone().unwrap_or_else(|| target.name.clone());
    if !apex.is_empty() && !is_service_name(&apex) {
        let right = "has at most 55 characters, begins with a letter and has only a-z, 0-9 and -";
        refuse(
            "spec.service.name",
            match given {
                Some(name) => format!("is {name:?}; must be the name of a Service, which {right}"),
                None => format!(
                    "is missing, and the workload's name {apex:?} cannot be that of a Service, which {right}; set \
                     spec.service.name"
                ),
            },
        );
    }
    usable.then(|| Names {
        namespace,
        target: target.name.clone(),
        primary: format!("{}-primary", target.name),
        primary_service: format!("{apex}-primary"),
        canary_service: format!("{apex}-canary"),
        apex,
    })
}

/// Whether a Service can have this name with `-primary` behind it: a DNS label that begins with a letter.
fn is_service_name(name: &str) -> bool {
    name.len() <= LONGEST_SERVICE && is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Whether a Deployment can have this name: DNS labels with points between them.
fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

fn is_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(fits) && !name.starts_with('-') && !name.ends_with('-')
}

/// The words by which the service says that its port is TCP or TLS, such as `appProtocol: tcp`; `None` if it is HTTP.
/// As with Istio `appProtocol` comes before the port's name.
#[must_use]
pub fn says_tcp(service: &Service) -> Option<String> {
    says(service, &["tcp", "tls"])
}

/// What is wrong with a service that says its port is TLS, and has no VirtualService but the one made for its Canary.
#[must_use]
pub fn unrouted_tls(name: &str, service: &Service, apex: &str) -> Option<String> {
    let words = says(service, &["tls"])?;
    Some(format!(
        "Canary {name}: spec.service has {words}, and the VirtualService made for a Canary cannot divide TLS, which is routed \
         by the host name in it (SNI); apply a VirtualService with tls routes to Service {apex}, or write the protocol that its \
         callers speak to their sidecar, such as appProtocol: tcp"
    ))
}

/// The words by which the service says that its port speaks one of `protocols`.
fn says(service: &Service, protocols: &[&str]) -> Option<String> {
    let one = |name: &str| protocols.iter().any(|p| name.eq_ignore_ascii_case(p));
    let written = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    if let Some(protocol) = written(&service.app_protocol) {
        return one(&protocol).then(|| format!("appProtocol: {protocol}"));
    }
    let port = written(&service.port_name)?;
    let prefix = port.split('-').next().unwrap_or_default();
    one(prefix).then(|| format!("portName: {port}"))
}
