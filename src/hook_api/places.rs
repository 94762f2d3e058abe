//! Places of which there are few, and of which nobody takes more than a share: one tenant does not keep the others out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Places, each taken for a tenant: the namespace that a call names.
pub struct Places {
    all: usize,
    share: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// A place that is taken.
pub struct Place<'a> {
    places: &'a Places,
    tenant: String,
}

impl Places {
    /// So many, of which one tenant has a fifth at most.
    #[must_use]
    pub fn new(all: usize) -> Places {
        Places {
            all,
            share: all.div_ceil(5),
            taken: Mutex::default(),
        }
    }

    /// Takes a place for `tenant`, if there is one.
    pub fn take(&self, tenant: &str) -> Option<Place<'_>> {
        let mut taken = self.lock();
        let own = taken.get(tenant).copied().unwrap_or_default();
        if own >= self.share || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(tenant.to_owned(), own + 1);
        Some(Place {
            places: self,
            tenant: tenant.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_a_fifth_and_there_are_no_more_than_all() {
        let places = Places::new(10);
        let taken = |tenant: &str| std::iter::from_fn(|| places.take(tenant)).collect::<Vec<_>>();
        let first = taken("a");
        assert_eq!(first.len(), 2);
        let others: Vec<_> = ["b", "c", "d", "e", "f"]
            .map(taken)
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(others.len(), 8);
        assert!(places.take("f").is_none());
        drop(first);
        assert!(places.take("f").is_some(), "a place that was given back");
        drop(others);
        assert!(places.lock().is_empty());
    }
}
