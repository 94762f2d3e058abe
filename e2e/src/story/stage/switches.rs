//! Switches for what goes wrong in a cluster, each done in either world by its own means.

use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether::sim::traffic::Barrier;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::{Stage, World};
use crate::objects::Kind;
use crate::pods::BARS;
use crate::wait;

impl Stage {
    /// Lets no new pod find a node, or every one again.
    pub async fn set_schedulable(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(_) => {
                let verb = if on { "uncordon" } else { "cordon" };
                self.kubectl(&[verb, "node"]).await.map(drop)
            }
            World::Simulated(simulated) => {
                simulated.set_schedulable(on);
                Ok(())
            }
        }
    }

    /// Lets so many ready pods with this `app` label crash; they do not come back.
    pub async fn crash_pods(&self, app: &str, count: usize) -> Result<()> {
        let crashed = match &self.world {
            World::Real(_) => {
                let labels = ListParams::default().labels(&format!("app={app}"));
                let pods = self.api(Kind::Pod).list(&labels).await?.items;
                let running = pods
                    .iter()
                    .filter(|pod| pod.metadata.deletion_timestamp.is_none());
                let chosen: Vec<_> = running.take(count).map(ResourceExt::name_any).collect();
                for name in &chosen {
                    let crash =
                        json!({"metadata": {"annotations": {"sim.bellwether.dev/crash-after": "1ms"}}});
                    self.merge(Kind::Pod, name, crash).await?;
                }
                chosen.len()
            }
            World::Simulated(simulated) => simulated.crash(app, count),
        };
        ensure!(crashed == count, "only {crashed} pods of {app} could crash");
        Ok(())
    }

    /// Keeps requests from the pods of a workload, also from those to come, or from none of them any more.
    pub async fn bar(&self, workload: &str, barrier: Option<Barrier>) -> Result<()> {
        match &self.world {
            World::Real(_) => {
                let how = match barrier {
                    None => "-",
                    Some(Barrier::Drops) => "=drops",
                    Some(Barrier::Denies) => "=denies",
                };
                let change = format!("{BARS}{workload}{how}");
                let annotate = ["annotate", "namespace", &self.namespace, &change];
                self.kubectl(&annotate).await.map(drop)
            }
            World::Simulated(simulated) => {
                simulated.bar(workload, barrier);
                Ok(())
            }
        }
    }

    /// Lets nobody make another object of a kind, by a quota, or everybody again.
    pub async fn set_quota(&self, kind: Kind, on: bool) -> Result<()> {
        if let World::Simulated(simulated) = &self.world {
            simulated.set_full(kind, on);
            return Ok(());
        }
        if !on {
            return self.kubectl(&["delete", "resourcequota", "full"]).await.map(drop);
        }
        let group = kind.api_version();
        let group = group
            .split_once('/')
            .map_or(String::new(), |(group, _)| format!(".{group}"));
        let count = format!("count/{}{group}", kind.plural());
        let full = json!({ count: "1" });
        self.apply(
            &json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
            "spec": {"hard": full}}),
        )
        .await?;
        // What is used is counted by a controller that does not run here; the story has made one.
        let used = json!({"status": {"hard": full, "used": full}}).to_string();
        let patch = [
            "patch",
            "resourcequota",
            "full",
            "--subresource=status",
            "--type=merge",
            "-p",
            &used,
        ];
        self.kubectl(&patch).await.map(drop)
    }

    /// Lets nobody change an object, by an admission policy, or everybody again.
    pub async fn deny_changes(&self, kind: Kind, name: &str, on: bool) -> Result<()> {
        match &self.world {
            World::Real(_) => self.set_policy(kind, name, on).await,
            World::Simulated(simulated) => {
                simulated.deny(kind, name, on);
                Ok(())
            }
        }
    }

    async fn set_policy(&self, kind: Kind, name: &str, on: bool) -> Result<()> {
        let policy = format!("deny-{name}");
        if !on {
            for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
                self.kubectl(&["delete", kind, &policy]).await?;
            }
            return Ok(());
        }
        let (group, version) = ("admissionregistration.k8s.io/v1", kind.api_version());
        let (of, version) = version.split_once('/').unwrap_or(("", version.as_str()));
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let rule = json!({"apiGroups": [of], "apiVersions": [version], "operations": ["UPDATE"],
            "resources": [kind.plural()], "resourceNames": [name]});
        self.apply_to_cluster(&json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy}, "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"namespaceSelector": here, "resourceRules": [rule]},
                "validations": [{"expression": "false", "message": "nobody may change it", "reason": "Forbidden"}],
            }}))
        .await?;
        self.apply_to_cluster(
            &json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}}),
        )
        .await?;
        // It takes effect a moment after it was applied.
        let (api, try_it) = (self.api(kind), PatchParams::default());
        let change = Patch::Merge(json!({"metadata": {"annotations": {"example.com/tried": "yes"}}}));
        wait::until("the policy is in force", Duration::from_secs(30), async || {
            let refused = api.patch(name, &try_it.clone().dry_run(), &change).await.is_err();
            ensure!(refused, "it may still be changed");
            Ok(())
        })
        .await
    }

    /// Stops Prometheus, or starts it again with what it had.
    pub async fn set_metrics(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.prometheus.start().await,
            World::Real(real) => real.cluster.prometheus.process.kill().await,
            World::Simulated(simulated) => {
                simulated.set_metrics(on);
                Ok(())
            }
        }
    }

    /// Stops the control plane of the mesh, or starts it again: without it proxies hear of no change.
    pub async fn set_mesh(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.mesh.start_control_plane(&real.cluster.http).await,
            World::Real(real) => real.cluster.mesh.istiod.kill().await,
            World::Simulated(simulated) => {
                simulated.set_mesh(on);
                Ok(())
            }
        }
    }

    /// Kills the API server and starts it again on the same store.
    pub async fn restart_api_server(&self) -> Result<()> {
        match &self.world {
            World::Real(real) => real.cluster.restart_api_server().await,
            World::Simulated(simulated) => {
                simulated.restart_api_server().await;
                Ok(())
            }
        }
    }

    /// Deletes the kinds of Istio that the controller uses, with their objects, or installs them again.
    pub async fn set_istio_kinds(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.install_istio_kinds().await,
            World::Real(_) => {
                let kinds = [
                    "virtualservices.networking.istio.io",
                    "destinationrules.networking.istio.io",
                ];
                let verb = ["delete", "customresourcedefinition", "--timeout=60s"];
                self.kubectl(&[&verb[..], &kinds].concat()).await.map(drop)
            }
            World::Simulated(simulated) => {
                simulated.set_istio_kinds(on);
                Ok(())
            }
        }
    }

    /// Deletes the Canary kind itself, and returns when its last object is gone; or installs it again.
    pub async fn set_canary_kind(&self, on: bool) -> Result<()> {
        match &self.world {
            World::Real(real) if on => real.cluster.apply_kinds().await,
            World::Real(_) => {
                let crd = "customresourcedefinition/canaries.bellwether.dev";
                self.kubectl(&["delete", crd, "--timeout=60s"]).await.map(drop)
            }
            World::Simulated(simulated) => {
                if !on {
                    let canaries = self.api(Kind::Canary);
                    for canary in canaries.list(&ListParams::default()).await?.items {
                        self.delete(Kind::Canary, &canary.name_any()).await?;
                        let within = Duration::from_secs(60);
                        self.wait_gone(Kind::Canary, &canary.name_any(), within).await?;
                    }
                }
                simulated.set_canary_kind(on);
                Ok(())
            }
        }
    }
}
