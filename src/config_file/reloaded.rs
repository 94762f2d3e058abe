//! A file that is read again when it changes, so that no change of it needs a restart.
//!
//! Invariants: what cannot be read leaves what was known in force, and that is told; the file is looked at ten times a minute
//! at most, and only by who needs it.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::clock::Clock;

/// How often a file is looked at, at most.
const LOOK: Duration = Duration::from_secs(6);

type Read<T> = Box<dyn Fn(&Path) -> Result<T, String> + Send + Sync>;

struct Source<T> {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    read: Read<T>,
    /// What is in force without the file, if not what was known.
    gone: Option<fn() -> T>,
}

struct Known<T> {
    value: Arc<T>,
    changed: Option<(SystemTime, u64)>,
    looked: Duration,
}

/// What a file says, or something fixed.
pub struct Reloaded<T> {
    source: Option<Source<T>>,
    known: Mutex<Known<T>>,
}

impl<T> Reloaded<T> {
    /// Always this.
    pub fn fixed(value: T) -> Reloaded<T> {
        Reloaded {
            source: None,
            known: Mutex::new(Known {
                value: Arc::new(value),
                changed: None,
                looked: Duration::ZERO,
            }),
        }
    }

    /// What `read` makes of the file at `path`.
    ///
    /// # Errors
    /// If it cannot be used now.
    pub fn of_file<E: Display>(
        path: &Path,
        clock: Arc<dyn Clock>,
        read: impl Fn(&Path) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Reloaded<T>, E> {
        let changed = changed(path);
        let value = Arc::new(read(path)?);
        let looked = clock.monotonic();
        Ok(Reloaded {
            source: Some(Source {
                path: path.to_owned(),
                clock,
                read: Box::new(move |path| read(path).map_err(|error| error.to_string())),
                gone: None,
            }),
            known: Mutex::new(Known {
                value,
                changed,
                looked,
            }),
        })
    }

    /// The same; whoever takes the file away takes back what it said.
    #[must_use]
    pub fn revoked_without_file(mut self) -> Reloaded<T>
    where
        T: Default,
    {
        if let Some(source) = &mut self.source {
            source.gone = Some(T::default);
        }
        self
    }

    /// What it says now.
    pub fn get(&self) -> Arc<T> {
        let mut known = self.lock();
        if let Some(source) = &self.source {
            source.look(&mut known);
        }
        known.value.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Source<T> {
    fn look(&self, known: &mut Known<T>) {
        let now = self.clock.monotonic();
        if now < known.looked + LOOK {
            return;
        }
        known.looked = now;
        let change = changed(&self.path);
        if change == known.changed {
            return;
        }
        let path = self.path.display();
        if let (None, Some(gone)) = (change, self.gone) {
            tracing::error!(%path, "the file is gone, and with it what it allowed");
            known.value = Arc::new(gone());
            known.changed = change;
            return;
        }
        match (self.read)(&self.path) {
            // It is being written: what is read may lack its end, and with that a restriction.
            Ok(_) if changed(&self.path) != change => {}
            Ok(value) => {
                tracing::info!(%path, "the file is read again");
                known.value = Arc::new(value);
                known.changed = change;
            }
            Err(error) => {
                tracing::error!(%path, error, "the file changed and cannot be used; what it said before counts");
            }
        }
    }
}

/// When the file changed, and how long it is, for it may be written twice within one tick of the file system's clock; `None` if
/// there is none.
fn changed(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file;

    /// A clock that goes on by `LOOK` whenever it is looked at.
    #[derive(Default)]
    struct Hasty(Mutex<Duration>);

    impl Clock for Hasty {
        fn now(&self) -> chrono::DateTime<chrono::Utc> {
            chrono::DateTime::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            let mut now = self.0.lock().unwrap();
            *now += LOOK;
            *now
        }
    }

    fn write(path: &Path, text: &str, second: u64) {
        std::fs::write(path, text).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
            .unwrap();
    }

    #[test]
    fn changed_file_is_read_again_and_a_broken_one_is_not_in_force() {
        let path = std::env::temp_dir().join(format!("bellwether-reloaded-{}.yaml", std::process::id()));
        write(&path, "[a]", 1);
        let open = || {
            Reloaded::of_file(
                &path,
                Arc::new(Hasty::default()),
                config_file::read::<Vec<String>>,
            )
            .unwrap()
        };
        let (kept, revoked) = (open(), open().revoked_without_file());
        assert_eq!(*kept.get(), ["a"]);
        write(&path, "[a, b]", 2);
        assert_eq!((kept.get().len(), revoked.get().len()), (2, 2));
        write(&path, "[a, ", 3);
        assert_eq!((kept.get().len(), revoked.get().len()), (2, 2));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((kept.get().len(), revoked.get().len()), (2, 0));
        write(&path, "[c]", 4);
        assert_eq!((kept.get()[0].as_str(), revoked.get()[0].as_str()), ("c", "c"));
        std::fs::remove_file(&path).unwrap();
    }
}
