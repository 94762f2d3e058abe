mod refused; // what cannot be used

use serde_json::json;

use super::*;

const CANARY: &str = include_str!("../../../../../examples/canary.yaml");
const SHOP: &str = include_str!("../../../../../examples/shop.yaml");

fn place() -> Place {
    Place {
        namespace: None,
        scrape: TimeDelta::seconds(15),
    }
}

fn source(file: &str, text: &str) -> Source {
    Source {
        file: file.to_owned(),
        text: text.to_owned(),
        in_folder: false,
    }
}

fn of_files(files: &[(&str, &str)]) -> Result<Input, String> {
    let sources: Vec<Source> = files.iter().map(|(file, text)| source(file, text)).collect();
    parse(&sources, &place()).map_err(|error| error.to_string())
}

fn of(texts: &[&str]) -> Result<Input, String> {
    let files: Vec<(&str, &str)> = texts.iter().map(|text| ("file", *text)).collect();
    of_files(&files)
}

/// A Canary named as its workload, with these further lines of its analysis.
fn canary(name: &str, analysis: &str) -> String {
    format!(
        "apiVersion: bellwether.dev/v1beta1
kind: Canary
metadata: {{name: {name}}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  service: {{port: 80, targetPort: 8080}}
  analysis:
    interval: 30s
    threshold: 3
    stepWeights: [10, 50]
{analysis}"
    )
}

const SUCCESS: &str =
    "    metrics: [{name: request-success-rate, thresholdRange: {min: 99}, interval: 30s}]\n";

/// A Deployment with three pods, with this in its specification as well.
fn deployment(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: 3, {spec}
  selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}},
  spec: {{containers: [{{name: main, image: \"reg.example/{name}:4\", ports: [{{containerPort: 8080}}]}}]}}}}}}}}"
    )
}

fn refused(files: &[(&str, &str)]) -> String {
    of_files(files).map(|input| input.notes).unwrap_err()
}

#[test]
fn what_is_missing_is_assumed_and_said() {
    let alone = of(&[CANARY]).unwrap();
    assert_eq!(alone.notes.len(), 2, "{:?}", alone.notes);
    assert!(alone.find("Deployment", "shop").is_some());
    let whole = of(&[CANARY, SHOP]).unwrap();
    assert_eq!(whole.notes, ["ignored, for it is not modelled: Gateway shop"]);
    assert_eq!(whole.objects.len(), 3);
}

#[test]
fn exported_objects_are_read_as_they_were_applied() {
    let exported = "
apiVersion: v1
kind: List
metadata: {resourceVersion: \"\"}
items:
- apiVersion: bellwether.dev/v1beta1
  kind: Canary
  metadata:
    name: cart
    namespace: prod
    uid: 5b1b0a5e-0000-4000-8000-000000000001
    resourceVersion: \"88123\"
    generation: 2
    creationTimestamp: \"2026-01-02T03:04:05Z\"
    finalizers: [bellwether.dev/hand-back]
    annotations: {kubectl.kubernetes.io/last-applied-configuration: \"{}\", team: a}
    managedFields:
    - {manager: kubectl, operation: Apply, fieldsType: FieldsV1, fieldsV1: {\"f:spec\": {}}}
  spec:
    targetRef: {apiVersion: apps/v1, kind: Deployment, name: cart}
    service: {port: 80, targetPort: 8080, delegation: false}
    analysis:
      stepWeights: [10, 50]
      metrics: [{name: request-success-rate, interval: 30s, thresholdRange: {min: 99}}]
  status: {phase: Succeeded}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: cart, namespace: prod, resourceVersion: \"88124\", generation: 9}
  spec:
    replicas: 0
    selector: {matchLabels: {app: cart}}
    template:
      metadata: {creationTimestamp: null, labels: {app: cart}}
      spec:
        containers:
        - {name: main, image: \"reg.example/cart:9\", resources: {limits: {cpu: 1}, requests: {cpu: 0.5}}}
  status: {observedGeneration: 9, replicas: 0}
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: cart-primary
    namespace: prod
    labels: {bellwether.dev/canary: cart, app.kubernetes.io/managed-by: bellwether}
  spec:
    replicas: 4
    selector: {matchLabels: {app: cart-primary}}
    template:
      metadata: {labels: {app: cart-primary}}
      spec: {containers: [{name: main, image: \"reg.example/cart:9\"}]}
- apiVersion: v1
  kind: Service
  metadata:
    name: cart
    namespace: prod
    resourceVersion: \"88125\"
    annotations: {bellwether.dev/original-selector: \"{\\\"app\\\":\\\"cart\\\"}\"}
  spec:
    clusterIP: 10.96.7.7
    clusterIPs: [10.96.7.7]
    type: NodePort
    selector: {app: cart-primary}
    ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080, nodePort: 30080}]
  status: {loadBalancer: {}}
- apiVersion: networking.istio.io/v1beta1
  kind: VirtualService
  metadata: {name: cart, namespace: prod, uid: a}
  spec:
    hosts: [cart]
    http:
    - route:
      - {destination: {host: cart-primary}, weight: 100}
      - {destination: {host: cart-canary}, weight: 0}
";
    let input = of(&[exported]).unwrap();
    assert_eq!(
        input.canary["metadata"],
        json!({"name": "cart", "namespace": "prod", "annotations": {"team": "a"}})
    );
    assert!(input.canary["status"].is_null());
    let deployment = input.find("Deployment", "cart").unwrap();
    assert_eq!(deployment["spec"]["replicas"], 4, "as its primary has");
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "0.5"}})
    );
    assert!(input.find("Deployment", "cart-primary").is_none());
    let service = input.find("Service", "cart").unwrap();
    assert_eq!(
        service["spec"],
        json!({"type": "NodePort", "selector": {"app": "cart"}, "ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
        ]})
    );
    let routes = input.find("VirtualService", "cart").unwrap();
    assert_eq!(
        routes["spec"]["http"],
        json!([{"route": [{"destination": {"host": "cart"}}]}])
    );
    assert_eq!(
        input.notes,
        [
            "ignored: Deployment cart-primary, which the controller creates",
            "assumed: Deployment cart with 4 pods, as many as its primary has",
        ]
    );
}

#[test]
fn folder_may_have_what_a_rehearsal_does_not_know() {
    let foreign = [
        "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: other}, spec: {}}",
        "{apiVersion: batch/v1, kind: Job, metadata: {name: other}, spec: {}}",
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: other}, spec: {}}",
        "{apiVersion: monitoring.coreos.com/v1, kind: PrometheusRule, metadata: {name: other}, spec: {}}",
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: other}, spec: {}}",
    ];
    let kustomization =
        "{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization, resources: [canary.yaml]}";
    let own = [
        canary("bill", SUCCESS),
        deployment("bill", ""),
        foreign.join("\n---\n"),
    ];
    let mut files = vec![
        ("app/kustomization.yaml", kustomization),
        ("app/values.yaml", "replicas: 2"),
        (
            "app/patch.json",
            "[{\"op\": \"remove\", \"path\": \"/spec/paused\"}]",
        ),
        ("app/canary.yaml", &own[0]),
        ("app/deployment.yaml", &own[1]),
        ("app/foreign.yaml", &own[2]),
    ];
    let folder = |files: &[(&str, &str)]| {
        let mut sources: Vec<Source> = files.iter().map(|(file, text)| source(file, text)).collect();
        sources.iter_mut().for_each(|source| source.in_folder = true);
        parse(&sources, &place()).map_err(|error| error.to_string())
    };
    let input = folder(&files).unwrap();
    assert_eq!(
        input.notes,
        [
            "not built: app/kustomization.yaml; what it makes of these files is rehearsed by: kustomize build app | \
             bellwether rehearse -",
            "ignored, for it is not modelled: app/values.yaml, HTTPRoute other, Job other, PersistentVolumeClaim other, \
             PrometheusRule other, ServiceEntry other",
            "assumed: Service bill, for no file has it",
        ]
    );
    files.push((
        "app/freeze.yaml",
        "{apiVersion: bellwether.dev/v1beta1, kind: Freeze, metadata: {name: other}, spec: {}}",
    ));
    assert_eq!(
        folder(&files).unwrap_err(),
        "app/freeze.yaml: Freeze other: spec.reason: is missing"
    );
    files.pop();
    files.push((
        "app/freeze.yaml",
        "{apiVersion: bellwether.dev/v1beta1, kind: Freeze, metadata: {name: other}, spec: {reason: sale}}",
    ));
    let input = folder(&files).unwrap();
    assert!(input.find("Freeze", "other").is_some());
}

#[test]
fn namespace_is_that_of_the_canary_or_asked_for() {
    let in_sales = |text: &str, name: &str| {
        text.replace(
            &format!("{{name: {name}}}"),
            &format!("{{name: {name}, namespace: sales}}"),
        )
    };
    let (plain, pods) = (canary("desk", SUCCESS), deployment("desk", ""));
    let (sales, sales_pods) = (in_sales(&plain, "desk"), in_sales(&pods, "desk"));
    let asking = |files: &[(&str, &str)], namespace: &str| {
        let sources: Vec<Source> = files.iter().map(|(file, text)| source(file, text)).collect();
        let place = Place {
            namespace: Some(namespace.to_owned()),
            ..place()
        };
        parse(&sources, &place).map_err(|error| error.to_string())
    };
    let text = refused(&[("canary.yaml", &plain), ("dep.yaml", &sales_pods)]);
    assert!(
        text.starts_with(
            "dep.yaml: Deployment desk: metadata.namespace: is sales, and Canary desk is in default"
        ),
        "{text}"
    );
    let files = [("canary.yaml", plain.as_str()), ("dep.yaml", sales_pods.as_str())];
    let input = asking(&files, "sales").unwrap();
    assert_eq!(input.spec.names.namespace, "sales");
    assert_eq!(input.notes, ["assumed: Service desk, for no file has it"]);
    let input = of(&[&sales, &pods]).unwrap();
    assert_eq!(
        input.notes,
        [
            "assumed: Deployment desk in namespace sales, as the Canary, for no namespace is named",
            "assumed: Service desk, for no file has it",
        ]
    );
    let text = asking(&[("canary.yaml", sales.as_str())], "prod")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        text,
        "canary.yaml: Canary desk: metadata.namespace: is sales, and --namespace says prod; leave one of them out"
    );
}

#[test]
fn modes_of_volumes_are_octal_as_for_kubectl() {
    let pods = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: depot}
spec:
  replicas: 2
  selector: {matchLabels: {app: depot}}
  template:
    metadata: {labels: {app: depot}}
    spec:
      automountServiceAccountToken: no
      containers: [{name: main, image: reg.example/depot:4, command: [sh, -c, \"exec app\"]}]
      volumes: [{name: c, configMap: {name: c, defaultMode: 0644}}]
";
    let input = of(&[&canary("depot", SUCCESS), pods]).unwrap();
    let pod = &input.find("Deployment", "depot").unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["configMap"]["defaultMode"], 420);
    assert_eq!(pod["automountServiceAccountToken"], false);
}

#[test]
fn empty_fields_are_the_defaults() {
    let filled = of(&[&canary("rate", SUCCESS)]).unwrap();
    for empty in [
        "    gates:\n",
        "    maxBlind:\n",
        "    maxBlind: \"\"\n",
        "    stepWeightPromotion: ~\n",
    ] {
        let input = of(&[&canary("rate", &format!("{empty}{SUCCESS}"))]).unwrap();
        assert_eq!(
            format!("{:?}", input.spec),
            format!("{:?}", filled.spec),
            "{empty}"
        );
    }
    assert!(
        of(&[&canary("rate", "    metrics:\n")])
            .unwrap()
            .spec
            .metrics
            .is_empty()
    );
    let service = canary("rate", SUCCESS).replace(
        "targetPort: 8080",
        "targetPort: 8080, name: null, portName: ~, appProtocol: \"\"",
    );
    assert_eq!(
        format!("{:?}", of(&[&service]).unwrap().spec),
        format!("{:?}", filled.spec)
    );
    let skipping = canary("rate", SUCCESS).replace("spec:\n", "spec:\n  skipAnalysis:\n");
    assert!(!of(&[&skipping]).unwrap().spec.skip_analysis);
}

#[test]
fn what_is_not_modelled_is_said() {
    let routes = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: front}, spec: {hosts: \
                  [front], http: [{match: [{uri: {prefix: /report}}], fault: {}, route: [{destination: {host: front}}]}]}}";
    let other = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: front-public}, spec: \
                 {hosts: [front.shop.example], http: [{route: [{destination: {host: front}}]}]}}";
    let rule = "{apiVersion: networking.istio.io/v1beta1, kind: DestinationRule, metadata: {name: front}, spec: {host: \
                front, subsets: [{name: steady, labels: {app: front}}]}}";
    let freeze = "{apiVersion: bellwether.dev/v1beta1, kind: ClusterFreeze, metadata: {name: night}, spec: {reason: \
                  night, windows: [{schedule: 0 22 * * *, duration: 8h}]}}";
    let gates = format!("    gates: [{{name: look, at: pre-rollout, approval: {{}}}}]\n{SUCCESS}");
    let pods = deployment("front", "paused: true,");
    let input = of(&[&canary("front", &gates), &pods, routes, other, rule, freeze]).unwrap();
    for said in [
        "Deployment front is paused (spec.paused)",
        "gate look: the release waits at it until a story approves it",
        "not modelled: fault in the routes of VirtualService front",
        "not modelled: the conditions of the routes of VirtualService front",
        "not modelled: callers by VirtualService default/front-public",
        "not modelled: subsets of DestinationRule front",
        "the windows of ClusterFreeze night count from there",
    ] {
        assert!(
            input.notes.iter().any(|note| note.contains(said)),
            "{said}\n{:#?}",
            input.notes
        );
    }
}

#[test]
fn service_that_leads_elsewhere_is_named() {
    let said = |spec: &str| {
        let service = format!("{{apiVersion: v1, kind: Service, metadata: {{name: rate}}, spec: {spec}}}");
        of(&[&canary("rate", SUCCESS), &service]).unwrap().notes
    };
    let notes = said("{selector: {app: somethingelse}, ports: [{port: 80}]}");
    let other = "Service rate selects other pods: spec.selector.app is \"somethingelse\", and the pods of Deployment rate \
                 have \"rate\"";
    assert!(notes.iter().any(|note| note == other), "{notes:?}");
    let notes = said("{type: ExternalName, externalName: rate.example}");
    assert!(
        notes.iter().any(|note| note.contains("is an ExternalName")),
        "{notes:?}"
    );
    let notes = said("{selector: {app: rate}, ports: [{port: 80}]}");
    assert_eq!(notes.len(), 1, "{notes:?}");
}
