//! Connections: TLS with certificates that are read again when they change, and limits.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use tokio_util::sync::CancellationToken;

use super::{Hook, route};

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How long answers under way may take when the process ends; longer than any wait.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the API is served.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address.
    pub address: SocketAddr,
    /// Files of certificate chain and key, in PEM; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Serves until `stop`.
///
/// # Errors
/// If the address cannot be bound, the certificate cannot be used, or the server fails.
pub async fn serve(hook: Arc<Hook>, listen: Listen, stop: CancellationToken) -> io::Result<()> {
    let service = route::router(hook).into_make_service();
    let handle = axum_server::Handle::new();
    let ending = handle.clone();
    let stopping = stop.clone();
    tokio::spawn(async move {
        stopping.cancelled().await;
        ending.graceful_shutdown(Some(DRAIN));
    });
    let listening = handle.clone();
    tokio::spawn(async move {
        if let Some(address) = listening.listening().await {
            tracing::info!(%address, "hook API listens");
        }
    });
    match listen.tls {
        None => {
            axum_server::bind(listen.address)
                .handle(handle)
                .serve(service)
                .await
        }
        Some((certificate, key)) => {
            let config = RustlsConfig::from_pem_file(&certificate, &key).await?;
            tokio::spawn(stop.run_until_cancelled_owned(follow(config.clone(), certificate, key)));
            axum_server::bind_rustls(listen.address, config)
                .handle(handle)
                .serve(service)
                .await
        }
    }
}

/// Reads the certificate again whenever one of its files has changed. What cannot be used changes nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "files of a mounted Secret change without a sign that could be waited for"
)]
async fn follow(config: RustlsConfig, certificate: PathBuf, key: PathBuf) {
    let changed = |path: &PathBuf| {
        std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let mut known = (changed(&certificate), changed(&key));
    loop {
        tokio::time::sleep(LOOK).await;
        let now = (changed(&certificate), changed(&key));
        if now == known {
            continue;
        }
        match config.reload_from_pem_file(&certificate, &key).await {
            Ok(()) => {
                tracing::info!("the hook API has a new certificate");
                known = now;
            }
            Err(error) => {
                tracing::error!(%error, "the hook API keeps its certificate: the new one cannot be used");
            }
        }
    }
}
