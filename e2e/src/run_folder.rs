//! The folder of one run: logs, kubeconfigs, the stores of etcd and Prometheus.
//!
//! A run holds a lock on its folder for as long as it lives, however it ends. The processes inside the namespace wait for
//! that lock to tell that their starter is gone; and the next run knows by it which folders nobody uses any more.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder of its own for this run, locked.
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder beside the build's output, and removes those of earlier runs.
    pub fn create() -> Result<Self> {
        let parent = build_output()?.join("e2e");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        remove_unused(&parent)?;
        let path = parent.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        let lock = File::create(lock_file(&path))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Blocks until the run that holds the folder has ended.
pub fn wait_for_end(folder: &Path) -> Result<()> {
    Ok(File::open(lock_file(folder))?.lock()?)
}

/// The folder cargo builds into: two above this program.
pub fn build_output() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let output = program
        .ancestors()
        .nth(2)
        .context("this program is not in a build folder")?;
    Ok(output.to_path_buf())
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn remove_unused(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let folder = entry?.path();
        let in_use = match File::open(lock_file(&folder)).map(|file| file.try_lock()) {
            // Locked; or no lock file yet: a run that is just being made, or a stray folder. All are left alone.
            Ok(Err(TryLockError::WouldBlock)) | Err(_) => true,
            Ok(_) => false,
        };
        if !in_use {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    Ok(())
}
