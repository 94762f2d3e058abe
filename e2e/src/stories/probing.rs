//! The probes of the API, on the real server.

use std::sync::Arc;

use anyhow::Result;

use crate::probes::{self, Ground};
use crate::story::Stage;

/// Every probe says what it must: as the simulated server does.
pub async fn api_probes(stage: Arc<Stage>) -> Result<()> {
    let ground = Ground {
        client: stage.client.clone(),
        namespace: stage.namespace.clone(),
    };
    let mut made = probes::make(&ground, probes::all()).await?;
    stage.restart_api_server().await?;
    made += probes::make(&ground, probes::after_restart()).await?;
    stage.note(format!("{made} probes"));
    Ok(())
}
