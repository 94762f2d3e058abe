//! Jenkins as a peer: a job is triggered once, followed to its end, and stopped if need be.
//!
//! [`Run`] is the memory and has every rule; [`Client`] asks what [`Run::next`] says and returns what [`Run::saw`]
//! takes. Of one [`Mark`] there is one build, whoever dies in between: whoever may have triggered looks before it
//! triggers again.

mod build;
mod client;
mod error;
mod job;
mod link;
mod order;
mod pace;
mod queue;
mod session;
mod site;
mod track;
mod trigger;

pub use build::{Build, BuildResult, Search};
pub use client::{Client, Timeouts};
pub use error::Error;
pub use job::{Job, Parameter};
pub use order::{JobPath, Mark, Order};
pub use pace::pause;
pub use queue::{Executable, Item, ItemId, ItemState};
pub use session::Login;
pub use track::{After, Answer, Ask, Halt, Known, Look, Run, Said, State};
pub use trigger::{Halted, Refusal, Triggered};
