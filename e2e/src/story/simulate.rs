//! Plays stories in the simulated cluster: on virtual time, in one thread, without a socket.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::FutureExt;
use tokio::time::{Instant, timeout};
use tracing_subscriber::fmt::MakeWriter;

use super::{Stage, Story, ensure_no_defect, words_of};

/// What a story was like in the simulated cluster.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Its time, of which little passed outside.
    pub took: Duration,
    /// What it measured.
    pub figures: Vec<String>,
}

/// Plays a story; one seed is one run.
///
/// # Errors
/// If anything that must be true was not; what helps to tell why is printed.
pub fn simulate(story: &Story, seed: u64) -> Result<Simulation> {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(play(story, seed, &log))
}

async fn play(story: &Story, seed: u64, log: &Log) -> Result<Simulation> {
    let started = Instant::now();
    let stage = Arc::new(Stage::simulated(story.name, seed, story.scrapes));
    let run = AssertUnwindSafe((story.play)(Arc::clone(&stage))).catch_unwind();
    let result = match timeout(story.timeout, run).await {
        Ok(Ok(result)) => result.and_then(|()| ensure_no_defect(&log.text())),
        Ok(Err(panic)) => Err(anyhow!("panicked: {}", words_of(panic.as_ref()))),
        Err(_) => Err(anyhow!("not finished within {:?}", story.timeout)),
    };
    if let Err(error) = result {
        stage.print_evidence().await;
        println!("--- log\n{}", log.text());
        return Err(error);
    }
    Ok(Simulation {
        took: started.elapsed(),
        figures: stage.figures(),
    })
}

/// What the controller says, kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}
