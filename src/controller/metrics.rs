//! What can be counted, for Prometheus (OpenMetrics 1.0). Labels are names from the config and words from closed lists: there
//! is a bounded number of series, whatever strangers send.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::Tally;
use crate::source::inert;

use super::machine::Pass;
use super::status::PassStatus;

type Labels<const N: usize> = [(&'static str, String); N];

/// The counters of `run`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Labels<3>, Counter>,
    seconds: Family<Labels<1>, Histogram>,
    steps: Family<Labels<3>, Counter>,
    imports: Family<Labels<2>, Counter>,
    deferred: Family<Labels<1>, Gauge>,
    errors: Family<Labels<1>, Gauge>,
    streams: Family<Labels<1>, Gauge>,
    success: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    leads: Family<Labels<1>, Gauge>,
    looks: Family<Labels<2>, Counter>,
    lag: Family<Labels<1>, Histogram>,
    applied: Family<Labels<1>, Histogram>,
    waiting: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    requests: Family<Labels<3>, Counter>,
    quota: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    hosts: Mutex<BTreeSet<String>>,
    webhooks: Family<Labels<2>, Counter>,
}

/// Upper ends of the buckets, in seconds.
const BUCKETS: [f64; 12] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Hosts that have a label of their own.
const HOSTS: usize = 100;

/// Likewise, for what may have lain in Git for days.
const AGES: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 21_600.0, 86_400.0];

fn ages() -> Histogram {
    Histogram::new(AGES)
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streamkeeper");
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let lag = Family::new_with_constructor(histogram as fn() -> Histogram);
        let applied = Family::new_with_constructor(ages as fn() -> Histogram);
        let mut metrics = Self {
            registry: Registry::default(),
            passes: Family::default(),
            seconds,
            steps: Family::default(),
            imports: Family::default(),
            deferred: Family::default(),
            errors: Family::default(),
            streams: Family::default(),
            success: Family::default(),
            leads: Family::default(),
            looks: Family::default(),
            lag,
            applied,
            waiting: Family::default(),
            requests: Family::default(),
            quota: Family::default(),
            hosts: Mutex::default(),
            webhooks: Family::default(),
        };
        registry.register("passes", "Passes by lane, cause and result", metrics.passes.clone());
        registry.register("pass_seconds", "How long passes take", metrics.seconds.clone());
        registry.register("steps", "Steps by lane, kind and outcome", metrics.steps.clone());
        registry.register("failed_imports", "Imports that registries refused, by reason", metrics.imports.clone());
        registry.register("deferred_steps", "What has to wait after the last pass", metrics.deferred.clone());
        registry.register("definition_errors", "Errors in the definitions that were read last", metrics.errors.clone());
        registry.register("streams", "Streams that the definitions name", metrics.streams.clone());
        let help = "When everything was last as it should be, in seconds since 1970";
        registry.register("last_success_timestamp_seconds", help, metrics.success.clone());
        registry.register("leads", "Whether this process may write", metrics.leads.clone());
        registry.register("source_looks", "Times that a source was asked whether it has moved", metrics.looks.clone());
        registry.register("event_to_pass_seconds", "From the first event to the end of the pass", metrics.lag.clone());
        let help = "From a commit, as its committer says, to the end of the pass that has first applied it";
        registry.register("commit_to_applied_seconds", help, metrics.applied.clone());
        let help = "Since when the first event waits for a pass to begin, in seconds since 1970; 0: none does";
        registry.register("waiting_since_timestamp_seconds", help, metrics.waiting.clone());
        registry.register("registry_requests", "Requests to registries by host and class", metrics.requests.clone());
        registry.register("registry_quota_left", "What a registry says is left of its quota", metrics.quota.clone());
        registry.register("webhooks", "Webhooks by sender and result", metrics.webhooks.clone());
        metrics.registry = registry;
        metrics
    }
}

fn of(lane: &str) -> Labels<1> {
    [("lane", lane.to_owned())]
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Metrics {
    /// A pass has ended.
    pub fn ended(&self, lane: &str, pass: Pass, took: Duration, status: &PassStatus) {
        let result = match (&status.error, status.is_good()) {
            (Some(_), _) => "failed",
            (None, true) => "good",
            (None, false) => "partial",
        };
        let labels = [("lane", lane.to_owned()), ("cause", pass.cause.to_string()), ("result", result.to_owned())];
        self.passes.get_or_create(&labels).inc();
        self.seconds.get_or_create(&of(lane)).observe(took.as_secs_f64());
        for (reason, number) in &status.failed_imports {
            let labels = [("lane", lane.to_owned()), ("reason", reason.clone())];
            self.imports.get_or_create(&labels).inc_by(*number as u64);
        }
        if status.error.is_none() {
            self.deferred.get_or_create(&of(lane)).set(count(status.deferred));
            self.errors.get_or_create(&of(lane)).set(count(status.errors));
        }
        if status.is_good() {
            let seconds = status.began.as_second() as f64;
            self.success.get_or_create(&of(lane)).set(seconds);
        }
    }

    /// Streams of the definitions that were read last.
    pub fn streams(&self, lane: &str, number: usize) {
        self.streams.get_or_create(&of(lane)).set(count(number));
    }

    /// Whether this process may write.
    pub fn leads(&self, lane: &str, leads: bool) {
        self.leads.get_or_create(&of(lane)).set(leads.into());
    }

    /// A source was asked.
    pub fn looked(&self, lane: &str, result: &'static str) {
        self.looks.get_or_create(&[("lane", lane.to_owned()), ("result", result.to_owned())]).inc();
    }

    /// The pass that an event led to has ended.
    pub fn answered(&self, lane: &str, since: Timestamp, now: Timestamp) {
        self.lag.get_or_create(&of(lane)).observe(now.duration_since(since).as_secs_f64().max(0.0));
    }

    /// What became of a step.
    pub fn step(&self, lane: &str, kind: &'static str, outcome: &'static str) {
        let labels = [("lane", lane.to_owned()), ("kind", kind.to_owned()), ("outcome", outcome.to_owned())];
        self.steps.get_or_create(&labels).inc();
    }

    /// A commit was applied for the first time.
    pub fn applied(&self, lane: &str, committed: Timestamp, now: Timestamp) {
        self.applied.get_or_create(&of(lane)).observe(now.duration_since(committed).as_secs_f64().max(0.0));
    }

    /// Since when an event waits for a pass to begin.
    pub fn waiting(&self, lane: &str, since: Option<Timestamp>) {
        let seconds = since.map_or(0.0, |since| since.as_millisecond() as f64 / 1000.0);
        self.waiting.get_or_create(&of(lane)).set(seconds);
    }

    /// What registries made of being asked.
    pub fn registries(&self, lane: &str, tally: &Tally) {
        for (host, tally) in &tally.hosts {
            let host = self.host(host);
            for (class, number) in [("answered", tally.answered), ("broken", tally.broken), ("limited", tally.limited)]
            {
                let labels = [("lane", lane.to_owned()), ("host", host.clone()), ("class", class.to_owned())];
                self.requests.get_or_create(&labels).inc_by(number as u64);
            }
            if let Some(left) = tally.left {
                self.quota.get_or_create(&[("host", host)]).set(left as f64);
            }
        }
    }

    /// A host as a label. Definitions name hosts: of very many, the rest have one label.
    fn host(&self, name: &str) -> String {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() < HOSTS {
            hosts.insert(inert(name, 120));
        }
        let name = inert(name, 120);
        if hosts.contains(&name) { name } else { "other".to_owned() }
    }

    /// A webhook came.
    pub fn webhook(&self, sender: &'static str, result: &'static str) {
        self.webhooks.get_or_create(&[("sender", sender.to_owned()), ("result", result.to_owned())]).inc();
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
