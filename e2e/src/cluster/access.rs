//! Who may talk to the API server: one token and one kubeconfig per user, so that audit and RBAC see who called.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;

use super::control_plane::API_SERVER;

/// A user of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The stories, and everything a person does with kubectl.
    Admin,
    /// The parts of the cluster itself.
    Part,
    /// The controller under test: the chart's ServiceAccount.
    Bellwether,
}

impl User {
    /// Those whose tokens are on a list; an account's is made by the API server.
    const LISTED: [Self; 2] = [Self::Admin, Self::Part];

    /// The name the API server knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Part => "cluster-part",
            Self::Bellwether => "bellwether",
        }
    }

    fn token(self) -> String {
        format!("token-of-{}", self.name())
    }
}

/// Writes the list of tokens and a kubeconfig for every user on it.
pub fn write(folder: &Path) -> Result<()> {
    let mut tokens = String::new();
    for user in User::LISTED {
        let (token, name) = (user.token(), user.name());
        tokens += &format!("{token},{name},{name},\"system:masters\"\n");
        write_kubeconfig(folder, user, &token)?;
    }
    fs::write(token_file(folder), tokens)?;
    Ok(())
}

/// Writes the kubeconfig of a user who is known by `token`.
pub fn write_kubeconfig(folder: &Path, user: User, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": {
            "server": format!("https://{API_SERVER}"),
            "certificate-authority": certificate(folder),
        }}],
        "users": [{"name": user.name(), "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": user.name()}}],
        "current-context": "e2e",
    });
    // JSON is YAML too.
    fs::write(kubeconfig(folder, user), serde_json::to_vec_pretty(&config)?)?;
    Ok(())
}

/// The list of tokens for the API server.
pub fn token_file(folder: &Path) -> PathBuf {
    folder.join("tokens.csv")
}

/// The kubeconfig of a user.
pub fn kubeconfig(folder: &Path, user: User) -> PathBuf {
    folder.join(format!("{}.kubeconfig", user.name()))
}

/// The certificate that the API server made for itself, with its authority.
pub fn certificate(folder: &Path) -> PathBuf {
    folder.join("certificates/apiserver.crt")
}

/// A client that acts as this user; the API server must have written its certificate.
pub async fn client(folder: &Path, user: User) -> Result<kube::Client> {
    let file = Kubeconfig::read_from(kubeconfig(folder, user)).context("cannot read the kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
