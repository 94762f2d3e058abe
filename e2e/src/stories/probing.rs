//! The probes of the API, on the real server.

use std::sync::Arc;

use anyhow::Result;

use crate::probes;
use crate::story::Stage;

/// Every probe says what it must: as the simulated server does.
pub async fn api_probes(stage: Arc<Stage>) -> Result<()> {
    probes::run_all(&stage).await
}
