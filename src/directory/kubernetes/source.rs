//! The loop of the source: list, watch, lookups, and the waits after failures.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::{ASKED_WAIT_MAX, ApiClient, JSON, METADATA_ONLY};
use super::connect::Connector;
use super::error::{ApiError, ApiErrorKind, ApiRequest};
use super::error_reporter::ErrorReporter;
use super::options::KubernetesOptions;
use super::owners::{Controller, Owners};
use super::watch::PodWatch;
use crate::clock;
use crate::directory::node::Node;
use crate::directory::objects::{self, PodController, WatchEvent};
use crate::directory::pod::Pod;
use crate::directory::pod_budget::{Admission, PodBudget};
use crate::directory::publisher::Publisher;
use crate::directory::source_status::PODS_MAX;
use crate::quantity::{BootTime, counted};
use crate::retry_after::Backoff;

/// The most lookups at a time; the Node object and the version may come on top.
const LOOKUPS_MAX: usize = 4;

/// The most pages of one list, against a server whose list never ends.
const PAGES_MAX: usize = 1000;

/// A watch that the server ends sooner counts as a failure.
const WATCH_TIME_MIN: Duration = Duration::from_secs(1);

/// Watches that may be cut or expire in a row before that is an error. It happens when a server
/// restarts or etcd is compacted.
const CUTS_UNREPORTED: u32 = 3;

/// Answers of 410 in a row after which the pods are listed at once. A server that answers so is up, and
/// knows another history than the last one: it has restarted, or etcd was compacted.
const EXPIRED_AT_ONCE: u32 = 3;

/// Refusals to open a watch in a row after which the pods are listed again. The server may have lost
/// the resourceVersion (a restored etcd, a new cluster) without a 410.
const REFUSALS_MAX: u32 = 2;

/// The time between two looks at the files with the credentials, while there are none that serve.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The wait before lookups are repeated after a failed connection.
const LOOKUP_RETRY: Duration = Duration::from_secs(30);

/// Publishes this node's pods, for ever.
pub async fn run(options: KubernetesOptions, publisher: Publisher) -> Infallible {
    let backoff = Backoff::equal_jitter(options.backoff_min, options.backoff_max, options.seed);
    let mut source = KubernetesSource {
        errors: ErrorReporter::new(publisher),
        connector: Connector::default(),
        api: None,
        backoff,
        owners: Owners::default(),
        lookups: JoinSet::new(),
        refresh_at: clock::timer_now(),
        credentials_are_new: false,
        cuts: 0,
        expired: 0,
        refusals: 0,
        unreadable: 0,
        foreign: 0,
        options,
    };
    loop {
        source.list_and_watch().await;
    }
}

/// The result of a request beside the watch.
enum LookupResult {
    Node(Result<Box<Node>, ApiError>),
    Version(Result<Box<str>, ApiError>),
    Owner(Controller, Result<PodController, ApiError>),
}

/// The ends of a watch.
enum WatchEnd {
    /// The server ended it in time.
    OnTime,
    /// The request for it failed.
    Unopened(ApiError),
    /// It was interrupted; the next watch starts at the last event.
    Interrupted(ApiError),
    /// It cannot be continued; the pods are listed again.
    Lost(ApiError),
}

struct KubernetesSource {
    options: KubernetesOptions,
    errors: ErrorReporter,
    connector: Connector,
    /// `None`: the next request makes one from the credentials of that time.
    api: Option<ApiClient>,
    backoff: Backoff,
    owners: Owners,
    lookups: JoinSet<LookupResult>,
    refresh_at: Instant,
    /// `true` after the server refused the last ones, until a request succeeds.
    credentials_are_new: bool,
    /// Watches and lists that were cut or expired since the last event.
    cuts: u32,
    /// Answers of 410 since the last event, or the last watch that lasted.
    expired: u32,
    /// Refusals to open a watch since the last one was opened.
    refusals: u32,
    /// The number of unreadable pods in the last list.
    unreadable: usize,
    /// The number of other nodes' pods in the last list.
    foreign: usize,
}

impl KubernetesSource {
    fn now(&self) -> BootTime {
        (self.options.clock)()
    }

    /// Lists the pods and watches them until a new list is due.
    async fn list_and_watch(&mut self) {
        let mut resource_version = match self.list().await {
            Ok(resource_version) => resource_version,
            Err(failure) => return self.report_and_wait(failure).await,
        };
        loop {
            let began = self.now();
            let end = self.watch(&mut resource_version).await;
            let opened = !matches!(end, WatchEnd::Unopened(_));
            let lasted = opened && self.now().since(began) >= WATCH_TIME_MIN;
            if lasted {
                self.backoff.reset();
                (self.cuts, self.expired) = (0, 0);
            }
            match end {
                WatchEnd::OnTime if lasted => {}
                WatchEnd::OnTime => self.pause(None).await,
                WatchEnd::Unopened(failure) if failure.is_refusal() => {
                    self.refusals = self.refusals.saturating_add(1);
                    // Reported apart from the pods, so that it stays while they are listed again.
                    let now = self.now();
                    self.errors.request_failed(ApiRequest::WatchPods, &failure.text, now);
                    self.pause(failure.wait).await;
                    if self.refusals >= REFUSALS_MAX {
                        return;
                    }
                }
                WatchEnd::Unopened(failure) if failure.kind == ApiErrorKind::Expired => {
                    return self.report_and_wait(failure).await;
                }
                WatchEnd::Unopened(failure) | WatchEnd::Interrupted(failure) => {
                    self.report_and_wait(failure).await
                }
                WatchEnd::Lost(failure) => return self.report_and_wait(failure).await,
            }
        }
    }

    async fn api(&mut self) -> Result<ApiClient, ApiError> {
        if let Some(api) = self.api.as_ref().filter(|api| !api.is_expired()) {
            return Ok(api.clone());
        }
        let connection = self.connector.connect(&self.options.access).await?;
        Ok(self.api.insert(ApiClient::new(connection, &self.options)).clone())
    }

    /// Lists and publishes all pods. Returns the list's resourceVersion.
    async fn list(&mut self) -> Result<Box<str>, ApiError> {
        let api = self.api().await?;
        self.refresh(&api);
        let mut pods: Vec<Pod> = Vec::new();
        let (mut unreadable, mut foreign) = (0, 0);
        let (mut budget, mut overflows) = (PodBudget::default(), false);
        let mut token: Option<Box<str>> = None;
        for _ in 0..PAGES_MAX {
            let path = self.options.page_path(token.as_deref());
            let body = api.get(ApiRequest::ListPods, &path, JSON).await?;
            let page = objects::pods_of_list(&body, &self.options.limits)
                .map_err(|error| ApiError::unreadable(ApiRequest::ListPods, error))?;
            let room = PODS_MAX.saturating_sub(pods.len());
            let listed = page.pods.len();
            // A server or proxy that ignores the selector gives the whole cluster.
            let of_node = page.pods.into_iter().filter(|pod| self.options.is_of_node(pod));
            let of_node: Vec<Pod> = of_node.collect();
            foreign += listed - of_node.len();
            pods.extend(of_node.into_iter().take(room).filter_map(|mut pod| {
                let admission = budget.admit(&mut pod);
                overflows |= admission != Admission::Whole;
                (admission != Admission::Refused).then_some(pod)
            }));
            unreadable += page.unreadable;
            if page.continue_token.is_some() {
                token = page.continue_token;
                continue;
            }
            let Some(resource_version) = page.resource_version else {
                break;
            };
            self.warn_of_unreadable(unreadable);
            self.warn_of_foreign(foreign);
            self.owners.replace(&mut pods);
            self.credentials_are_new = false;
            let now = self.now();
            self.errors.publisher.replace_pods(pods, now);
            if overflows {
                self.errors.publisher.overflowed(now);
            }
            self.errors.pods_answered();
            self.request_owners(&api);
            return Ok(resource_version);
        }
        Err(ApiError::new(ApiErrorKind::Other, "the API server's list of pods comes to no end"))
    }

    fn warn_of_unreadable(&mut self, unreadable: usize) {
        if unreadable > 0 && unreadable != self.unreadable {
            tracing::warn!(
                "identity source kubernetes: {} no names, since they cannot be read",
                counted(unreadable, "pod has", "pods have")
            );
        }
        self.unreadable = unreadable;
    }

    fn warn_of_foreign(&mut self, foreign: usize) {
        if foreign > 0 && self.foreign == 0 {
            tracing::warn!(
                "identity source kubernetes: the API server lists {} of other nodes, left out \
                 here: it, or a proxy before it, ignores `fieldSelector`",
                counted(foreign, "pod", "pods")
            );
        }
        self.foreign = foreign;
    }

    async fn watch(&mut self, resource_version: &mut Box<str>) -> WatchEnd {
        let api = match self.api().await {
            Ok(api) => api,
            Err(failure) => return WatchEnd::Unopened(failure),
        };
        // Watches of many nodes that began together do not end together.
        let least = Duration::from_secs(self.options.watch_seconds.into());
        let timeout = self.backoff.between(least, least.mul_f64(1.2));
        let seconds = u32::try_from(timeout.as_secs()).unwrap_or(self.options.watch_seconds);
        let path = self.options.watch_path(resource_version, seconds);
        let body = match api.open(ApiRequest::WatchPods, &path, JSON).await {
            Ok(body) => body,
            Err(failure) => return WatchEnd::Unopened(failure),
        };
        // The server accepted the resourceVersion.
        self.credentials_are_new = false;
        self.refusals = 0;
        let now = self.now();
        self.errors.request_answered(ApiRequest::WatchPods, now);
        self.errors.publisher.still_current(now);
        self.errors.pods_answered();
        let silence_max = Duration::from_secs(seconds.into()) + self.options.watch_grace;
        let mut watch = PodWatch::new(body, self.options.limits, silence_max, clock::timer_now())
            .silence_after_bookmark(self.options.watch_silence);
        loop {
            self.request_owners(&api);
            tokio::select! {
                event = watch.next(&api.access) => match event {
                    Ok(Some(event)) => {
                        self.note_flood(watch.is_flooded(), watch.is_calm());
                        if let Err(failure) = self.handle_event(event, resource_version, &api) {
                            return WatchEnd::Lost(failure);
                        }
                    }
                    Ok(None) => return WatchEnd::OnTime,
                    Err(failure) => return match failure.kind {
                        ApiErrorKind::Cut | ApiErrorKind::Unreachable => {
                            WatchEnd::Interrupted(failure)
                        }
                        _ => WatchEnd::Lost(failure),
                    },
                },
                Some(lookup) = self.lookups.join_next(), if !self.lookups.is_empty() => {
                    if let Ok(lookup) = lookup {
                        self.handle_lookup(lookup);
                    }
                }
                () = tokio::time::sleep_until(self.refresh_at) => self.refresh(&api),
            }
        }
    }

    /// Reports changes that come faster than they are read, until half of what may come at once may
    /// come again.
    fn note_flood(&mut self, is_flooded: bool, is_calm: bool) {
        let now = self.now();
        if is_flooded {
            let text = "the API server sends more changes of pods than are read (2 MiB a second): \
                        names may come late";
            self.errors.request_failed(ApiRequest::WatchPods, text, now);
        } else if is_calm {
            self.errors.request_answered(ApiRequest::WatchPods, now);
        }
    }

    fn handle_event(
        &mut self,
        event: WatchEvent,
        at: &mut Box<str>,
        api: &ApiClient,
    ) -> Result<(), ApiError> {
        let now = self.now();
        match event {
            WatchEvent::Added { mut pod, resource_version }
            | WatchEvent::Modified { mut pod, resource_version } => {
                if self.options.is_of_node(&pod) {
                    self.owners.put(&mut pod);
                    self.errors.publisher.put_pod(*pod, now);
                }
                *at = resource_version;
            }
            WatchEvent::Deleted { pod, resource_version } => {
                self.owners.remove(pod.uid);
                self.errors.publisher.remove_pod(pod.uid, &pod.api_uid, now);
                *at = resource_version;
            }
            WatchEvent::Bookmark { resource_version } => {
                self.errors.publisher.still_current(now);
                *at = resource_version;
            }
            WatchEvent::Error(status) => return Err(api.error_of_event(&status)),
            WatchEvent::Unreadable { resource_version } => {
                tracing::debug!(
                    "identity source kubernetes: an event cannot be read and is skipped"
                );
                if let Some(resource_version) = resource_version {
                    *at = resource_version;
                }
            }
        }
        self.backoff.reset();
        (self.cuts, self.expired) = (0, 0);
        Ok(())
    }

    /// Reports a failure and waits for the next try.
    async fn report_and_wait(&mut self, failure: ApiError) {
        match failure.kind {
            ApiErrorKind::Unauthorized if !self.credentials_are_new => {
                // The credentials may have been rotated since they were read.
                self.api = None;
                self.credentials_are_new = true;
                return;
            }
            // Expired certificates and plugin credentials show in the handshake.
            ApiErrorKind::Unauthorized | ApiErrorKind::Unreachable => self.api = None,
            ApiErrorKind::Cut => self.cuts += 1,
            ApiErrorKind::Expired => {
                self.cuts += 1;
                self.expired += 1;
                if self.expired <= EXPIRED_AT_ONCE && failure.wait.is_none() {
                    tracing::debug!("identity source kubernetes: {}", failure.text);
                    self.backoff.reset();
                    return;
                }
            }
            _ => {}
        }
        let usual = matches!(failure.kind, ApiErrorKind::Cut | ApiErrorKind::Expired);
        if usual && self.cuts <= CUTS_UNREPORTED {
            tracing::debug!("identity source kubernetes: {}", failure.text);
        } else {
            let now = self.now();
            self.errors.pods_failed(&failure.text, now);
        }
        self.pause(failure.wait).await;
    }

    async fn pause(&mut self, asked: Option<Duration>) {
        let own = self.backoff.after_failure();
        let wait = match asked {
            Some(asked) => self.backoff.with_jitter(asked.min(ASKED_WAIT_MAX)),
            None => own,
        };
        let until = clock::timer_now() + wait;
        // Without a client new credentials are needed, which may come before the wait ends.
        let is_without_client = self.api.is_none();
        let mut look = clock::timer_now() + LOOK_INTERVAL;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = tokio::time::sleep_until(look), if is_without_client => {
                    if self.connector.credentials_have_changed() {
                        return;
                    }
                    look = clock::timer_now() + LOOK_INTERVAL;
                }
                Some(lookup) = self.lookups.join_next(), if !self.lookups.is_empty() => {
                    if let Ok(lookup) = lookup {
                        self.handle_lookup(lookup);
                    }
                }
            }
        }
    }

    /// Requests the Node object and the version when they are due, and owners whose request failed.
    fn refresh(&mut self, api: &ApiClient) {
        let now = clock::timer_now();
        if now < self.refresh_at {
            return;
        }
        self.refresh_at = now + self.options.refresh;
        self.owners.retry_failed();
        let (node_api, path, limits) = (api.clone(), self.options.node_path(), self.options.limits);
        self.lookups.spawn(async move {
            let body = node_api.get(ApiRequest::Node, &path, JSON).await;
            LookupResult::Node(body.and_then(|body| {
                let unreadable = |error| ApiError::unreadable(ApiRequest::Node, error);
                objects::node(&body, &limits).map(Box::new).map_err(unreadable)
            }))
        });
        let api = api.clone();
        self.lookups.spawn(async move {
            let body = api.get(ApiRequest::Version, "/version", JSON).await;
            LookupResult::Version(body.and_then(|body| {
                let unreadable = |error| ApiError::unreadable(ApiRequest::Version, error);
                let version = objects::version(&body).map_err(unreadable)?;
                Ok(api.masked(&version).into())
            }))
        });
    }

    fn request_owners(&mut self, api: &ApiClient) {
        while self.lookups.len() < LOOKUPS_MAX {
            let Some(controller) = self.owners.next_in_queue() else { return };
            let api = api.clone();
            self.lookups.spawn(async move {
                let asked = controller.asked;
                // Only a ReplicaSet's selector is its workload's.
                let accept = if asked == ApiRequest::ReplicaSet { JSON } else { METADATA_ONLY };
                let body = api.get(asked, &controller.path(), accept).await;
                let owner = body.and_then(|body| {
                    let unreadable = |error| ApiError::unreadable(asked, error);
                    objects::pod_controller(&body).map_err(unreadable)
                });
                LookupResult::Owner(controller, owner)
            });
        }
    }

    fn handle_lookup(&mut self, lookup: LookupResult) {
        let now = self.now();
        match lookup {
            LookupResult::Node(Ok(node)) => {
                self.errors.publisher.set_node(*node);
                self.errors.request_answered(ApiRequest::Node, now);
            }
            LookupResult::Node(Err(failure)) => {
                if matches!(failure.kind, ApiErrorKind::Forbidden | ApiErrorKind::NotFound) {
                    self.errors.publisher.lacks_node();
                }
                let failure = failure.or_no_such_node(&self.options.node_name);
                self.lookup_failed(ApiRequest::Node, &failure, now);
            }
            LookupResult::Version(Ok(version)) => {
                self.errors.publisher.set_server_version(&version);
                self.errors.request_answered(ApiRequest::Version, now);
            }
            LookupResult::Version(Err(failure)) => {
                self.lookup_failed(ApiRequest::Version, &failure, now)
            }
            LookupResult::Owner(controller, Ok(found)) => {
                let workload = controller.workload(found);
                let pods = self.owners.answered(&controller, Some(workload.clone()));
                self.errors.publisher.set_workloads(&pods, &workload);
                self.errors.request_answered(controller.asked, now);
            }
            LookupResult::Owner(controller, Err(failure))
                if failure.kind == ApiErrorKind::NotFound =>
            {
                self.owners.answered(&controller, None);
            }
            LookupResult::Owner(controller, Err(failure)) => {
                self.owners.failed(&controller);
                self.lookup_failed(controller.asked, &failure, now);
            }
        }
    }

    fn lookup_failed(&mut self, asked: ApiRequest, failure: &ApiError, now: BootTime) {
        match failure.kind {
            // If it lasts, the requests for the pods report it.
            ApiErrorKind::Unauthorized | ApiErrorKind::Unreachable | ApiErrorKind::Cut => {
                self.refresh_at = self.refresh_at.min(clock::timer_now() + LOOKUP_RETRY);
            }
            _ => self.errors.request_failed(asked, &failure.text, now),
        }
    }
}
