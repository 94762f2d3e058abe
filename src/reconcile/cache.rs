//! What the API server last told us, of the objects that matter.
//!
//! Our own writes go in with the server's answer, so that the next decision sees them (the watch may be late); events
//! older than what is known are ignored. Invariant: an entry never goes back to an older resourceVersion.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

use super::{index::Part, kinds::Kind};
use crate::defect::{Defect, planted};
use crate::workload::{
    marks::{MANAGER, note_template_editor},
    text,
};

/// What is known of a kind as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not listed yet.
    Unknown,
    /// Listed and watched.
    Ready,
    /// The API server does not serve it.
    NotServed,
    /// It cannot be listed; why.
    Failing(String),
}

#[derive(Clone)]
struct Entry {
    /// The group under which it is looked up: its own name, or the name of its Service.
    part: Part,
    version: u64,
    /// Whether nobody was woken by it yet: the watch has not shown it.
    ahead: bool,
    object: Option<Arc<Value>>,
}

/// How an object comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// By a watch, a read, or a round's own write.
    Watched,
    /// By a write beside the rounds, ahead of the watch.
    Ahead,
    /// The same, and only if it is known to be there.
    Known,
}

struct Inner {
    entries: BTreeMap<(Kind, String, String), Entry>,
    groups: HashMap<Part, HashSet<String>>,
    primed: HashSet<Part>,
    availability: HashMap<Kind, Availability>,
    listing: HashMap<Kind, Listing>,
    /// Parts that are being read.
    reading: HashMap<Part, Reading>,
    /// Parts that are not as they are known: a write that was decided on them was refused.
    doubted: HashSet<Part>,
}

/// A read under way.
#[derive(Default)]
struct Reading {
    /// Names and versions that were known when it began.
    known: HashMap<String, u64>,
    /// What was removed meanwhile.
    removed: HashMap<String, u64>,
}

/// A list under way.
struct Listing {
    /// Namespaces and names that it has named so far.
    named: HashSet<(String, String)>,
    /// Parts somebody was concerned by when it began: what it does not name of them is missing.
    concerned: Vec<Part>,
}

/// The cache of every kind.
pub struct Cache {
    inner: Mutex<Inner>,
    followed: Mutex<HashMap<(Kind, String, String), watch::Sender<u64>>>,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            inner: Mutex::new(Inner {
                entries: BTreeMap::new(),
                groups: HashMap::new(),
                primed: HashSet::new(),
                availability: HashMap::new(),
                listing: HashMap::new(),
                reading: HashMap::new(),
                doubted: HashSet::new(),
            }),
            followed: Mutex::default(),
        }
    }
}

/// The part that `object` of `kind` belongs to.
#[must_use]
pub fn part_of(kind: Kind, object: &Value) -> Part {
    let name = text(object, kind.known_by().unwrap_or("/metadata/name"));
    Part {
        kind,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: name.to_owned(),
    }
}

fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

/// Objects that are followed, beyond which those that nobody follows any more are forgotten.
const FOLLOWED: usize = 1024;

/// Field of a cached object's metadata: which entry of `managedFields` says that we created it and have not applied it
/// since. Fields that the next apply leaves out would stay, for they belong to that entry as well.
pub const UNAPPLIED: &str = "unapplied";

fn created_entry(object: &Value) -> Option<usize> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let ours = |entry: &Value, operation: &str| {
        text(entry, "/manager") == MANAGER
            && text(entry, "/operation") == operation
            && entry.get("subresource").is_none()
            && entry.pointer("/fieldsV1/f:spec").is_some()
    };
    if entries.iter().any(|entry| ours(entry, "Apply")) {
        return None;
    }
    entries.iter().position(|entry| ours(entry, "Update"))
}

/// Drops what no decision needs.
fn slim(kind: Kind, mut object: Value) -> Value {
    // Items of a list come without their type; compared with what we would apply they must not look changed.
    let resource = kind.resource();
    object["apiVersion"] = resource.api_version.into();
    object["kind"] = resource.kind.into();
    let unapplied = created_entry(&object);
    if kind == Kind::Deployment {
        note_template_editor(&mut object);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(index) = unapplied.filter(|_| kind != Kind::Canary) {
            metadata.insert(UNAPPLIED.to_owned(), index.into());
        }
    }
    if let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    object
}

impl Inner {
    fn drop_entry(&mut self, key: &(Kind, String, String), part: &Part) {
        self.entries.remove(key);
        if let Some(names) = self.groups.get_mut(part) {
            names.remove(&key.2);
            if names.is_empty() {
                self.groups.remove(part);
            }
        }
    }
}

impl Cache {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an object as the server returned it. Returns whether it is news.
    pub fn put(&self, kind: Kind, object: Value) -> bool {
        self.take(kind, object, How::Watched)
    }

    /// Takes in an object that somebody outside of a round made. When the watch shows it, it is news all the same, so that
    /// whoever is concerned is woken.
    pub fn put_ahead(&self, kind: Kind, object: Value) {
        self.take(kind, object, How::Ahead);
    }

    /// Takes in the answer to a write to an object, unless the object is not known any more: it may be gone.
    pub fn put_known(&self, kind: Kind, object: Value) {
        self.take(kind, object, How::Known);
    }

    fn take(&self, kind: Kind, object: Value, how: How) -> bool {
        let part = part_of(kind, &object);
        let version = version(&object);
        let name = text(&object, "/metadata/name").to_owned();
        let mut inner = self.lock();
        let key = (kind, part.namespace.clone(), name.clone());
        let there = inner
            .entries
            .get(&key)
            .is_some_and(|entry| entry.object.is_some());
        if how == How::Known && !there {
            return false;
        }
        if let Some(listing) = inner.listing.get_mut(&kind) {
            listing.named.insert((part.namespace.clone(), name.clone()));
        }
        let ahead = how != How::Watched;
        if let Some(known) = inner.entries.get_mut(&key)
            && known.version >= version
            && !planted(Defect::TrustsAStaleCache)
        {
            let shown = known.ahead && known.version == version && !ahead;
            known.ahead &= !shown;
            return shown;
        }
        inner.groups.entry(part.clone()).or_default().insert(name);
        inner.entries.insert(
            key.clone(),
            Entry {
                part,
                version,
                ahead,
                object: Some(Arc::new(slim(kind, object))),
            },
        );
        drop(inner);
        self.tell_followers(&key, version);
        true
    }

    /// A receiver that is told whenever the object changes.
    #[must_use]
    pub fn follow(&self, kind: Kind, namespace: &str, name: &str) -> watch::Receiver<u64> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.len() >= FOLLOWED {
            followed.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = followed.entry(key).or_insert_with(|| watch::Sender::new(0));
        sender.subscribe()
    }

    /// How many follow an object.
    #[must_use]
    pub fn followers(&self, kind: Kind, namespace: &str, name: &str) -> usize {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.get(&key).map_or(0, watch::Sender::receiver_count)
    }

    fn tell_followers(&self, key: &(Kind, String, String), version: u64) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = followed.get(key) {
            sender.send_replace(version);
            if sender.receiver_count() == 0 {
                followed.remove(key);
            }
        }
    }

    /// Takes in that an object is gone. Returns whether it is news.
    pub fn remove(&self, kind: Kind, object: &Value) -> bool {
        let key = (
            kind,
            text(object, "/metadata/namespace").to_owned(),
            text(object, "/metadata/name").to_owned(),
        );
        let version = version(object);
        let mut inner = self.lock();
        if let Some(reading) = inner.reading.get_mut(&part_of(kind, object)) {
            reading.removed.insert(key.2.clone(), version);
        }
        match inner.entries.get_mut(&key) {
            Some(known) if known.object.is_some() && known.version <= version => {
                known.object = None;
                known.version = version;
                if kind.known_by().is_some() {
                    // They come and go under ever new names. The late answer to a write of ours may revive one, until the
                    // next write to it is refused and its group is read.
                    let part = known.part.clone();
                    inner.drop_entry(&key, &part);
                }
            }
            _ => return false,
        }
        drop(inner);
        self.tell_followers(&key, version);
        true
    }

    /// A list of `kind` begins; what it does not name is gone. Parts that nobody was `concerned` by at its beginning
    /// may have been passed over.
    pub fn begin_list(&self, kind: Kind, concerned: Vec<Part>) {
        let named = HashSet::new();
        self.lock().listing.insert(kind, Listing { named, concerned });
    }

    /// The list is complete. Returns the parts of objects that are gone.
    pub fn end_list(&self, kind: Kind) -> Vec<Part> {
        let mut inner = self.lock();
        let Some(Listing {
            named: listed,
            concerned,
        }) = inner.listing.remove(&kind)
        else {
            return Vec::new();
        };
        let mut gone = Vec::new();
        let mut told = Vec::new();
        for (key, entry) in &mut inner.entries {
            let (of, namespace, name) = key;
            let named = *of != kind || listed.contains(&(namespace.clone(), name.clone()));
            if !named && !planted(Defect::KeepsWhatIsGone) && entry.object.take().is_some() {
                gone.push(entry.part.clone());
                told.push((key.clone(), entry.version));
            }
        }
        inner.primed.extend(concerned);
        inner.availability.insert(kind, Availability::Ready);
        drop(inner);
        for (key, version) in told {
            self.tell_followers(&key, version);
        }
        gone
    }

    /// Notes that `kind` cannot be watched at present. Returns whether that is news.
    pub fn unavailable(&self, kind: Kind, why: Availability) -> bool {
        self.lock().availability.insert(kind, why.clone()) != Some(why)
    }

    /// What is known of `kind` as a whole.
    #[must_use]
    pub fn availability(&self, kind: Kind) -> Availability {
        self.lock()
            .availability
            .get(&kind)
            .cloned()
            .unwrap_or(Availability::Unknown)
    }

    /// Whether a missing object of `part` is known to be missing.
    #[must_use]
    pub fn primed(&self, part: &Part) -> bool {
        part.kind.names_canary() || self.lock().primed.contains(part)
    }

    /// An object of `part` came by its watch, which keeps it from now on.
    pub fn watched(&self, part: &Part) {
        self.lock().primed.insert(part.clone());
    }

    /// `part` is about to be read: what is removed of it meanwhile must not come back with the answer.
    pub fn begin_read(&self, part: &Part) {
        let mut inner = self.lock();
        let names = inner.groups.get(part).cloned().unwrap_or_default();
        let known = names.into_iter().filter_map(|name| {
            let key = (part.kind, part.namespace.clone(), name);
            let version = inner.entries.get(&key)?.version;
            Some((key.2, version))
        });
        let known = known.collect();
        let removed = HashMap::new();
        inner.reading.insert(part.clone(), Reading { known, removed });
    }

    /// A write that was decided on `part` as it is known was refused: it is read once before the next decision, because
    /// its watch may be long in coming.
    pub fn doubt(&self, part: Part) {
        self.lock().doubted.insert(part);
    }

    /// Whether `part` must be read before the next decision.
    #[must_use]
    pub fn doubted(&self, part: &Part) -> bool {
        self.lock().doubted.contains(part)
    }

    /// `part` was read once, or could not be (`None`); from now on the watch keeps it.
    pub fn end_read(&self, part: &Part, found: Option<Vec<Value>>) {
        let reading = self.lock().reading.remove(part).unwrap_or_default();
        let Some(found) = found else { return };
        // A group is read with its whole namespace; of what is others' nothing is known to be still there.
        let found: Vec<Value> = found
            .into_iter()
            .filter(|object| part_of(part.kind, object) == *part)
            .collect();
        let there: HashSet<&str> = found
            .iter()
            .map(|object| text(object, "/metadata/name"))
            .collect();
        let gone = reading.known.into_iter();
        for (name, version) in gone.filter(|(name, _)| !there.contains(name.as_str())) {
            self.forget_read(part, &name, version);
        }
        for object in found {
            let gone = reading.removed.get(text(&object, "/metadata/name"));
            if gone.is_none_or(|gone| *gone < version(&object)) {
                self.put(part.kind, object);
            }
        }
        let mut inner = self.lock();
        inner.doubted.remove(part);
        if !part.kind.names_canary() {
            inner.primed.insert(part.clone());
        }
    }

    /// An object of `part` was not among what was read: what was known of it before the read is gone.
    fn forget_read(&self, part: &Part, name: &str, known: u64) {
        let mut inner = self.lock();
        let key = (part.kind, part.namespace.clone(), name.to_owned());
        let Some(entry) = inner.entries.get_mut(&key).filter(|entry| entry.version == known) else {
            return;
        };
        entry.object = None;
        if part.kind.known_by().is_some() {
            inner.drop_entry(&key, part);
        }
        drop(inner);
        self.tell_followers(&key, known);
    }

    /// The object of `part`.
    #[must_use]
    pub fn get(&self, part: &Part) -> Option<Arc<Value>> {
        let inner = self.lock();
        inner
            .entries
            .get(&(part.kind, part.namespace.clone(), part.name.clone()))?
            .object
            .clone()
    }

    /// Every object of `part`: the EndpointSlices of a Service, the Promotions of a Canary.
    #[must_use]
    pub fn group(&self, part: &Part) -> Vec<Arc<Value>> {
        let inner = self.lock();
        let Some(names) = inner.groups.get(part) else {
            return Vec::new();
        };
        let mut names: Vec<_> = names.iter().collect();
        names.sort();
        names
            .into_iter()
            .filter_map(|name| {
                inner
                    .entries
                    .get(&(part.kind, part.namespace.clone(), name.clone()))?
                    .object
                    .clone()
            })
            .collect()
    }

    /// Every object of `kind`, by namespace and name.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        let inner = self.lock();
        inner
            .entries
            .iter()
            .filter(|((of, _, _), _)| *of == kind)
            .filter_map(|(_, entry)| entry.object.clone())
            .collect()
    }

    /// Forgets that `part` is gone, unless it is there again.
    pub fn forget_gone(&self, part: &Part) {
        let mut inner = self.lock();
        let key = (part.kind, part.namespace.clone(), part.name.clone());
        if inner
            .entries
            .get(&key)
            .is_some_and(|entry| entry.object.is_none())
        {
            inner.drop_entry(&key, part);
        }
    }

    /// Forgets `part` altogether: nobody is concerned by it any more.
    pub fn forget(&self, part: &Part) {
        let mut inner = self.lock();
        inner.primed.remove(part);
        inner.doubted.remove(part);
        // A list that has passed it over does not tell that it is missing.
        if let Some(listing) = inner.listing.get_mut(&part.kind) {
            listing.concerned.retain(|concerned| concerned != part);
        }
        let names = inner.groups.remove(part).unwrap_or_default();
        let keys = names
            .into_iter()
            .map(|name| (part.kind, part.namespace.clone(), name));
        let gone: Vec<_> = keys
            .filter_map(|key| Some((inner.entries.remove(&key)?.version, key)))
            .collect();
        drop(inner);
        for (version, key) in gone {
            self.tell_followers(&key, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_put_ahead_of_the_watch_is_news_once_when_the_watch_shows_it() {
        let cache = Cache::default();
        let object = |version: &str| {
            json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": version},
                "spec": {"canaryRef": {"name": "web"}}})
        };
        cache.put_ahead(Kind::Approval, object("7"));
        assert!(
            !cache.put(Kind::Approval, object("6")),
            "older than what is known"
        );
        assert!(cache.put(Kind::Approval, object("7")));
        assert!(!cache.put(Kind::Approval, object("7")));
        cache.put_ahead(Kind::Approval, object("7"));
        assert!(!cache.put(Kind::Approval, object("7")), "the watch was faster");
    }

    #[test]
    fn late_answer_that_revives_what_is_gone_lasts_until_its_group_is_read() {
        let cache = Cache::default();
        let object = |name: &str, version: &str| {
            json!({"metadata": {"name": name, "namespace": "n", "resourceVersion": version},
                "spec": {"canaryRef": {"name": "web"}}})
        };
        let part = part_of(Kind::Promotion, &object("a", "7"));
        cache.put(Kind::Promotion, object("a", "7"));
        assert!(cache.remove(Kind::Promotion, &object("a", "9")));
        cache.put_ahead(Kind::Promotion, object("a", "8"));
        assert_eq!(cache.group(&part).len(), 1, "nothing tells that it is gone");
        cache.begin_read(&part);
        cache.put(Kind::Promotion, object("b", "11"));
        let mut other = object("d", "10");
        other["spec"]["canaryRef"]["name"] = json!("api");
        cache.end_read(&part, Some(vec![object("c", "10"), other.clone()]));
        assert!(
            cache.group(&part_of(Kind::Promotion, &other)).is_empty(),
            "of others nothing is known"
        );
        cache.put_known(Kind::Promotion, object("a", "12"));
        let mut names: Vec<_> = cache
            .group(&part)
            .iter()
            .map(|object| text(object, "/metadata/name").to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["b", "c"], "what came during the read stays");
    }

    #[test]
    fn whoever_follows_an_object_is_told_however_it_goes() {
        let object = json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"},
            "spec": {"canaryRef": {"name": "web"}}});
        let part = part_of(Kind::Promotion, &object);
        type Way<'a> = (&'a str, &'a dyn Fn(&Cache));
        let ways: [Way<'_>; 3] = [
            ("remove", &|cache| assert!(cache.remove(Kind::Promotion, &object))),
            ("list", &|cache| {
                cache.begin_list(Kind::Promotion, Vec::new());
                assert_eq!(cache.end_list(Kind::Promotion), std::slice::from_ref(&part));
            }),
            ("forget", &|cache| cache.forget(&part)),
        ];
        for (way, go) in ways {
            let cache = Cache::default();
            cache.put(Kind::Promotion, object.clone());
            let follower = cache.follow(Kind::Promotion, "n", "a");
            go(&cache);
            assert!(follower.has_changed().unwrap(), "{way}");
            assert!(cache.group(&part).is_empty(), "{way}");
        }
        // An answer that nothing is there, to whoever asked for one object.
        let cache = Cache::default();
        let object = json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "7"}});
        cache.put(Kind::Canary, object.clone());
        let follower = cache.follow(Kind::Canary, "n", "a");
        let part = part_of(Kind::Canary, &object);
        cache.begin_read(&part);
        cache.end_read(&part, Some(Vec::new()));
        assert!(follower.has_changed().unwrap());
    }
}
