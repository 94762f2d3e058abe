//! The cluster: everything started in the right order, and handed out to the stories.

mod access;
pub mod chart;
mod control_plane;
mod mesh;
mod prometheus;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Client;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::OnceCell;

pub use self::access::User;
use self::control_plane::ControlPlane;
pub use self::mesh::GATEWAY_PORT;
use self::mesh::Mesh;
pub use self::prometheus::{PROMETHEUS, Prometheus};
use crate::audit::AuditLog;
use crate::namespace::Inside;
use crate::objects;
use crate::pods::PodServer;
use crate::wait;

/// Name of the only node.
const NODE: &str = "node";

/// Where things are.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder of this run.
    pub folder: PathBuf,
    /// Logs of the processes.
    pub logs: PathBuf,
    /// What we apply to the cluster and feed to its parts.
    pub manifests: PathBuf,
    /// The top of the repository.
    pub repository: PathBuf,
    tools: PathBuf,
}

impl Layout {
    fn new(inside: &Inside) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let logs = inside.folder.join("logs");
        std::fs::create_dir_all(&logs)?;
        Ok(Self {
            folder: inside.folder.clone(),
            logs,
            manifests: here.join("manifests"),
            repository: here
                .parent()
                .context("the suite is not in the repository")?
                .to_path_buf(),
            tools: inside.tools.clone(),
        })
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    fn audit_log(&self) -> PathBuf {
        self.logs.join("audit.jsonl")
    }
}

/// A running cluster; it ends when this is dropped.
pub struct Cluster {
    /// Where things are.
    pub layout: Layout,
    /// Acts as the admin.
    pub client: Client,
    /// Asks things over HTTP.
    pub http: reqwest::Client,
    /// The metrics of the pods.
    pub prometheus: Prometheus,
    /// What the controller asked of the API server.
    pub audit: AuditLog,
    /// The control plane of the mesh, and the gateway.
    pub mesh: Mesh,
    /// Arguments of the controller, as the chart has them.
    arguments: OnceCell<Vec<String>>,
    control_plane: ControlPlane,
    _pods: PodServer,
}

impl Cluster {
    /// Starts everything and returns when all of it is ready.
    pub async fn start(inside: &Inside) -> Result<Self> {
        let started = Instant::now();
        let layout = Layout::new(inside)?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()?;
        let prometheus = Prometheus::prepare(&layout, http.clone())?;
        let mesh = Mesh::prepare(&layout)?;
        let control_plane = ControlPlane::prepare(&layout).await?;
        let (client, ()) = tokio::try_join!(control_plane.start_api_server(&layout), prometheus.start())?;
        control_plane.start_rest().await?;
        let pods = PodServer::start(client.clone()).await?;
        let audit = AuditLog::new(layout.audit_log());
        let cluster = Self {
            layout,
            client,
            http,
            prometheus,
            audit,
            mesh,
            arguments: OnceCell::new(),
            control_plane,
            _pods: pods,
        };
        tokio::try_join!(cluster.start_mesh(), cluster.apply_own())?;
        println!(
            "cluster ready in {:.1} s, logs in {}",
            started.elapsed().as_secs_f64(),
            cluster.layout.logs.display()
        );
        Ok(cluster)
    }

    /// Arguments of the controller, as the chart has them.
    pub fn arguments(&self) -> Result<&[String]> {
        let known = self.arguments.get().context("the chart is not installed")?;
        Ok(known)
    }

    /// The kubeconfig of a user.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        access::kubeconfig(&self.layout.folder, user)
    }

    /// Kills the API server and starts it again on the same store.
    pub async fn restart_api_server(&self) -> Result<()> {
        self.control_plane.restart_api_server(&self.layout).await
    }

    /// Starts the parts that stories stop, if they do not run.
    pub async fn start_what_is_stopped(&self) -> Result<()> {
        if !self.mesh.istiod.is_running().await {
            self.mesh.start_control_plane(&self.http).await?;
        }
        if !self.prometheus.process.is_running().await {
            self.prometheus.start().await?;
        }
        Ok(())
    }

    /// Runs kubectl as the admin and returns what it printed.
    pub async fn kubectl<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = Command::new(self.layout.tool("kubectl"))
            .args(&args)
            .env("KUBECONFIG", self.kubeconfig(User::Admin))
            .env("HOME", &self.layout.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run kubectl")?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            args.iter()
                .map(|arg| arg.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The mesh's own kinds first, then the mesh.
    async fn start_mesh(&self) -> Result<()> {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}});
        objects::apply(&self.client, None, &namespace).await?;
        let kinds = self.layout.tool("crds.yaml");
        self.kubectl(
            ["create", "--validate=false", "-f"]
                .map(PathBuf::from)
                .into_iter()
                .chain([kinds]),
        )
        .await?;
        self.istio_kinds_served().await?;
        self.mesh.start(&self.http).await
    }

    /// Puts kinds of the mesh back that are missing.
    pub async fn install_istio_kinds(&self) -> Result<()> {
        let kinds = self.layout.tool("crds.yaml");
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=false",
            "-f",
        ];
        self.kubectl(apply.map(PathBuf::from).into_iter().chain([kinds]))
            .await?;
        self.istio_kinds_served().await
    }

    async fn istio_kinds_served(&self) -> Result<()> {
        self.served("networking.istio.io/v1/virtualservices").await
    }

    async fn served(&self, kind: &str) -> Result<()> {
        wait::until(
            &format!("{kind} is served"),
            Duration::from_secs(30),
            async || {
                let request = hyper::http::Request::get(format!("/apis/{kind}")).body(Vec::new())?;
                Ok(self.client.request_text(request).await?)
            },
        )
        .await
        .map(drop)
    }

    /// The node, and the product as its users install it.
    async fn apply_own(&self) -> Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": NODE,
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"},
        }});
        objects::apply(&self.client, None, &node).await?;
        chart::install(&self.layout).await?;
        self.served("bellwether.dev/v1beta1/canaries").await?;
        chart::let_act(self).await?;
        self.arguments.set(chart::arguments(self).await?)?;
        Ok(())
    }

    /// The product's own kinds, served; whoever has changed or deleted them gets those of the chart back.
    pub async fn apply_kinds(&self) -> Result<()> {
        let kinds = self.layout.repository.join("crds");
        let apply = ["apply", "--server-side", "--force-conflicts", "-f"].map(PathBuf::from);
        self.kubectl(apply.into_iter().chain([kinds])).await?;
        self.served("bellwether.dev/v1beta1/canaries").await
    }
}

/// What this process is called outside of its namespace, where /proc was mounted.
fn pid_outside() -> Result<String> {
    let link = std::fs::read_link("/proc/self").context("cannot read /proc/self")?;
    Ok(link.display().to_string())
}

/// Starts the cluster for a person: until Ctrl-C, or for as long as a command runs.
pub async fn up(inside: &Inside, command: &[String]) -> Result<ExitCode> {
    let cluster = tokio::select! {
        cluster = Cluster::start(inside) => cluster?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
    };
    let kubeconfig = cluster.kubeconfig(User::Admin);
    let Some((program, args)) = command.split_first() else {
        println!(
            "gateway http://{}:{GATEWAY_PORT}, Prometheus {PROMETHEUS}",
            crate::namespace::NODE_ADDRESS
        );
        println!("from another terminal:");
        println!(
            "  nsenter --preserve-credentials --user --net --target {} bash",
            pid_outside()?
        );
        println!(
            "  export KUBECONFIG={} PATH={}:$PATH",
            kubeconfig.display(),
            inside.tools.display()
        );
        println!("Ctrl-C ends it.");
        tokio::signal::ctrl_c().await?;
        return Ok(ExitCode::SUCCESS);
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", kubeconfig)
        .env("PATH", format!("{}:{path}", inside.tools.display()))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            // The command gets the signal too and decides itself whether to end.
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
