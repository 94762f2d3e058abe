//! Kubernetes itself: store, API server, controllers, scheduler, and the simulated kubelets.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::Layout;
use super::access::{self, User};
use crate::namespace::NODE_ADDRESS;
use crate::process::Process;

/// Where the API server listens.
pub const API_SERVER: &str = "10.250.0.1:6443";

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// The controllers whose work the stories can see.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,daemonset-controller,job-controller,\
    endpointslice-controller,namespace-controller,garbage-collector-controller,disruption-controller";

/// The processes that make a Kubernetes cluster.
pub struct ControlPlane {
    /// The store.
    pub etcd: Process,
    /// The API server.
    pub api_server: Process,
    controllers: Process,
    scheduler: Process,
    kubelets: Process,
}

impl ControlPlane {
    /// Describes the processes and writes what they read; none is started.
    pub async fn prepare(layout: &Layout) -> Result<Self> {
        access::write(&layout.folder)?;
        make_service_account_key(&layout.folder).await?;
        Ok(Self {
            etcd: etcd(layout),
            api_server: api_server(layout),
            controllers: controllers(layout),
            scheduler: scheduler(layout),
            kubelets: kubelets(layout),
        })
    }

    /// Starts store and API server and returns a client of the admin.
    pub async fn start_api_server(&self, layout: &Layout) -> Result<kube::Client> {
        self.etcd.start().await?;
        self.api_server.start().await?;
        self.wait_for_api_server(layout).await
    }

    /// Kills the API server and starts it again on the same store and port.
    pub async fn restart_api_server(&self, layout: &Layout) -> Result<()> {
        self.api_server.kill().await?;
        self.api_server.start().await?;
        self.wait_for_api_server(layout).await.map(drop)
    }

    /// Starts everything that needs the API server.
    pub async fn start_rest(&self) -> Result<()> {
        self.controllers.start().await?;
        self.scheduler.start().await?;
        self.kubelets.start().await
    }

    async fn wait_for_api_server(&self, layout: &Layout) -> Result<kube::Client> {
        let ask = async || {
            let client = access::client(&layout.folder, User::Admin).await?;
            let request = hyper::http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(client)
        };
        self.api_server.ready(STARTS_WITHIN, ask).await
    }
}

fn etcd(layout: &Layout) -> Process {
    Process::new("etcd", layout.tool("etcd"), &layout.logs)
        .path("--data-dir", &layout.folder.join("etcd"))
        .arg(format!("--listen-client-urls={ETCD}"))
        .arg(format!("--advertise-client-urls={ETCD}"))
        .arg(format!("--listen-peer-urls={ETCD_PEER}"))
        .arg(format!("--initial-advertise-peer-urls={ETCD_PEER}"))
        .arg(format!("--initial-cluster=default={ETCD_PEER}"))
        // The store does not outlive the run.
        .args(["--unsafe-no-fsync", "--log-level=warn"])
}

fn api_server(layout: &Layout) -> Process {
    let folder = &layout.folder;
    let key = service_account_key(folder);
    Process::new("kube-apiserver", layout.tool("kube-apiserver"), &layout.logs)
        .arg(format!("--etcd-servers={ETCD}"))
        .arg(format!("--bind-address={NODE_ADDRESS}"))
        .arg(format!("--advertise-address={NODE_ADDRESS}"))
        .args(["--secure-port=6443", "--service-cluster-ip-range=10.96.0.0/16"])
        .path("--cert-dir", &folder.join("certificates"))
        .path("--token-auth-file", &access::token_file(folder))
        .args(["--authorization-mode=RBAC", "--endpoint-reconciler-type=none"])
        .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .path("--service-account-key-file", &key)
        .path("--service-account-signing-key-file", &key)
        .path("--audit-policy-file", &layout.manifests.join("audit-policy.yaml"))
        .path("--audit-log-path", &layout.audit_log())
        .arg("--audit-log-maxsize=4096")
}

fn controllers(layout: &Layout) -> Process {
    Process::new(
        "kube-controller-manager",
        layout.tool("kube-controller-manager"),
        &layout.logs,
    )
    .path("--kubeconfig", &access::kubeconfig(&layout.folder, User::Part))
    .arg(format!("--controllers={CONTROLLERS}"))
    .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
    .args(["--kube-api-qps=300", "--kube-api-burst=600"])
}

fn scheduler(layout: &Layout) -> Process {
    Process::new("kube-scheduler", layout.tool("kube-scheduler"), &layout.logs)
        .path("--kubeconfig", &access::kubeconfig(&layout.folder, User::Part))
        .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
        .args(["--kube-api-qps=300", "--kube-api-burst=600"])
}

fn kubelets(layout: &Layout) -> Process {
    Process::new("kwok", layout.tool("kwok"), &layout.logs)
        .path("--kubeconfig", &access::kubeconfig(&layout.folder, User::Part))
        .path("--config", &layout.manifests.join("stages.yaml"))
        .args(["--manage-all-nodes", "--cidr=10.200.0.1/16"])
        .arg(format!("--node-ip={NODE_ADDRESS}"))
        .args([
            "--node-lease-duration-seconds=0",
            "--server-address=127.0.0.1:10247",
        ])
}

fn service_account_key(folder: &Path) -> std::path::PathBuf {
    folder.join("service-account.key")
}

async fn make_service_account_key(folder: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
        .arg(service_account_key(folder))
        .output()
        .await
        .context("cannot run openssl")?;
    ensure!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
