//! A change that several wait for. They are woken in the order in which they began to wait: `tokio::sync::watch` wakes its
//! receivers by chance, and a play would not be the same twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    changes: AtomicU64,
    closed: AtomicBool,
    waiting: Notify,
}

/// Whoever changes something.
#[derive(Clone, Debug, Default)]
pub struct Sender(Arc<Owner>);

/// What the clones of a sender have in common; with it ends what is told.
#[derive(Debug, Default)]
struct Owner(Arc<Shared>);

/// Whoever waits for it.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    seen: u64,
}

/// Nothing changes any more: the sender is gone.
#[derive(Debug)]
pub struct Closed;

impl Sender {
    /// Something changed.
    pub fn tell(&self) {
        let shared = &self.0.0;
        shared.changes.fetch_add(1, Ordering::Relaxed);
        shared.waiting.notify_waiters();
    }

    /// Waits for what changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver {
        let mut receiver = Receiver {
            shared: self.0.0.clone(),
            seen: 0,
        };
        receiver.mark_unchanged();
        receiver
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.waiting.notify_waiters();
    }
}

impl Receiver {
    /// What changed until now is known.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.changes.load(Ordering::Relaxed);
    }

    /// Waits until something changed that is not known.
    ///
    /// # Errors
    /// If the sender is gone.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            let told = self.shared.waiting.notified();
            let changes = self.shared.changes.load(Ordering::Relaxed);
            if changes != self.seen {
                self.seen = changes;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::Relaxed) {
                return Err(Closed);
            }
            told.await;
        }
    }
}
