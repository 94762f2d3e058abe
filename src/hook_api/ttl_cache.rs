//! What was true a moment ago, for so long and in so much room.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many are remembered at most.
const LIMIT: usize = 10_000;

/// Remembers what was true, for a while.
pub(super) struct TtlCache<K, V>(Mutex<HashMap<K, (V, Duration)>>);

impl<K: Hash + Eq, V: Clone> TtlCache<K, V> {
    pub(super) fn new() -> TtlCache<K, V> {
        TtlCache(Mutex::default())
    }

    pub(super) fn recall(&self, key: &K, now: Duration) -> Option<V> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cache.get(key).filter(|(_, until)| now < *until);
        known.map(|(what, _)| what.clone())
    }

    pub(super) fn keep(&self, key: K, what: V, now: Duration, good_for: Duration) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        insert(&mut cache, key, what, now, good_for);
    }

    /// The same, unless its owner has a fifth of the room already: nobody fills it with what only they ask for.
    pub(super) fn keep_share(
        &self,
        key: K,
        what: V,
        now: Duration,
        good_for: Duration,
        is_own: impl Fn(&K) -> bool,
    ) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Counting costs a look at everything, so only who fills a fifth of the room is counted.
        if cache.len() >= LIMIT / 5 && cache.keys().filter(|key| is_own(key)).count() >= LIMIT / 5 {
            return;
        }
        insert(&mut cache, key, what, now, good_for);
    }

    /// Whether nobody took `key` within the span `good_for` before; from now on somebody has.
    pub(super) fn take(&self, key: K, now: Duration, good_for: Duration) -> bool
    where
        V: Default,
    {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.get(&key).is_some_and(|(_, until)| now < *until) {
            return false;
        }
        insert(&mut cache, key, V::default(), now, good_for);
        true
    }
}

/// What is over goes when room is needed.
fn insert<K: Hash + Eq, V>(
    cache: &mut HashMap<K, (V, Duration)>,
    key: K,
    what: V,
    now: Duration,
    good_for: Duration,
) {
    if cache.len() >= LIMIT {
        cache.retain(|_, (_, until)| now < *until);
    }
    if cache.len() < LIMIT {
        cache.insert(key, (what, now + good_for));
    }
}
