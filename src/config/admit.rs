//! What an untrusted config may set: each key by its class (`x-class` beside the key, see `key_class`).

use serde::Serialize;

use crate::findings::{Code, Severity};
use crate::source::hash_of;

use super::file::{
    Config, FILE_BYTES, FILES, FindingRules, FindingSeverity, LimitConfig, MaxRemovals, PolicyConfig, ReviewConfig,
    TOTAL_BYTES, WORKLOADS,
};

/// Removals that every limit allows when the config does not say: see `RemovalLimit`.
const LEAST_REMOVALS: usize = 5;

/// Likewise, as a part of what is owned, in percent.
const LEAST_SHARE: u8 = 20;

/// A trusted config with what an untrusted one may add to it.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The config that counts.
    pub config: Config,
    /// Keys of the untrusted config that differ from the trusted one and do not count, such as `policy.drift`.
    pub ignored: Vec<&'static str>,
}

/// Merges two configs: free keys are those of `proposed`; keys that may only be tightened have the stricter of both values; all
/// others are those of `trusted`.
pub fn admit(trusted: &Config, proposed: &Config) -> Admitted {
    let mut merge = Merge::default();
    // Named one by one: a new key does not compile until it is put into a class here.
    let Config {
        identity,
        target,
        field_manager,
        previous_identities,
        previous_field_managers,
        import,
        internal_registry,
        pull_secrets,
        namespaces,
        namespace,
        include,
        exclude,
        params,
        limits,
        findings,
        policy,
        review,
        run,
        registries,
        mirrors,
        mirror_files,
        credentials,
        store,
        platform,
    } = proposed;
    let config = Config {
        identity: merge.trusted("identity", &trusted.identity, identity),
        target: merge.trusted("target", &trusted.target, target),
        field_manager: merge.trusted("fieldManager", &trusted.field_manager, field_manager),
        previous_identities: merge.trusted("previousIdentities", &trusted.previous_identities, previous_identities),
        previous_field_managers: merge.trusted(
            "previousFieldManagers",
            &trusted.previous_field_managers,
            previous_field_managers,
        ),
        import: merge.trusted("import", &trusted.import, import),
        internal_registry: merge.trusted("internalRegistry", &trusted.internal_registry, internal_registry),
        pull_secrets: merge.trusted("pullSecrets", &trusted.pull_secrets, pull_secrets),
        namespaces: merge.trusted("namespaces", &trusted.namespaces, namespaces),
        namespace: namespace.clone(),
        include: merge.trusted("include", &trusted.include, include),
        exclude: merge.trusted("exclude", &trusted.exclude, exclude),
        params: params.clone(),
        limits: merge.limits(&trusted.limits, limits),
        findings: merge.findings(&trusted.findings, findings),
        policy: merge.policy(&trusted.policy, policy),
        review: merge.review(&trusted.review, review),
        run: merge.trusted("run", &trusted.run, run),
        registries: merge.trusted("registries", &trusted.registries, registries),
        mirrors: merge.trusted("mirrors", &trusted.mirrors, mirrors),
        mirror_files: merge.trusted("mirrorFiles", &trusted.mirror_files, mirror_files),
        credentials: merge.trusted("credentials", &trusted.credentials, credentials),
        store: merge.trusted("store", &trusted.store, store),
        platform: merge.trusted("platform", &trusted.platform, platform),
    };
    Admitted { config, ignored: merge.ignored }
}

#[derive(Default)]
struct Merge {
    ignored: Vec<&'static str>,
}

impl Merge {
    fn trusted<T: Clone + Serialize>(&mut self, key: &'static str, trusted: &T, proposed: &T) -> T {
        self.counts(key, proposed, trusted.clone())
    }

    /// The value that counts; where it is not the proposed one, the key is noted.
    fn counts<T: Serialize>(&mut self, key: &'static str, proposed: &T, counts: T) -> T {
        let identity = |value: &T| hash_of(1, value, 64);
        // What cannot be identified, as a path that is not UTF-8, is taken for another value.
        if identity(proposed).is_none() || identity(proposed) != identity(&counts) {
            self.ignored.push(key);
        }
        counts
    }

    fn limits(&mut self, trusted: &LimitConfig, proposed: &LimitConfig) -> LimitConfig {
        let LimitConfig { file_bytes, total_bytes, files } = proposed;
        LimitConfig {
            file_bytes: self.counts("limits.fileBytes", file_bytes, least(trusted.file_bytes, *file_bytes, FILE_BYTES)),
            total_bytes: self.counts(
                "limits.totalBytes",
                total_bytes,
                least(trusted.total_bytes, *total_bytes, TOTAL_BYTES),
            ),
            files: self.counts("limits.files", files, least(trusted.files, *files, FILES)),
        }
    }

    fn findings(&mut self, trusted: &FindingRules, proposed: &FindingRules) -> FindingRules {
        let FindingRules { severities, waive } = proposed;
        let mut stricter = trusted.severities.clone();
        for (name, severity) in severities {
            let Ok(code) = name.parse::<Code>() else { continue };
            let known = |(name, severity): (&String, &FindingSeverity)| {
                (name.parse() == Ok(code)).then(|| severity.as_severity())
            };
            let before: Option<Severity> = stricter.iter().find_map(known).unwrap_or(Some(code.severity()));
            if severity.as_severity() > before {
                stricter.retain(|name, _| name.parse() != Ok(code));
                stricter.insert(name.clone(), *severity);
            }
        }
        FindingRules {
            severities: self.counts("findings.severities", severities, stricter),
            waive: self.trusted("findings.waive", &trusted.waive, waive),
        }
    }

    fn review(&mut self, trusted: &ReviewConfig, proposed: &ReviewConfig) -> ReviewConfig {
        let ReviewConfig { max_workloads, rules } = proposed;
        let stricter = least(trusted.max_workloads, *max_workloads, WORKLOADS);
        ReviewConfig {
            max_workloads: self.counts("review.maxWorkloads", max_workloads, stricter),
            rules: self.trusted("review.rules", &trusted.rules, rules),
        }
    }

    fn policy(&mut self, trusted: &PolicyConfig, proposed: &PolicyConfig) -> PolicyConfig {
        let PolicyConfig {
            schedule_interval,
            schedule_bounds,
            check_interval,
            max_removals,
            allow_empty,
            allowed_registries_for_import,
            blocked_registries,
            suspend,
            drift,
            freeze,
            workloads,
            max_images_bulk_imported_per_repository,
        } = proposed;
        // A number and a part cannot be compared: then what is trusted stays.
        let is_less = |limit: &MaxRemovals| match (trusted.max_removals, *limit) {
            (None, MaxRemovals::Count(count)) => count <= LEAST_REMOVALS,
            (None, MaxRemovals::Share(percent)) => percent <= LEAST_SHARE,
            (Some(MaxRemovals::Count(trusted)), MaxRemovals::Count(count)) => count <= trusted,
            (Some(MaxRemovals::Share(trusted)), MaxRemovals::Share(percent)) => percent <= trusted,
            _ => false,
        };
        let removals = max_removals.filter(is_less).or(trusted.max_removals);
        PolicyConfig {
            schedule_interval: self.trusted("policy.scheduleInterval", &trusted.schedule_interval, schedule_interval),
            schedule_bounds: self.trusted("policy.scheduleBounds", &trusted.schedule_bounds, schedule_bounds),
            check_interval: self.trusted("policy.checkInterval", &trusted.check_interval, check_interval),
            max_removals: self.counts("policy.maxRemovals", max_removals, removals),
            allow_empty: self.trusted("policy.allowEmpty", &trusted.allow_empty, allow_empty),
            allowed_registries_for_import: self.trusted(
                "policy.allowedRegistriesForImport",
                &trusted.allowed_registries_for_import,
                allowed_registries_for_import,
            ),
            blocked_registries: self.counts(
                "policy.blockedRegistries",
                blocked_registries,
                both(&trusted.blocked_registries, blocked_registries),
            ),
            suspend: self.counts("policy.suspend", suspend, both(&trusted.suspend, suspend)),
            drift: self.trusted("policy.drift", &trusted.drift, drift),
            freeze: self.counts("policy.freeze", freeze, both(&trusted.freeze, freeze)),
            workloads: self.trusted("policy.workloads", &trusted.workloads, workloads),
            max_images_bulk_imported_per_repository: self.trusted(
                "policy.maxImagesBulkImportedPerRepository",
                &trusted.max_images_bulk_imported_per_repository,
                max_images_bulk_imported_per_repository,
            ),
        }
    }
}

/// The lower limit; `default` is what holds where the trusted config does not say.
fn least<T: Ord + Copy>(trusted: Option<T>, proposed: Option<T>, default: T) -> Option<T> {
    match proposed {
        Some(proposed) if proposed <= trusted.unwrap_or(default) => Some(proposed),
        _ => trusted,
    }
}

/// The items of both lists, in the order of `proposed` where it has all of them.
fn both<T: Clone + Serialize>(trusted: &[T], proposed: &[T]) -> Vec<T> {
    let identity = |item: &T| hash_of(1, item, 64);
    let missing = trusted.iter().filter(|item| proposed.iter().all(|other| identity(other) != identity(item)));
    proposed.iter().chain(missing).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{KeyClass, keys};

    /// Every key with a class of its own: a value that counts in an untrusted config, where there is one, and one that does not.
    const SAMPLES: &[(&str, Option<&str>, Option<&str>)] = &[
        ("identity", None, Some("identity: other")),
        ("target", None, Some("target: kubernetes")),
        ("fieldManager", None, Some("fieldManager: other")),
        ("previousIdentities", None, Some("previousIdentities: [other]")),
        ("previousFieldManagers", None, Some("previousFieldManagers: [other]")),
        ("import", None, Some("import: ours")),
        ("internalRegistry", None, Some("internalRegistry: evil.example.net")),
        ("pullSecrets", None, Some("pullSecrets: true")),
        ("namespaces", None, Some("namespaces: [other]")),
        ("namespace", Some("namespace: shop"), None),
        ("include", None, Some("include: ['a/**']")),
        ("exclude", None, Some("exclude: ['a/**']")),
        ("params", Some("params: {A: b}"), None),
        ("limits.fileBytes", Some("limits: {fileBytes: 1000}"), Some("limits: {fileBytes: 99999999}")),
        ("limits.totalBytes", Some("limits: {totalBytes: 1000}"), Some("limits: {totalBytes: 999999999}")),
        ("limits.files", Some("limits: {files: 10}"), Some("limits: {files: 9999999}")),
        (
            "findings.severities",
            Some("findings: {severities: {SK225: error}}"),
            Some("findings: {severities: {SK701: off}}"),
        ),
        ("findings.waive", None, Some("findings: {waive: [{code: SK701, path: '**', reason: x}]}")),
        ("policy.scheduleInterval", None, Some("policy: {scheduleInterval: 1s}")),
        ("policy.scheduleBounds", None, Some("policy: {scheduleBounds: {least: 1s, most: 2s}}")),
        ("policy.checkInterval", None, Some("policy: {checkInterval: 1s}")),
        ("policy.maxRemovals", Some("policy: {maxRemovals: 1}"), Some("policy: {maxRemovals: 999}")),
        ("policy.allowEmpty", None, Some("policy: {allowEmpty: true}")),
        (
            "policy.allowedRegistriesForImport",
            None,
            Some("policy: {allowedRegistriesForImport: [{domainName: evil.example.net}]}"),
        ),
        ("policy.blockedRegistries", Some("policy: {blockedRegistries: [evil.example.net]}"), None),
        ("policy.suspend", Some("policy: {suspend: ['*']}"), None),
        ("policy.drift", None, Some("policy: {drift: report}")),
        ("policy.freeze", Some("policy: {freeze: [{from: '2026-12-20', to: '2026-12-21', reason: x}]}"), None),
        ("policy.workloads", None, Some("policy: {workloads: {shared: ['*']}}")),
        ("policy.maxImagesBulkImportedPerRepository", None, Some("policy: {maxImagesBulkImportedPerRepository: 999}")),
        ("review.maxWorkloads", Some("review: {maxWorkloads: 1}"), Some("review: {maxWorkloads: 999}")),
        ("review.rules", None, Some("review: {rules: [{name: a, when: 'true', message: b}]}")),
        ("run", None, Some("run: {poll: 1s}")),
        ("registries", None, Some("registries: [{host: h, private: true}]")),
        ("mirrors", None, Some("mirrors: [{source: a, mirrors: [b]}]")),
        ("mirrorFiles", None, Some("mirrorFiles: [a]")),
        ("credentials", None, Some("credentials: [a]")),
        ("store", None, Some("store: a")),
        ("platform", None, Some("platform: linux/arm64")),
    ];

    fn parse(text: &str) -> Config {
        Config::parse(text, "c.yaml", Path::new("")).expect("a config without mistakes")
    }

    fn same(one: &Config, other: &Config) -> bool {
        hash_of(1, one, 64) == hash_of(1, other, 64)
    }

    #[test]
    fn keys_count_by_their_class() {
        let sampled: BTreeSet<&str> = SAMPLES.iter().map(|(key, ..)| *key).collect();
        let keys = keys();
        let declared: BTreeSet<&str> = keys.iter().filter(|key| key.is_declared).map(|key| &*key.path).collect();
        assert_eq!(sampled, declared, "each key with a class has a sample");
        let trusted = Config::default();
        for (key, counts, refused) in SAMPLES {
            let class = keys.iter().find(|it| it.path == *key).and_then(|it| it.class);
            assert_eq!(counts.is_none(), class == Some(KeyClass::TrustedOnly), "{key}");
            if let Some(text) = counts {
                let Admitted { config, ignored } = admit(&trusted, &parse(text));
                assert!(same(&config, &parse(text)) && ignored.is_empty(), "{text}: {ignored:?}");
            }
            if let Some(text) = refused {
                let Admitted { config, ignored } = admit(&trusted, &parse(text));
                assert!(same(&config, &trusted) && ignored == [*key], "{text}: {ignored:?}");
            }
        }
    }

    #[test]
    fn what_a_trusted_config_restricts_stays_restricted() {
        let trusted = parse(
            "limits: {fileBytes: 1000}\nfindings: {severities: {moving-tag: error}}\nreview: {maxWorkloads: 2}\n\
             policy: {maxRemovals: 3, blockedRegistries: [a, b], suspend: [shop]}\n",
        );
        let Admitted { config, ignored } = admit(&trusted, &Config::default());
        assert!(same(&config, &trusted), "{config:?}");
        assert_eq!(ignored.len(), 6, "{ignored:?}");
        let looser = parse(
            "limits: {fileBytes: 2000}\nfindings: {severities: {SK225: warning}}\nreview: {maxWorkloads: 5}\n\
             policy: {maxRemovals: 4, blockedRegistries: [a], suspend: []}\n",
        );
        let Admitted { config, ignored } = admit(&trusted, &looser);
        assert!(config.limits.file_bytes == Some(1000) && config.policy.max_removals == Some(MaxRemovals::Count(3)));
        assert!(config.policy.blocked_registries.len() == 2 && config.findings.severities.len() == 1);
        assert_eq!(ignored.len(), 6, "{ignored:?}");
        let stricter = parse("policy: {maxRemovals: 1, blockedRegistries: [a, c, b], suspend: [shop]}\n");
        let Admitted { config, ignored } = admit(&trusted, &stricter);
        assert_eq!(config.policy.blocked_registries, ["a", "c", "b"]);
        assert_eq!(ignored, ["limits.fileBytes", "findings.severities", "review.maxWorkloads"]);
    }
}
