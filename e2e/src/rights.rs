//! What the chart lets the controller do, against what it did while the stories were played, by the audit log.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::chart::{NAMESPACE, RELEASE};

/// Group, resource and verb.
type Right = (String, String, String);

/// Rights that no story uses, each with the reason for which the chart gives it all the same.
const UNUSED_HERE: [(&str, &str, &str, &str); 3] = [
    ("bellwether.dev", "promotions", "attest", ATTEST),
    ("bellwether.dev", "commands", "attest", ATTEST),
    ("bellwether.dev", "approvals", "attest", ATTEST),
];
const ATTEST: &str = "the admission policies ask for it, and no request does";

/// What was granted and used.
#[derive(Debug)]
pub struct Rights {
    /// How many were granted.
    pub granted: usize,
    /// How many of these were used.
    pub used: usize,
    /// Those that nobody needs.
    pub unneeded: BTreeSet<Right>,
    /// What was refused for want of a right.
    pub refused: BTreeSet<Right>,
}

/// Compares the roles of the chart with the audit log.
pub async fn compare(cluster: &Cluster) -> Result<Rights> {
    let mut granted = BTreeSet::new();
    let election = format!("{RELEASE}-leader-election");
    let of_cluster = ["get", "clusterrole", RELEASE, "--output", "json"];
    let of_namespace = [
        "--namespace",
        NAMESPACE,
        "get",
        "role",
        &election,
        "--output",
        "json",
    ];
    for role in [&of_cluster[..], &of_namespace[..]] {
        let role: Value = serde_json::from_str(&cluster.kubectl(role).await?)?;
        add_rules(&role, &mut granted).context("a rule of a role has a list that is none")?;
    }
    let (mut used, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for entry in cluster.audit.entries().await? {
        let Some(right) = right(&entry) else { continue };
        let decision = entry.pointer("/annotations/authorization.k8s.io~1decision");
        if decision.and_then(Value::as_str) == Some("forbid") {
            refused.insert(right);
        } else {
            used.insert(right);
        }
    }
    let explained = |right: &Right| {
        UNUSED_HERE.iter().any(|(group, resource, verb, _)| {
            (right.0.as_str(), right.1.as_str(), right.2.as_str()) == (*group, *resource, *verb)
        })
    };
    let unneeded = granted.difference(&used).filter(|right| !explained(right));
    Ok(Rights {
        unneeded: unneeded.cloned().collect(),
        used: granted.intersection(&used).count(),
        granted: granted.len(),
        refused,
    })
}

fn add_rules(role: &Value, granted: &mut BTreeSet<Right>) -> Option<()> {
    let list = |rule: &Value, field: &str| -> Option<Vec<String>> {
        let list = rule[field].as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    for rule in role["rules"].as_array()? {
        for group in list(rule, "apiGroups")? {
            for resource in list(rule, "resources")? {
                for verb in list(rule, "verbs")? {
                    granted.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    Some(())
}

/// The right that a request needed. That to speak for others is asked for by a policy and by no request.
fn right(entry: &Value) -> Option<Right> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let resource = text("/objectRef/resource")?;
    let resource = match text("/objectRef/subresource") {
        Some(sub) => format!("{resource}/{sub}"),
        None => resource.to_owned(),
    };
    let group = text("/objectRef/apiGroup").unwrap_or_default();
    Some((group.to_owned(), resource, text("/verb")?.to_owned()))
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rights of the chart: {} granted, {} used",
            self.granted, self.used
        )?;
        let lines = |f: &mut fmt::Formatter<'_>, what: &str, rights: &BTreeSet<Right>| {
            for (group, resource, verb) in rights {
                writeln!(f, "  {what}: {verb} {resource} of {group:?}")?;
            }
            Ok(())
        };
        lines(f, "not used", &self.unneeded)?;
        lines(f, "refused", &self.refused)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rule_is_every_combination_and_a_request_has_its_subresource() {
        let mut granted = BTreeSet::new();
        let role = json!({"rules": [{"apiGroups": ["a"], "resources": ["x", "x/status"], "verbs": ["get", "list"]}]});
        add_rules(&role, &mut granted).unwrap();
        assert_eq!(granted.len(), 4);
        let entry =
            json!({"verb": "get", "objectRef": {"apiGroup": "a", "resource": "x", "subresource": "status"}});
        assert!(granted.contains(&right(&entry).unwrap()));
        let core = json!({"verb": "get", "objectRef": {"resource": "services"}});
        assert_eq!(
            right(&core).unwrap(),
            (String::new(), "services".to_owned(), "get".to_owned())
        );
    }
}
