//! Leader election by a Lease (coordination.k8s.io/v1), as client-go does it: who holds it is decided by compare-and-swap, and
//! how long ago it was renewed by when we have seen it change, never by somebody else's clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::model::Identities;
use crate::ports::PortError;
use crate::source::inert;

use super::access::{Connection, Trouble};
use super::request;

/// Annotation of a Lease: the source that it is held for.
const SOURCE: &str = "streamkeeper.io/source";

/// Which Lease, and who we are.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Our name in it; another one for every process.
    pub identity: String,
    /// The source that it is held for. Replicas of one reconciler have the same; a Lease of another source is never taken.
    pub source: Identities,
    /// After so long without renewal, it may be taken.
    pub duration: Duration,
    /// Between two tries, to take or to renew it.
    pub pause: Duration,
}

impl Candidate {
    /// Whoever could not renew it for so long does not write any more: before it can be taken.
    fn deadline(&self) -> Duration {
        self.duration * 2 / 3
    }
}

/// What has been seen of a Lease, and when it was last another one.
#[derive(Debug)]
struct Seen {
    record: Value,
    since: Instant,
}

/// What a look at the Lease comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is ours: to be renewed.
    Renew,
    /// It is nobody's, or its holder has been silent for too long.
    Take,
    /// Somebody else has it.
    Wait,
}

impl Seen {
    /// Takes in what the Lease is now.
    fn look(&mut self, spec: &Value, identity: &str, now: Instant) -> Verdict {
        if self.record != *spec {
            self.record = spec.clone();
            self.since = now;
        }
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let seconds = spec["leaseDurationSeconds"].as_u64().unwrap_or_default();
        if holder == identity {
            Verdict::Renew
        } else if holder.is_empty() || now.duration_since(self.since) >= Duration::from_secs(seconds) {
            Verdict::Take
        } else {
            Verdict::Wait
        }
    }
}

impl Connection {
    /// Stands for election until nobody listens any more; then the Lease is given back. `leads` says whether this process
    /// holds it. `told` hears what goes wrong, once until it changes.
    pub async fn stand(&self, candidate: &Candidate, leads: &watch::Sender<bool>, told: impl Fn(&str)) {
        let mut seen = Seen { record: Value::Null, since: Instant::now() };
        let mut renewed: Option<Instant> = None;
        let mut trouble = String::new();
        // It may still have our name, though we may not write any more.
        let mut is_ours = false;
        loop {
            let tried = Instant::now();
            // Past its time nobody leads, whatever the next try comes to.
            if renewed.is_some_and(|at| at.elapsed() >= candidate.deadline()) {
                renewed = None;
                is_ours = true;
                leads.send_if_modified(|leads| std::mem::replace(leads, false));
            }
            // Who leads has until then to renew it, however long one try would take.
            let left = renewed.and_then(|at| candidate.deadline().checked_sub(at.elapsed()));
            let left = left.filter(|left| !left.is_zero()).unwrap_or(candidate.deadline());
            let result = tokio::time::timeout(left, self.try_lease(candidate, &mut seen)).await;
            let now = match result {
                Ok(Ok(holds)) => {
                    renewed = holds.then_some(tried);
                    is_ours = holds;
                    trouble.clear();
                    holds
                }
                failed => {
                    let why = match failed {
                        Ok(Err(error)) => error.chain(),
                        _ => "the API server does not answer".to_owned(),
                    };
                    if why != trouble {
                        told(&why);
                        trouble = why;
                    }
                    renewed.is_some_and(|at| at.elapsed() < candidate.deadline())
                }
            };
            let left = renewed.map(|at| candidate.deadline().saturating_sub(at.elapsed()));
            leads.send_if_modified(|leads| std::mem::replace(leads, now) != now);
            let pause = left.filter(|_| now).map_or(candidate.pause, |left| left.min(candidate.pause));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = leads.closed() => break,
            }
        }
        if renewed.is_some() || is_ours {
            let _ = tokio::time::timeout(candidate.deadline(), self.give_back(candidate)).await;
        }
    }

    /// One try. Gives whether the Lease is ours now.
    async fn try_lease(&self, candidate: &Candidate, seen: &mut Seen) -> Result<bool, PortError> {
        let failed = |trouble: Trouble| trouble.failed(format!("hold the Lease `{}`", candidate.name));
        let body = match self.send(request::lease(&candidate.namespace, &candidate.name)).await {
            Ok(body) => Some(body),
            Err(Trouble::Refused(refused)) if refused.code == 404 => None,
            Err(trouble) => return Err(failed(trouble)),
        };
        let read = |body: Vec<u8>| serde_json::from_slice(&body).map_err(|error| Trouble::Lost(error.to_string()));
        let lease: Option<Value> = body.map(read).transpose().map_err(failed)?;
        let now = json!(format!("{:.6}", Timestamp::now()));
        let seconds = candidate.duration.as_secs();
        let sent = match lease {
            None => {
                let spec = json!({
                    "holderIdentity": candidate.identity, "leaseDurationSeconds": seconds,
                    "acquireTime": now, "renewTime": now, "leaseTransitions": 0,
                });
                self.send(request::make_lease(
                    &candidate.namespace,
                    &candidate.name,
                    &spec,
                    (SOURCE, &candidate.source.own),
                ))
                .await
            }
            Some(mut lease) => {
                let of = lease["metadata"]["annotations"][SOURCE].as_str().map(|source| inert(source, 300));
                if let Some(other) = of.filter(|source| !candidate.source.include(source)) {
                    let what = format!("the Lease `{}`", candidate.name);
                    let why = format!(
                        "it is held for the source `{other}`, which writes the same target as the same field manager; give each source \
                         a `fieldManager` of its own, or leave it out; if that source is gone, delete the Lease"
                    );
                    return Err(PortError::Unusable { what, why });
                }
                let verdict = seen.look(&lease["spec"], &candidate.identity, Instant::now());
                if verdict == Verdict::Wait {
                    return Ok(false);
                }
                super::wanted::at(&mut lease, &["metadata", "annotations"])
                    .insert(SOURCE.to_owned(), candidate.source.own.as_str().into());
                lease["spec"]["renewTime"] = now.clone();
                lease["spec"]["leaseDurationSeconds"] = seconds.into();
                if verdict == Verdict::Take {
                    let transitions = lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default();
                    lease["spec"]["holderIdentity"] = candidate.identity.as_str().into();
                    lease["spec"]["acquireTime"] = now;
                    lease["spec"]["leaseTransitions"] = (transitions + 1).into();
                }
                // With the version that was read: of two that take it, one is refused.
                self.send(request::write_lease(&candidate.namespace, &candidate.name, &lease)).await
            }
        };
        match sent {
            Ok(_) => Ok(true),
            Err(Trouble::Refused(refused)) if refused.code == 409 => Ok(false),
            Err(trouble) => Err(failed(trouble)),
        }
    }

    /// Whoever waits need not wait until it has run out.
    async fn give_back(&self, candidate: &Candidate) -> Option<()> {
        let body = self.send(request::lease(&candidate.namespace, &candidate.name)).await.ok()?;
        let mut lease: Value = serde_json::from_slice(&body).ok()?;
        if lease["spec"]["holderIdentity"] != *candidate.identity {
            return None;
        }
        lease["spec"]["holderIdentity"] = "".into();
        lease["spec"]["leaseDurationSeconds"] = 1.into();
        self.send(request::write_lease(&candidate.namespace, &candidate.name, &lease)).await.ok().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_was_not_seen_to_change_for_as_long_as_it_lasts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        // Times of others count for nothing: theirs may be years off.
        let held = |renewed: &str| json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed});
        let mut seen = Seen { record: Value::Null, since: start };
        assert_eq!(seen.look(&held("1999"), "me", at(100)), Verdict::Wait, "just seen");
        assert_eq!(seen.look(&held("1999"), "me", at(114)), Verdict::Wait);
        assert_eq!(seen.look(&held("2000"), "me", at(114)), Verdict::Wait, "renewed");
        assert_eq!(seen.look(&held("2000"), "me", at(128)), Verdict::Wait);
        assert_eq!(seen.look(&held("2000"), "me", at(129)), Verdict::Take);
        assert_eq!(seen.look(&json!({"holderIdentity": ""}), "me", at(130)), Verdict::Take, "given back");
        assert_eq!(
            seen.look(&json!({"holderIdentity": "me", "leaseDurationSeconds": 15}), "me", at(900)),
            Verdict::Renew
        );
    }
}
