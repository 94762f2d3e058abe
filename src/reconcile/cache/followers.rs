//! Who waits for the changes of one object.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::Key;

/// Objects that are followed, beyond which those that nobody follows any more are forgotten.
const FOLLOWED: usize = 1024;

/// The followers of every object.
#[derive(Default)]
pub(super) struct Followers(Mutex<HashMap<Key, watch::Sender<u64>>>);

impl Followers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn follow(&self, key: Key) -> watch::Receiver<u64> {
        let mut followed = self.lock();
        if followed.len() >= FOLLOWED {
            followed.retain(|_, sender| sender.receiver_count() > 0);
        }
        let sender = followed.entry(key).or_insert_with(|| watch::Sender::new(0));
        sender.subscribe()
    }

    pub(super) fn count(&self, key: &Key) -> usize {
        self.lock().get(key).map_or(0, watch::Sender::receiver_count)
    }

    /// The object has this version now, or is gone as of it.
    pub(super) fn tell(&self, key: &Key, version: u64) {
        let mut followed = self.lock();
        if let Some(sender) = followed.get(key) {
            sender.send_replace(version);
            if sender.receiver_count() == 0 {
                followed.remove(key);
            }
        }
    }
}
