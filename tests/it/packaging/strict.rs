//! YAML held strictly against the types of the Kubernetes API.
//!
//! Those types pass over keys that they do not know, as an old client of a new server has to. So
//! what was decoded is written out again, and everything that stood in the YAML must be found there.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The documents of a YAML file.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

/// The object as its type has it, or what the type does not know, by path.
pub fn decode<T: DeserializeOwned + Serialize>(object: &Value) -> Result<T, String> {
    let decoded: T =
        serde_json::from_value(object.clone()).map_err(|error| format!("not decoded: {error}"))?;
    let again = serde_json::to_value(&decoded).map_err(|error| error.to_string())?;
    let lost = lost(object, &again);
    if lost.is_empty() { Ok(decoded) } else { Err(lost.join("\n")) }
}

/// Decodes an object by its `kind`, and says which that is.
pub fn check(object: &Value) -> Result<&str, String> {
    let kind = object.get("kind").and_then(Value::as_str).ok_or("no kind")?;
    match kind {
        "APIService" => decode::<APIService>(object).map(drop),
        "ClusterRole" => decode::<ClusterRole>(object).map(drop),
        "ClusterRoleBinding" => decode::<ClusterRoleBinding>(object).map(drop),
        "ConfigMap" => decode::<ConfigMap>(object).map(drop),
        "DaemonSet" => decode::<DaemonSet>(object).map(drop),
        "Deployment" => decode::<Deployment>(object).map(drop),
        "Namespace" => decode::<Namespace>(object).map(drop),
        "NetworkPolicy" => decode::<NetworkPolicy>(object).map(drop),
        "PersistentVolumeClaim" => decode::<PersistentVolumeClaim>(object).map(drop),
        "Secret" => decode::<Secret>(object).map(drop),
        "Service" => decode::<Service>(object).map(drop),
        "ServiceAccount" => decode::<ServiceAccount>(object).map(drop),
        other => Err(format!("no type for a {other}: enter it here")),
    }?;
    Ok(kind)
}

/// The parts of `original` that are not in `again`, one line each, by path.
pub fn lost(original: &Value, again: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    compare("", original, again, &mut lost);
    lost
}

fn compare(path: &str, original: &Value, again: &Value, lost: &mut Vec<String>) {
    match (original, again) {
        (Value::Object(keys), Value::Object(known)) => {
            for (key, value) in keys {
                let path = format!("{path}.{key}");
                match known.get(key) {
                    Some(again) => compare(&path, value, again, lost),
                    None => lost.push(format!("{path}: not known to the type")),
                }
            }
        }
        (Value::Array(elements), Value::Array(known)) if elements.len() == known.len() => {
            for (index, (element, again)) in elements.iter().zip(known).enumerate() {
                compare(&format!("{path}[{index}]"), element, again, lost);
            }
        }
        _ if original == again => {}
        _ => lost.push(format!("{path}: {original} became {again}")),
    }
}

/// Every path to a key in `object`, as JSON pointers.
pub fn key_pointers(object: &Value) -> Vec<String> {
    let mut pointers = Vec::new();
    collect("", object, &mut pointers);
    pointers
}

fn collect(at: &str, value: &Value, pointers: &mut Vec<String>) {
    let mut enter = |name: String, is_key: bool, value: &Value| {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        if is_key {
            pointers.push(pointer.clone());
        }
        collect(&pointer, value, pointers);
    };
    match value {
        Value::Object(keys) => keys.iter().for_each(|(key, value)| enter(key.clone(), true, value)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(i, value)| enter(i.to_string(), false, value));
        }
        _ => {}
    }
}

/// The object with one key misspelt.
pub fn misspelt(object: &Value, pointer: &str) -> Value {
    let mut copy = object.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    let key = key.replace("~1", "/").replace("~0", "~");
    if let Some(Value::Object(keys)) = copy.pointer_mut(parent)
        && let Some(value) = keys.remove(&key)
    {
        keys.insert(format!("{key}x"), value);
    }
    copy
}
