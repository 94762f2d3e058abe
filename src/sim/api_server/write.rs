//! Writes: what each verb does to the store.

use std::{collections::BTreeMap, sync::Arc};

use crate::pointer::At;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    defaults,
    fields::{self, FieldSet},
    identity,
    refusal::Refusal,
    resources::{Generation, Kind},
    store::{Key, Store},
};

/// Who owns which fields of an object.
pub(super) type Owners = BTreeMap<String, FieldSet>;

/// The store together with what writes need beside it.
#[derive(Default)]
pub struct Writer {
    /// The objects.
    pub store: Store,
    pub(super) owners: BTreeMap<Key, Owners>,
    counter: u32,
}

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// Whose credentials: `bellwether`, `user`, `kubernetes`.
    pub actor: &'static str,
    /// The field manager.
    pub manager: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A patch.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Server-side apply, by force or not.
    Apply(Value, bool),
}

impl Patch {
    /// Whether it changes the spec.
    #[must_use]
    pub fn is_of_spec(&self) -> bool {
        match self {
            Patch::Json(ops) => ops.iter().any(|op| op.path().as_str().starts_with("/spec")),
            Patch::Merge(change) | Patch::Apply(change, _) => change.get("spec").is_some(),
        }
    }
}

/// Conditions of a deletion.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// The UID that the object must have.
    pub uid: Option<String>,
    /// The version that it must have.
    pub resource_version: Option<String>,
    /// What happens to what it owns.
    pub propagation: Propagation,
}

/// What happens to the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay, without owner.
    Orphan,
}

impl Propagation {
    /// The finalizer by which the collector gets to do its part first.
    fn finalizer(self) -> Option<&'static str> {
        match self {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND),
            Propagation::Orphan => Some(ORPHAN),
        }
    }
}

/// Holds an object until what it owns is gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until what it owns is owned no longer.
pub const ORPHAN: &str = "orphan";

/// How an object is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Through the status endpoint.
    status: bool,
    /// Whether changed fields become those of the writer.
    takes: bool,
}

impl How {
    fn update(status: bool) -> How {
        How { status, takes: true }
    }

    pub(super) fn apply(status: bool) -> How {
        How { status, takes: false }
    }
}

pub(super) type Written = Result<Arc<Value>, Refusal>;

/// The name under which fields belong to whoever updates: apart from what the same manager applies.
fn updater(manager: &str) -> String {
    format!("{manager} (update)")
}

/// A text in an object; empty if it is missing.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.at(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Writer {
    /// Creates an object.
    ///
    /// # Errors
    /// If it exists or is invalid.
    pub fn create(&mut self, by: By<'_>, kind: Kind, namespace: &str, mut object: Value) -> Written {
        if text(&object, "/metadata/name").is_empty() {
            let prefix = text(&object, "/metadata/generateName").to_owned();
            if prefix.is_empty() {
                let problem = "metadata.name: Required value: name or generateName is required";
                return Err(Refusal::invalid(kind, "", &[problem.to_owned()]));
            }
            self.counter += 1;
            object["metadata"]["name"] = format!("{prefix}{:05x}", self.counter).into();
        }
        let key = Key::new(kind, namespace, text(&object, "/metadata/name"));
        if self.store.get(&key).is_some() {
            return Err(Refusal::exists(kind, &key.name));
        }
        let set = FieldSet::of(kind, &object);
        self.bear(kind, &key, &mut object, by)?;
        self.owners
            .insert(key.clone(), Owners::from([(updater(by.manager), set)]));
        // Of the real list the first entry: whose the object is from its beginning.
        object["metadata"]["managedFields"] = json!([
            {"manager": by.manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}},
        ]);
        Ok(self.store.put(key, object, by.actor))
    }

    /// What was created by an update counts as applied by the same manager from now on, if the entry in `new` says so.
    fn upgrade(&mut self, key: &Key, live: &Value, new: &Value) {
        let operation = |object: &Value| text(object, "/metadata/managedFields/0/operation").to_owned();
        if operation(live) != "Update" || operation(new) != "Apply" {
            return;
        }
        let manager = text(live, "/metadata/managedFields/0/manager");
        if let Some(owners) = self.owners.get_mut(key)
            && let Some(set) = owners.remove(&updater(manager))
        {
            owners.entry(manager.to_owned()).or_default().add(&set);
        }
    }

    fn bear(&mut self, kind: Kind, key: &Key, object: &mut Value, by: By<'_>) -> Result<(), Refusal> {
        self.counter += 1;
        let resource = kind.resource();
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let metadata = &mut object["metadata"];
        metadata["namespace"] = key.namespace.clone().into();
        metadata["uid"] = format!("{:08x}-0000-4000-8000-000000000000", self.counter).into();
        metadata["creationTimestamp"] = by.now.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        if let Some(metadata) = metadata.as_object_mut() {
            for field in ["resourceVersion", "managedFields", "deletionTimestamp"] {
                metadata.remove(field);
            }
        }
        if resource.generation != Generation::None {
            object["metadata"]["generation"] = 1.into();
        }
        if resource.status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        let address = format!("10.96.{}.{}", self.counter / 250 % 250, self.counter % 250 + 1);
        defaults::fill(kind, object, &address)?;
        defaults::validate(kind, object, None)
    }

    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// If it is missing, was changed since, or is invalid.
    pub fn replace(&mut self, by: By<'_>, key: &Key, status: bool, new: Value) -> Written {
        let version = text(&new, "/metadata/resourceVersion").to_owned();
        let live = match self.live(key) {
            // The one kind here that an update may create.
            Err(_) if key.kind == Kind::LEASE && !version.is_empty() => {
                return Err(Refusal::conflict(key.kind, &key.name));
            }
            Err(_) if key.kind == Kind::LEASE => {
                return self.create(by, key.kind, &key.namespace, new);
            }
            live => live?,
        };
        if version.is_empty() && !key.kind.replaced_unconditionally() {
            let problem = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(Refusal::invalid(key.kind, &key.name, &[problem.to_owned()]));
        }
        if !version.is_empty() && version != text(&live, "/metadata/resourceVersion") {
            return Err(Refusal::conflict(key.kind, &key.name));
        }
        let uid = text(&new, "/metadata/uid");
        if !uid.is_empty() && uid != text(&live, "/metadata/uid") {
            return Err(Refusal::other_uid(key.kind, &key.name));
        }
        self.commit(by, key, &live, How::update(status), new)
    }

    /// Patches an object, or its status.
    ///
    /// # Errors
    /// If it is missing (but for an apply, which creates it), the patch does not fit, or the outcome is invalid.
    pub fn patch(&mut self, by: By<'_>, key: &Key, status: bool, patch: Patch) -> Written {
        match patch {
            Patch::Json(ops) => {
                let live = self.live(key)?;
                let mut new = Value::clone(&live);
                json_patch::patch(&mut new, &ops).map_err(|_| Refusal::patch_failed())?;
                self.check_version(key, &live, &new)?;
                self.commit(by, key, &live, How::update(status), new)
            }
            Patch::Merge(change) => {
                let live = self.live(key)?;
                let mut new = Value::clone(&live);
                json_patch::merge(&mut new, &change);
                self.check_version(key, &live, &new)?;
                self.commit(by, key, &live, How::update(status), new)
            }
            Patch::Apply(config, force) => self.apply(by, key, status, config, force),
        }
    }

    fn check_version(&self, key: &Key, live: &Value, new: &Value) -> Result<(), Refusal> {
        let same = text(live, "/metadata/resourceVersion") == text(new, "/metadata/resourceVersion");
        if same {
            Ok(())
        } else {
            Err(Refusal::conflict(key.kind, &key.name))
        }
    }

    /// Writes `new` in place of `live` as far as this endpoint may.
    pub(super) fn commit(
        &mut self,
        by: By<'_>,
        key: &Key,
        live: &Arc<Value>,
        how: How,
        mut new: Value,
    ) -> Written {
        let resource = key.kind.resource();
        if how.status {
            let wanted = new["status"].take();
            new = Value::clone(live);
            new["status"] = wanted;
        } else if resource.status {
            match live.get("status") {
                Some(present) => new["status"] = present.clone(),
                None => {
                    if let Some(fields) = new.as_object_mut() {
                        fields.remove("status");
                    }
                }
            }
        }
        identity::check(key, live, &new)?;
        identity::keep(live, &mut new);
        if !how.status || super::schema::known(key.kind) {
            defaults::fill(key.kind, &mut new, text(live, "/spec/clusterIP"))?;
            defaults::validate(key.kind, &new, Some(live))?;
        }
        identity::check_finalizers(key, live, &new)?;
        if new == **live {
            return Ok(live.clone());
        }
        let counts = match resource.generation {
            Generation::None => false,
            Generation::Spec => new["spec"] != live["spec"],
            Generation::AllButStatus => identity::differs_beyond_metadata(live, &new),
        };
        if counts {
            let generation = live["metadata"]["generation"].as_i64().unwrap_or(1);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        self.upgrade(key, live, &new);
        if how.takes && !how.status {
            self.take_over(&updater(by.manager), key, live, &new);
        }
        let dying = new["metadata"].get("deletionTimestamp").is_some();
        let held = new["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if dying && !held {
            self.owners.remove(key);
            let gone = self.store.remove(key, by.actor);
            return gone.ok_or_else(|| Refusal::not_found(key.kind, &key.name));
        }
        Ok(self.store.put(key.clone(), new, by.actor))
    }

    /// Fields that an update changed belong to whoever changed them.
    fn take_over(&mut self, manager: &str, key: &Key, live: &Value, new: &Value) {
        let changed = fields::changed(key.kind, live, new);
        let owners = self.owners.entry(key.clone()).or_default();
        for (other, set) in owners.iter_mut() {
            if other != manager {
                set.subtract(&changed);
            }
        }
        owners.entry(manager.to_owned()).or_default().add(&changed);
    }

    /// Deletes an object, or marks it deleted while finalizers hold it.
    ///
    /// # Errors
    /// If it is missing or not the one that was meant.
    pub fn delete(&mut self, by: By<'_>, key: &Key, deletion: &Deletion) -> Written {
        let live = self.live(key)?;
        let other = |wanted: &Option<String>, pointer: &str| {
            wanted
                .as_ref()
                .is_some_and(|wanted| wanted != text(&live, pointer))
        };
        if other(&deletion.uid, "/metadata/uid")
            || other(&deletion.resource_version, "/metadata/resourceVersion")
        {
            return Err(Refusal::conflict(key.kind, &key.name));
        }
        let mut dying = Value::clone(&live);
        let mut finalizers = live["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if let Some(finalizer) = deletion.propagation.finalizer()
            && !finalizers.iter().any(|known| known == finalizer)
        {
            finalizers.push(finalizer.into());
            dying["metadata"]["finalizers"] = finalizers.clone().into();
        }
        if finalizers.is_empty() {
            self.owners.remove(key);
            let gone = self.store.remove(key, by.actor);
            return gone.ok_or_else(|| Refusal::not_found(key.kind, &key.name));
        }
        if live["metadata"].get("deletionTimestamp").is_some() {
            return Ok(live);
        }
        dying["metadata"]["deletionTimestamp"] = by.now.to_rfc3339_opts(SecondsFormat::Secs, true).into();
        dying["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        if let Some(generation) = live["metadata"]["generation"].as_i64() {
            dying["metadata"]["generation"] = (generation + 1).into();
        }
        Ok(self.store.put(key.clone(), dying, by.actor))
    }

    /// Takes out every object of a kind, whatever holds it.
    pub fn remove_all(&mut self, by: By<'_>, kind: Kind) {
        let keys: Vec<Key> = self.store.list(kind, None).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.owners.remove(&key);
            self.store.remove(&key, by.actor);
        }
    }

    fn live(&self, key: &Key) -> Written {
        self.store
            .get(key)
            .cloned()
            .ok_or_else(|| Refusal::not_found(key.kind, &key.name))
    }
}
