//! What no file has, and is assumed: a Deployment, a Service, and pods where a release left none.

use serde_json::{Value, json};

use super::{Applied, Input};

/// Pods of a Deployment that is assumed.
const ASSUMED_REPLICAS: u32 = 2;

impl Input {
    /// Assumes a Deployment and a Service where there is none; `left` are the pods of a primary in the files.
    pub(super) fn assume(&mut self, left: Option<u64>) {
        let names = self.spec.names.clone();
        let service = self.canary["spec"]["service"].clone();
        let port = service["port"].clone();
        let target_port = match &service["targetPort"] {
            Value::Null => port.clone(),
            Value::String(name) if name.is_empty() => port.clone(),
            given => given.clone(),
        };
        if self.find("Deployment", &names.target).is_none() {
            self.assume_deployment(&names.target, &target_port);
        }
        self.assume_pods(&names.target, left);
        if self.find("Service", &names.apex).is_none() {
            let deployment = self.find("Deployment", &names.target);
            let selector = deployment.map(|d| d["spec"]["selector"]["matchLabels"].clone());
            let mut ports = json!({"name": "http", "port": port, "targetPort": target_port});
            for (from, to) in [("portName", "name"), ("appProtocol", "appProtocol")] {
                if let Some(text) = service[from].as_str().filter(|text| !text.is_empty()) {
                    ports[to] = text.into();
                }
            }
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": names.apex},
                "spec": {"selector": selector, "ports": [ports]},
            });
            self.add(service);
            self.notes
                .push(format!("assumed: Service {}, for no file has it", names.apex));
        }
    }

    fn add(&mut self, object: Value) {
        self.objects.push(Applied {
            file: String::new(),
            namespace: self.spec.names.namespace.clone(),
            object,
        });
    }

    fn assume_deployment(&mut self, name: &str, target_port: &Value) {
        let container_port = match target_port {
            Value::String(name) => json!({"name": name, "containerPort": 8080}),
            number => json!({"name": "http", "containerPort": number}),
        };
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": ASSUMED_REPLICAS,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [
                        {"name": "app", "image": format!("{name}:present"), "ports": [container_port]},
                    ]},
                },
            },
        });
        self.add(deployment);
        self.notes.push(format!(
            "assumed: Deployment {name} with {ASSUMED_REPLICAS} pods, for no file has it"
        ));
    }

    /// Under a Canary that is at rest the Deployment has no pods: those of its primary count.
    fn assume_pods(&mut self, name: &str, left: Option<u64>) {
        let namespace = self.spec.names.namespace.clone();
        let mut objects = self.objects.iter_mut();
        let target = objects.find(|found| found.is(&namespace, "Deployment", name));
        let Some(deployment) = target.filter(|found| found.object["spec"]["replicas"] == 0) else {
            return;
        };
        let (pods, why) = match left.filter(|pods| *pods > 0) {
            Some(pods) => (pods, "as many as its primary has"),
            None => (u64::from(ASSUMED_REPLICAS), "for spec.replicas is 0"),
        };
        deployment.object["spec"]["replicas"] = pods.into();
        self.notes
            .push(format!("assumed: Deployment {name} with {pods} pods, {why}"));
    }
}
