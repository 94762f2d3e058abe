//! A fake Jenkins: a real HTTP server over a world that tests arrange. What it answers follows Jenkins' own sources, and
//! independent clients drive it (`e2e/jenkins/check_fake.py`), so that it is not only what we believe.

mod answer;
mod config;
mod page;
mod project;
mod server;
mod setup;
mod tree;
mod view;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use config::Parameter;
pub use setup::{Build, Job, Quirk, Script, Settings, User};
pub use world::{Place, World};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection breaks before Jenkins saw the request.
    LoseRequest,
    /// Jenkins does as it is told, and the connection breaks before it can say so.
    LoseAnswer,
    /// Jenkins does as it is told, and never says so.
    Hang,
    /// The connection breaks, and Jenkins sees the request so much later.
    Late(Duration),
    /// Something before Jenkins answers with this status and text.
    Answer(u16, String),
    /// Jenkins dies before it saw the request.
    DieBefore,
    /// Jenkins does as it is told and dies.
    DieAfter,
}

/// What a Jenkins that ends remembers of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// All.
    Kept,
    /// Nothing, and its numbers begin anew.
    Lost,
}

/// A fake Jenkins that runs.
pub struct FakeJenkins {
    shared: Arc<Shared>,
    address: String,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    world: Mutex<World>,
    /// Since when, if time is real.
    began: Option<Instant>,
    died: Notify,
}

impl Shared {
    /// The world at the present time.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(began) = self.began {
            world.play_to(began.elapsed());
        }
        world
    }
}

impl FakeJenkins {
    /// A Jenkins at `address` whose time is real.
    pub async fn start(address: &str, settings: Settings) -> Result<FakeJenkins> {
        FakeJenkins::begin(address, settings, Some(Instant::now())).await
    }

    /// A Jenkins at a free port of the loopback whose time stands still but for [`FakeJenkins::advance`].
    pub async fn start_still(settings: Settings) -> Result<FakeJenkins> {
        FakeJenkins::begin("127.0.0.1:0", settings, None).await
    }

    async fn begin(address: &str, settings: Settings, began: Option<Instant>) -> Result<FakeJenkins> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(settings, &address)),
            began,
            died: Notify::new(),
        });
        let serving = Some(tokio::spawn(server::serve(listener, Arc::clone(&shared))));
        Ok(FakeJenkins {
            shared,
            address,
            serving,
        })
    }

    /// Its URL, context path included.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.world().settings.context)
    }

    /// The world, to arrange it and to look at it. Not to be held across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        let mut world = self.world();
        let to = world.now + span;
        world.play_to(to);
    }

    /// Whether it died of a fault, or was stopped.
    pub fn is_down(&self) -> bool {
        self.serving.is_none() || self.world().dead
    }

    /// Ends it: connections are refused from now on.
    pub async fn stop(&mut self, queue: Queue) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            _ = serving.await;
        }
        self.world().shut_down(queue == Queue::Kept);
    }

    /// Starts it again at the same port; it is not ready at once.
    pub async fn start_again(&mut self) -> Result<()> {
        let listener = TcpListener::bind(&self.address).await?;
        self.world().boot();
        self.serving = Some(tokio::spawn(server::serve(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Runs until it dies.
    pub async fn run(self) {
        self.shared.died.notified().await;
    }
}

impl Drop for FakeJenkins {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}
