//! Server-side apply: fields belong to whoever applied them, until somebody takes them by force.

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
