//! Flags of the hook API.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;

use crate::{
    config_file::Reloaded,
    hook_api::{
        Hook, Limits, Listen, Tokens,
        auth::{Cluster, Gatekeeper},
        oidc::Oidc,
    },
    reconcile::Context,
};

/// Where pipelines start promotions and wait for them; see docs/hook-api.md.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hook API")]
pub(super) struct HookFlags {
    /// Address of the hook API, such as 0.0.0.0:8443; not served if absent
    #[arg(long, value_name = "ADDRESS", env = "BELLWETHER_HOOK_LISTEN")]
    hook_listen: Option<SocketAddr>,

    /// Certificate chain of the hook API in PEM; read again when it changes
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_HOOK_TLS_CERT",
        requires = "hook_tls_key"
    )]
    hook_tls_cert: Option<PathBuf>,

    /// Its private key in PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "BELLWETHER_HOOK_TLS_KEY",
        requires = "hook_tls_cert"
    )]
    hook_tls_key: Option<PathBuf>,

    /// Serve the hook API without TLS on an address that others can reach, because a mesh or proxy encrypts it
    #[arg(
        long,
        env = "BELLWETHER_HOOK_PLAINTEXT",
        num_args = 0..=1,
        default_missing_value = "true",
        default_value_t = false,
        value_parser = clap::value_parser!(bool)
    )]
    hook_plaintext: bool,

    /// File of static bearer tokens: a list of name, tokens (one or two) and namespaces; read again when it changes
    #[arg(long, value_name = "FILE", env = "BELLWETHER_HOOK_TOKENS_FILE")]
    hook_tokens_file: Option<PathBuf>,

    /// File of OIDC issuers whose tokens are accepted, such as Jenkins: a list of name, issuer and audience; read again when it
    /// changes
    #[arg(long, value_name = "FILE", env = "BELLWETHER_HOOK_OIDC_FILE")]
    hook_oidc_file: Option<PathBuf>,

    /// Connections that may be open at once; the process needs as many file descriptors
    #[arg(
        long,
        value_name = "N",
        env = "BELLWETHER_HOOK_MAX_CONNECTIONS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    hook_max_connections: u32,
}

impl HookFlags {
    /// The hook API and where it listens, if it is wanted.
    pub(super) fn hook(&self, ctx: &Arc<Context>) -> anyhow::Result<Option<(Arc<Hook>, Listen)>> {
        let Some(address) = self.hook_listen else {
            return Ok(None);
        };
        let tls = self.hook_tls_cert.clone().zip(self.hook_tls_key.clone());
        anyhow::ensure!(
            tls.is_some() || self.hook_plaintext || address.ip().is_loopback(),
            "--hook-listen {address}: tokens would travel in the clear; set --hook-tls-cert and --hook-tls-key, or \
             --hook-plaintext if a mesh or proxy encrypts the way"
        );
        let tokens = match &self.hook_tokens_file {
            Some(path) => Tokens::of_file(path, ctx.clock.clone()).context("--hook-tokens-file")?,
            None => Tokens::none(),
        };
        let mut gatekeeper =
            Gatekeeper::new(Arc::new(Cluster(ctx.client.clone())), tokens, ctx.clock.clone());
        if let Some(path) = &self.hook_oidc_file {
            let clock = ctx.clock.clone();
            let read = move |path: &Path| Oidc::of_file(path, &clock);
            let oidc = Reloaded::of_file(path, ctx.clock.clone(), read).context("--hook-oidc-file")?;
            gatekeeper = gatekeeper.with_oidc(oidc.revoked_without_file());
        }
        let limits = Limits {
            connections: usize::try_from(self.hook_max_connections)?,
            ..Limits::default()
        };
        let hook = Hook::with_limits(ctx.clone(), gatekeeper, limits);
        Ok(Some((hook, Listen::new(address, tls))))
    }
}
