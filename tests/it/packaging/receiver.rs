//! The receiver's manifests, and the example of docs/kubernetes-metrics.md, against the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec, Secret, Service, Volume};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use nodetally::config::{KEYS, Settings};
use nodetally::receiver::{AUDIENCE, TokensFile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::configuration::{environment_of, resolved};
use super::{container_of, file_names, objects, pod_of, strict, text, tree};
use crate::support::skip::skip;
use crate::support::tools::tool;

const RECEIVER: &str = "packaging/kubernetes/receiver";
const PAGE: &str = "docs/kubernetes-metrics.md";

fn of_kind<T: DeserializeOwned + Serialize>(objects: &[Value], kind: &str, name: &str) -> T {
    let mut found = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let one = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    strict::decode(one).unwrap_or_else(|error| panic!("{kind} {name}: {error}"))
}

fn manifests() -> Vec<Value> {
    objects(RECEIVER).into_iter().map(|(_, object)| object).collect()
}

fn deployment(objects: &[Value]) -> PodSpec {
    let deployment: Deployment = of_kind(objects, "Deployment", "nodetally-receiver");
    assert_eq!(deployment.spec.replicas, Some(1), "its store is one process's");
    assert_eq!(deployment.spec.strategy.unwrap().type_.as_deref(), Some("Recreate"));
    deployment.spec.template.spec.unwrap()
}

fn settings(pod: &PodSpec) -> Settings {
    let container = container_of(pod);
    assert_eq!(container.args.as_deref(), Some(&["receive".to_owned()][..]));
    let variables = container.env.as_ref().unwrap();
    for variable in variables {
        let known = KEYS.iter().any(|key| key.environment.contains(&&*variable.name));
        assert!(known, "{}", variable.name);
    }
    resolved(String::new(), environment_of(variables, "192.0.2.7")).unwrap()
}

/// The volume under which the container finds this file, and the file's name there.
fn volume_of<'a>(pod: &'a PodSpec, file: &'a Path) -> (&'a Volume, &'a str) {
    let mounts = container_of(pod).volume_mounts.as_ref().unwrap();
    let mount = mounts.iter().find(|mount| file.parent() == Some(Path::new(&mount.mount_path)));
    let mount = mount.unwrap_or_else(|| panic!("{} is on no volume", file.display()));
    let volumes = pod.volumes.as_ref().unwrap();
    let volume = volumes.iter().find(|volume| volume.name == mount.name).unwrap();
    (volume, file.file_name().unwrap().to_str().unwrap())
}

#[test]
fn every_manifest_is_in_the_kustomization_and_taken_by_its_type() {
    let text = text(&format!("{RECEIVER}/kustomization.yaml"));
    let [kustomization] = &strict::documents(&text).unwrap()[..] else { panic!("one document") };
    let mut listed: Vec<&str> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    listed.push("kustomization.yaml");
    listed.sort_unstable();
    assert!(file_names(RECEIVER).iter().eq(listed), "{:?}", file_names(RECEIVER));
    for object in manifests() {
        let kind = strict::check(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
        let namespace = &object["metadata"]["namespace"];
        let is_of_cluster = ["APIService", "ClusterRole"].contains(&kind);
        assert_eq!(namespace.is_null(), is_of_cluster, "{object}");
        assert!(is_of_cluster || namespace == "nodetally");
        for pointer in strict::key_pointers(&object) {
            if ![
                "/labels/",
                "/matchLabels/",
                "/selector/",
                "/nodeSelector/",
                "/requests/",
                "/limits/",
            ]
            .iter()
            .any(|map| pointer.contains(map))
            {
                let wrong = strict::misspelt(&object, &pointer);
                assert!(strict::check(&wrong).is_err(), "{pointer} misspelt, and nobody minds");
            }
        }
    }
}

#[test]
fn the_receiver_may_little_and_has_what_it_needs() {
    let pod = deployment(&manifests());
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
    let own = pod.security_context.as_ref().unwrap();
    assert_eq!((own.run_as_non_root, own.fs_group), (Some(true), own.run_as_group));
    let container = container_of(&pod);
    let context = container.security_context.as_ref().unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    let capabilities = context.capabilities.as_ref().unwrap();
    assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
    assert_eq!(capabilities.add, None);
    assert!(container.resources.as_ref().unwrap().limits.as_ref().unwrap().contains_key("memory"));

    let settings = settings(&pod);
    let receiver = &settings.receiver;
    assert!(!receiver.insecure && receiver.is_exposed());
    let (certificate, key) =
        (&receiver.tls.as_ref().unwrap().certificate, &receiver.tls.as_ref().unwrap().key);
    for (file, secret, name) in [
        (certificate, "nodetally-receiver-tls", "tls.crt"),
        (key, "nodetally-receiver-tls", "tls.key"),
        (receiver.tokens_file.as_ref().unwrap(), "nodetally-receiver-tokens", "tokens"),
    ] {
        let (volume, found) = volume_of(&pod, file);
        let source = volume.secret.as_ref().unwrap();
        assert_eq!((source.secret_name.as_deref(), found), (Some(secret), name));
        // Readable for the pod's group, which fsGroup makes that of the files, and for nobody else.
        assert_eq!(source.default_mode, Some(0o440), "{secret}");
    }
    let front_proxy = receiver.front_proxy.as_ref().unwrap();
    assert_eq!(front_proxy.allowed_names, ["front-proxy-client"]);
    let (volume, found) = volume_of(&pod, &front_proxy.client_ca_file);
    let source = volume.config_map.as_ref().unwrap();
    assert_eq!((&*source.name, found), ("nodetally-front-proxy-ca", "ca.crt"));
    let (volume, _) = volume_of(&pod, receiver.store.as_ref().unwrap().file().unwrap());
    let claim: PersistentVolumeClaim =
        of_kind(&manifests(), "PersistentVolumeClaim", "nodetally-receiver");
    assert_eq!(
        volume.persistent_volume_claim.as_ref().map(|claim| &claim.claim_name),
        claim.metadata.name.as_ref()
    );
}

#[test]
fn probes_service_policy_and_api_service_lead_to_the_receiver() {
    let objects = manifests();
    let deployed: Deployment = of_kind(&objects, "Deployment", "nodetally-receiver");
    let labels = deployed.spec.template.metadata.unwrap().labels.unwrap();
    let pod = deployed.spec.template.spec.unwrap();
    let container = container_of(&pod);
    let [port] = &container.ports.as_ref().unwrap()[..] else { panic!("one port") };
    assert_eq!(i32::from(settings(&pod).receiver.listen.port()), port.container_port);
    let named = IntOrString::String(port.name.clone().unwrap());
    for (probe, path) in [
        (&container.startup_probe, "/livez"),
        (&container.liveness_probe, "/livez"),
        (&container.readiness_probe, "/readyz"),
    ] {
        let get = probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!((get.path.as_deref(), get.scheme.as_deref()), (Some(path), Some("HTTPS")));
        assert_eq!(get.port, named);
    }
    let service: Service = of_kind(&objects, "Service", "nodetally-receiver");
    let spec = service.spec.unwrap();
    assert_eq!(spec.selector.as_ref(), Some(&labels));
    let [service_port] = &spec.ports.unwrap()[..] else { panic!("one port") };
    assert_eq!(service_port.target_port.as_ref(), Some(&named));
    let policy: NetworkPolicy = of_kind(&objects, "NetworkPolicy", "nodetally-receiver");
    let policy = policy.spec.unwrap();
    assert_eq!(policy.pod_selector.unwrap().match_labels.as_ref(), Some(&labels));
    let [rule] = &policy.ingress.unwrap()[..] else { panic!("one rule") };
    assert_eq!(rule.ports.as_ref().unwrap()[0].port.as_ref(), Some(&named));
    assert_eq!(policy.egress, None, "it asks nobody");

    let api: APIService = of_kind(&objects, "APIService", "v1beta1.metrics.k8s.io");
    let spec = api.spec.unwrap();
    let (group, version) = (spec.group.unwrap(), spec.version.unwrap());
    assert_eq!(format!("{group}/{version}"), nodetally::payload::metrics_k8s_io::API_VERSION);
    assert_eq!(api.metadata.name, Some(format!("{version}.{group}")));
    assert_eq!(spec.insecure_skip_tls_verify, None);
    let reference = spec.service.unwrap();
    assert_eq!(
        (reference.name, reference.namespace),
        (service.metadata.name, service.metadata.namespace)
    );
    assert_eq!(reference.port, Some(service_port.port));
    let role: ClusterRole = of_kind(&objects, "ClusterRole", "nodetally-metrics-reader");
    let [rule] = &role.rules.unwrap()[..] else { panic!("one rule") };
    assert_eq!(rule.api_groups.as_deref(), Some(&[group][..]));
    assert_eq!(rule.verbs, ["get", "list"], "as discovery has them");
}

/// The certificate is for the name that the API server and the agents ask for, and the Secret that they
/// expect.
#[test]
fn cert_manager_makes_what_the_manifests_expect() {
    let folder = format!("{RECEIVER}/cert-manager");
    let objects: Vec<Value> = objects(&folder).into_iter().map(|(_, object)| object).collect();
    let one = |kind: &str, name: &str| {
        objects
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let certificate = one("Certificate", "nodetally-receiver");
    let spec = &certificate["spec"];
    assert_eq!(spec["secretName"], "nodetally-receiver-tls");
    assert_eq!(spec["dnsNames"], json!([service_name(&manifests())]));
    // From one issuer to the next, up to one that signs itself.
    let issuer = one("Issuer", spec["issuerRef"]["name"].as_str().unwrap());
    let ca = objects
        .iter()
        .find(|object| object["spec"]["secretName"] == issuer["spec"]["ca"]["secretName"])
        .unwrap();
    assert_eq!(ca["spec"]["isCA"], true);
    let root = one("Issuer", ca["spec"]["issuerRef"]["name"].as_str().unwrap());
    assert_eq!(root["spec"]["selfSigned"], json!({}));
    let patched = one("APIService", "v1beta1.metrics.k8s.io");
    let metadata = &certificate["metadata"];
    assert_eq!(
        patched["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
        format!(
            "{}/{}",
            metadata["namespace"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        )
    );
}

fn service_name(objects: &[Value]) -> String {
    let service: Service = of_kind(objects, "Service", "nodetally-receiver");
    format!("{}.{}.svc", service.metadata.name.unwrap(), service.metadata.namespace.unwrap())
}

/// The first code block of this language behind a step of the page.
fn block(page: &str, step: &str, language: &str) -> String {
    let behind =
        page.split(&format!("**{step}. ")).nth(1).unwrap_or_else(|| panic!("no step {step}"));
    let block = behind.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

/// Takes the line breaks out of base64, as an API server does when it reads it.
fn without_line_breaks(object: &mut Value) {
    let joined =
        |value: &Value| json!(value.as_str().unwrap().split_whitespace().collect::<String>());
    if object["kind"] == "Secret" {
        let data = object["data"].as_object_mut().unwrap();
        data.values_mut().for_each(|value| *value = joined(value));
    } else if let Some(bundle) = object.pointer_mut("/spec/caBundle") {
        *bundle = joined(bundle);
    }
}

/// The folder of the page's example, with the files that its commands make.
struct Example {
    kubectl: PathBuf,
    page: String,
    dir: tempfile::TempDir,
}

impl Example {
    /// `None`: a program is missing, which is recorded.
    fn make() -> Option<Self> {
        let kubectl = tool("kubectl")?;
        if Command::new("openssl").arg("version").output().is_err() {
            skip("openssl is not installed");
            return None;
        }
        let page = text(PAGE);
        let dir = tempfile::tempdir().unwrap();
        let deploy = dir.path().join("deploy");
        fs::create_dir(&deploy).unwrap();
        std::os::unix::fs::symlink(tree("packaging"), dir.path().join("packaging")).unwrap();
        for step in ["2", "3"] {
            let made = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &block(&page, step, "sh")])
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(made.status.success(), "{step}: {}", String::from_utf8_lossy(&made.stderr));
        }
        fs::write(deploy.join("front-proxy-ca.crt"), "the front proxy's CA").unwrap();
        fs::write(deploy.join("config.toml"), block(&page, "4", "toml")).unwrap();
        Some(Self { kubectl, page, dir })
    }

    /// The code block of this language in a section.
    fn code(&self, section: &str, language: &str) -> &str {
        let behind = self.page.split(&format!("\n## {section}\n")).nth(1).unwrap();
        behind.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap()
    }

    fn objects(&self, kustomization: &str) -> Vec<Value> {
        let deploy = self.dir.path().join("deploy");
        fs::write(deploy.join("kustomization.yaml"), kustomization).unwrap();
        let output = Command::new(&self.kubectl)
            .args(["kustomize", "--load-restrictor=LoadRestrictionsNone"])
            .arg(&deploy)
            .env("HOME", self.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut objects = strict::documents(&String::from_utf8_lossy(&output.stdout)).unwrap();
        objects.iter_mut().for_each(without_line_breaks);
        objects
    }

    fn check_tokens(&self, lines: &[u8]) {
        let tokens_file = self.dir.path().join("tokens");
        fs::write(&tokens_file, lines).unwrap();
        TokensFile::open(&tokens_file).unwrap();
    }
}

#[test]
fn the_example_of_the_page_is_one_whole() {
    let Some(example) = Example::make() else { return };
    let objects = example.objects(&block(&example.page, "5", "yaml"));
    for object in &objects {
        strict::check(object).unwrap_or_else(|error| panic!("{error}"));
    }
    // Each Secret and ConfigMap that the receiver needs is there, with its keys.
    let tls: Secret = of_kind(&objects, "Secret", "nodetally-receiver-tls");
    let tls: BTreeMap<String, Vec<u8>> =
        tls.data.unwrap().into_iter().map(|(key, value)| (key, value.0)).collect();
    assert_eq!(tls.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    let api = objects.iter().find(|object| object["kind"] == "APIService").unwrap();
    let bundle = BASE64_STANDARD.decode(api["spec"]["caBundle"].as_str().unwrap());
    assert_eq!(bundle.unwrap(), tls["ca.crt"]);
    let front_proxy =
        objects.iter().find(|one| one["metadata"]["name"] == "nodetally-front-proxy-ca");
    assert_eq!(front_proxy.unwrap()["data"]["ca.crt"], "the front proxy's CA");
    let tokens: Secret = of_kind(&objects, "Secret", "nodetally-receiver-tokens");
    example.check_tokens(&tokens.data.unwrap()["tokens"].0);

    // The agents find the Service, its CA and their token.
    let daemon_set: DaemonSet = of_kind(&objects, "DaemonSet", "nodetally");
    let pod = pod_of(daemon_set);
    let variables = environment_of(container_of(&pod).env.as_ref().unwrap(), "192.0.2.7");
    let settings = resolved(block(&example.page, "4", "toml"), variables).unwrap();
    let [endpoint] = &settings.endpoints[..] else { panic!("one endpoint") };
    let shown = format!("{endpoint:?}");
    assert!(shown.contains(&service_name(&objects)), "{shown}");
    for (file, secret, key) in [
        ("/run/secrets/receiver/ca.crt", "nodetally-receiver-tls", "ca.crt"),
        ("/run/secrets/nodetally/token", "nodetally-token", "token"),
    ] {
        assert!(shown.contains(file), "{shown}");
        let (volume, found) = volume_of(&pod, Path::new(file));
        let source = volume.secret.as_ref().unwrap();
        assert_eq!((source.secret_name.as_deref(), found), (Some(secret), key));
        let data = of_kind::<Secret>(&objects, "Secret", secret).data.unwrap();
        assert!(data.contains_key(key));
        let items = source.items.iter().flatten().map(|item| (&*item.key, &*item.path));
        assert!(secret == "nodetally-token" || items.eq([("ca.crt", "ca.crt")]), "no private key");
    }
}

/// The token of the kubelet, for the audience that the receiver wants.
#[test]
fn agents_send_tokens_of_their_account_that_the_receiver_may_ask_for() {
    let Some(example) = Example::make() else { return };
    let code = |language| example.code("Tokens of service accounts", language);
    let kustomization = block(&example.page, "5", "yaml");
    let agents = "components:\n  - ../packaging/kubernetes/receiver/agents\n";
    assert!(kustomization.contains(agents));
    let objects = example.objects(&kustomization.replace(agents, code("yaml")));
    for object in &objects {
        strict::check(object).unwrap_or_else(|error| panic!("{error}"));
    }
    example.check_tokens(code("text").as_bytes());
    let pod = pod_of(of_kind(&objects, "DaemonSet", "nodetally"));
    let file = code("toml").split('"').nth(1).unwrap();
    let (volume, name) = volume_of(&pod, Path::new(file));
    let source = &volume.projected.as_ref().unwrap().sources.as_ref().unwrap()[0];
    let source = source.service_account_token.as_ref().unwrap();
    assert_eq!((source.audience.as_deref(), &*source.path), (Some(AUDIENCE), name));
    let account = pod.service_account_name.as_ref().unwrap();
    assert!(code("text").contains(&format!(" serviceaccount:nodetally/{account}\n")));
    let pod = deployment(&objects);
    assert_eq!(pod.automount_service_account_token, Some(true));
    assert!(settings(&pod).receiver.token_review);
    let role: ClusterRole = of_kind(&objects, "ClusterRole", "nodetally-receiver");
    let [rule] = &role.rules.unwrap()[..] else { panic!("one rule") };
    assert_eq!(rule.verbs, ["create"]);
    assert_eq!(rule.resources.as_deref(), Some(&["tokenreviews".to_owned()][..]));
    let policy: NetworkPolicy = of_kind(&objects, "NetworkPolicy", "nodetally-receiver");
    assert_eq!(policy.spec.unwrap().policy_types, Some(vec!["Ingress".to_owned()]));
}

#[test]
fn with_cert_manager_the_api_service_gets_its_ca_from_it() {
    let Some(example) = Example::make() else { return };
    let base = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  \
                - ../packaging/kubernetes\n  - ../packaging/kubernetes/receiver\n";
    let components = example.code("With cert-manager", "yaml");
    let objects = example.objects(&format!("{base}{components}"));
    let kinds = objects.iter().filter(|object| object["kind"] == "Certificate").count();
    assert_eq!(kinds, 2);
    let api = objects.iter().find(|object| object["kind"] == "APIService").unwrap();
    assert_eq!(
        api["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
        "nodetally/nodetally-receiver"
    );
}
