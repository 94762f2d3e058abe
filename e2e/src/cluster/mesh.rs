//! The service mesh: its control plane, and a stock Envoy as the ingress gateway.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Layout;
use super::access::{self, User};
use crate::namespace::NODE_ADDRESS;
use crate::process::Process;

/// Port of the node that a Gateway of a story should open.
pub const GATEWAY_PORT: u16 = 80;

const READINESS: &str = "http://127.0.0.1:8080/ready";
const CONFIGURATION: &str = "127.0.0.1:15010";
const PROXY_ADMIN: &str = "127.0.0.1:15000";
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// The processes of the mesh.
pub struct Mesh {
    /// The mesh's control plane.
    pub istiod: Process,
    /// The ingress gateway.
    pub envoy: Process,
}

impl Mesh {
    /// Describes the processes and writes what they read; none is started.
    pub fn prepare(layout: &Layout) -> Result<Self> {
        let bootstrap = layout.folder.join("envoy.json");
        fs::write(&bootstrap, serde_json::to_vec_pretty(&envoy_bootstrap())?)?;
        let envoy = Process::new("envoy", layout.tool("envoy"), &layout.logs)
            .arg("-c")
            .arg(&bootstrap)
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ]);
        Ok(Self {
            istiod: istiod(layout),
            envoy,
        })
    }

    /// Starts the control plane, which must find its CRDs, and the gateway.
    pub async fn start(&self, http: &reqwest::Client) -> Result<()> {
        self.start_control_plane(http).await?;
        self.envoy.start().await?;
        let ready = format!("http://{PROXY_ADMIN}/ready");
        self.envoy
            .ready(STARTS_WITHIN, async || get(http, &ready).await)
            .await
    }

    /// Starts the control plane alone, for instance after it was killed.
    pub async fn start_control_plane(&self, http: &reqwest::Client) -> Result<()> {
        self.istiod.start().await?;
        self.istiod
            .ready(STARTS_WITHIN, async || get(http, READINESS).await)
            .await
    }
}

async fn get(http: &reqwest::Client, url: &str) -> Result<()> {
    http.get(url).send().await?.error_for_status()?;
    Ok(())
}

fn istiod(layout: &Layout) -> Process {
    Process::new("istiod", layout.tool("pilot-discovery"), &layout.logs)
        .arg("discovery")
        .path("--kubeconfig", &access::kubeconfig(&layout.folder, User::Part))
        .path("--meshConfig", &layout.manifests.join("mesh.yaml"))
        .arg(format!("--grpcAddr={CONFIGURATION}"))
        .args(["--secureGRPCAddr=", "--httpsAddr=", "--httpAddr=127.0.0.1:8080"])
        .args([
            "--monitoringAddr=127.0.0.1:15014",
            "--ctrlz_port=0",
            "--namespace=istio-system",
        ])
        .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
        .env("PILOT_ENABLE_ALPN_FILTER", "false")
        .env("PILOT_ENABLE_AMBIENT", "false")
        .env("INJECTION_WEBHOOK_CONFIG_NAME", "")
        .env("VALIDATION_WEBHOOK_CONFIG_NAME", "")
        .env("POD_NAME", "istiod")
        .env("POD_NAMESPACE", "istio-system")
}

fn envoy_bootstrap() -> serde_json::Value {
    let socket =
        |address: &str, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let discovered = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    json!({
        "node": {
            "id": format!("router~{NODE_ADDRESS}~ingress.istio-system~istio-system.svc.cluster.local"),
            "cluster": "ingressgateway.istio-system",
            "metadata": {
                "NAMESPACE": "istio-system",
                "LABELS": {"istio": "ingressgateway"},
                "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": "1.31.0",
                "MESH_ID": "cluster.local",
            },
        },
        "admin": {"address": socket("127.0.0.1", 15000)},
        "dynamic_resources": {
            "lds_config": discovered,
            "cds_config": discovered,
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "xds",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
            "load_assignment": {
                "cluster_name": "xds",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket("127.0.0.1", 15010)}}]}],
            },
        }]},
    })
}
