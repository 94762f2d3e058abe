//! Server-side apply: fields belong to whoever applied them, until somebody takes them by force.

use std::collections::BTreeSet;

use crate::pointer::At;
use serde_json::Value;

use super::{
    fields::{self, FieldSet},
    refusal::Refusal,
    resources::Kind,
    store::Key,
    write::{By, How, Owners, Writer, Written, text},
};

impl Writer {
    /// Applies a configuration.
    pub(super) fn apply(
        &mut self,
        by: By<'_>,
        key: &Key,
        status: bool,
        config: Value,
        force: bool,
    ) -> Written {
        if let Some(twice) = twice(&config) {
            return Err(Refusal {
                code: 500,
                reason: "InternalError",
                message: format!(
                    "failed to create typed patch object ({}/{}; {}): {twice}",
                    key.namespace,
                    key.name,
                    key.kind.resource().api_version()
                ),
            });
        }
        let wanted = FieldSet::of(key.kind, &config);
        let Some(live) = self.store.get(key).cloned() else {
            if !text(&config, "/metadata/uid").is_empty() {
                return Err(Refusal::conflict(key.kind, &key.name));
            }
            // Even if a version is named: as the real server does it.
            let created = self.create(by, key.kind, &key.namespace, config)?;
            self.owners
                .insert(key.clone(), Owners::from([(by.manager.to_owned(), wanted)]));
            return Ok(created);
        };
        let version = text(&config, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(&live, "/metadata/resourceVersion") {
            return Err(Refusal::conflict(key.kind, &key.name));
        }
        let mut owners = self.owners.get(key).cloned().unwrap_or_default();
        let mut new = Value::clone(&live);
        fields::merge(key.kind, &mut new, &config);
        let changed = fields::changed(key.kind, &live, &new);
        let mut conflicts = Vec::new();
        for (manager, set) in &mut owners {
            let contested = changed.common(set);
            if manager != by.manager && !contested.is_empty() {
                conflicts.push((shown(manager, key.kind), contested.paths()));
                set.subtract(&contested);
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(Refusal::apply_conflict(&conflicts));
        }
        let mut gone = owners.remove(by.manager).unwrap_or_default();
        gone.subtract(&wanted);
        for set in owners.values() {
            gone.subtract(set);
        }
        fields::remove(key.kind, &mut new, &gone);
        owners.insert(by.manager.to_owned(), wanted);
        let how = How::apply(status);
        let written = self.commit(by, key, &live, how, new)?;
        self.owners.insert(key.clone(), owners);
        Ok(written)
    }
}

/// A manager as messages name it.
fn shown(manager: &str, kind: Kind) -> String {
    match manager.strip_suffix(" (update)") {
        Some(name) => format!("\"{name}\" using {}", kind.resource().api_version()),
        None => format!("\"{manager}\""),
    }
}

/// Items of a container's lists with the same keys: the real server takes them in a creation or an update, and not in an apply.
fn twice(config: &Value) -> Option<String> {
    let containers = config.at("/spec/template/spec/containers")?.as_array()?;
    for container in containers {
        for (list, keys) in [
            ("env", &["name"][..]),
            ("ports", &["containerPort", "protocol"][..]),
        ] {
            let mut seen = BTreeSet::new();
            for item in container[list].as_array().into_iter().flatten() {
                let key: Vec<String> = keys.iter().map(|key| format!("{key}={}", item[*key])).collect();
                let key = key.join(",");
                if !seen.insert(key.clone()) {
                    let name = &container["name"];
                    return Some(format!(
                        ".spec.template.spec.containers[name={name}].{list}: duplicate entries for key [{key}]"
                    ));
                }
            }
        }
    }
    None
}
