//! Serving: TLS with certificates that are read again when they change, limits, and an end that cuts nobody off.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Hook, WAITERS,
    connection::{Bounded, Refusals},
    route,
};

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How long answers under way may take when the process ends. Those who wait are answered at once.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes of a request line and headers that are always taken, which a token's few thousand never reach. The server reads
/// in steps, so that up to twice as many may be.
const HEAD_LIMIT: usize = 32 * 1024;

/// How much clients may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Bodies that are read at once.
    pub bodies: usize,
    /// Clients that wait at once.
    pub waiters: usize,
    /// Time for the TLS handshake, and from there or from the answer before to the end of a request's head.
    pub head: Duration,
    /// Time for a body.
    pub body: Duration,
    /// Time in which a client must take something of its answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 10_000,
            bodies: 1_000,
            waiters: WAITERS,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            stall: Duration::from_secs(10),
        }
    }
}

/// Where the API is served.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address.
    pub address: SocketAddr,
    /// Files of certificate chain and key, in PEM; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How often these files are looked at.
    pub look: Duration,
}

impl Listen {
    /// This address, with the files of certificate chain and key.
    #[must_use]
    pub fn new(address: SocketAddr, tls: Option<(PathBuf, PathBuf)>) -> Listen {
        Listen {
            address,
            tls,
            look: LOOK,
        }
    }

    /// Takes the address.
    ///
    /// # Errors
    /// If it cannot be bound, or the certificate cannot be used.
    pub async fn bind(self) -> io::Result<Bound> {
        let tls = match self.tls {
            None => None,
            Some((certificate, key)) => Some(Certificate {
                config: RustlsConfig::from_config(read(&certificate, &key)?),
                certificate,
                key,
                look: self.look,
            }),
        };
        let listener = TcpListener::bind(self.address).await?;
        Ok(Bound { listener, tls })
    }
}

/// Serves until `stop`.
///
/// # Errors
/// If the address cannot be bound, the certificate cannot be used, or the server fails.
pub async fn serve(hook: Arc<Hook>, listen: Listen, stop: CancellationToken) -> io::Result<()> {
    listen.bind().await?.serve(hook, stop).await
}

/// An address that is taken.
pub struct Bound {
    listener: TcpListener,
    tls: Option<Certificate>,
}

struct Certificate {
    config: RustlsConfig,
    certificate: PathBuf,
    key: PathBuf,
    look: Duration,
}

impl Bound {
    /// The address.
    ///
    /// # Errors
    /// If the system does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`. Then nobody new is let in, and who waits is answered.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn serve(self, hook: Arc<Hook>, stop: CancellationToken) -> io::Result<()> {
        tracing::info!(address = %self.address()?, tls = self.tls.is_some(), "hook API listens");
        let limits = hook.limits;
        let handle = axum_server::Handle::<SocketAddr>::new();
        let (ending, stopping, waiting) = (handle.clone(), stop.clone(), hook.clone());
        tokio::spawn(async move {
            stopping.cancelled().await;
            ending.graceful_shutdown(Some(DRAIN));
            waiting.stopping.cancel();
        });
        let bounded = Bounded::new(limits.connections, limits.stall);
        let service = route::router(hook).into_make_service();
        // Of HTTP/2 clients that wait would gain nothing, and others new ways to keep us busy.
        let refusals = Refusals::new();
        let mut server = axum_server::Server::from_listener(self.listener)
            .http1_only()
            .handle(handle)
            .accept_error_handler(move |peer, error| refusals.tell(peer, error));
        server
            .http_builder()
            .http1()
            .header_read_timeout(limits.head)
            .max_buf_size(HEAD_LIMIT);
        match self.tls {
            None => server.acceptor(bounded).serve(service).await,
            Some(certificate) => {
                let acceptor = RustlsAcceptor::new(certificate.config.clone())
                    .handshake_timeout(limits.head)
                    .acceptor(bounded);
                tokio::spawn(stop.run_until_cancelled_owned(certificate.follow()));
                server.acceptor(acceptor).serve(service).await
            }
        }
    }
}

impl Certificate {
    /// Reads the files again whenever one has changed. What cannot be used changes nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "files of a mounted Secret change without a sign that could be waited for"
    )]
    async fn follow(self) {
        let changed = |path: &PathBuf| {
            std::fs::metadata(path)
                .and_then(|metadata| metadata.modified())
                .ok()
        };
        let look = || (changed(&self.certificate), changed(&self.key));
        let mut known = None;
        loop {
            let now = look();
            if known.as_ref() != Some(&now) {
                match read(&self.certificate, &self.key) {
                    Ok(config) => {
                        self.config.reload_from_config(config);
                        if known.is_some() {
                            tracing::info!("the hook API has a new certificate");
                        }
                        known = Some(now);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the hook API keeps its certificate: the new one cannot be used");
                    }
                }
            }
            tokio::time::sleep(self.look).await;
        }
    }
}

/// The configuration of a certificate and its key, which must belong together: they may be exchanged one after the other.
fn read(certificate: &PathBuf, key: &PathBuf) -> io::Result<Arc<ServerConfig>> {
    let unusable = |path: &PathBuf, error: &dyn std::error::Error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unusable(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| unusable(certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
