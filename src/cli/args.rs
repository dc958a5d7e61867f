//! The grammar of the command line.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{Interval, MaxRemovals, TargetConfig};
use crate::findings::Severity;
use crate::model::is_plan_id;
use crate::reconcile::PlanOptions;

/// Keeps OpenShift image streams what Git says they are.
#[derive(Clone, Debug, Parser)]
#[command(name = "streamkeeper", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Colour on terminals, always, or never.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, env = "STREAMKEEPER_COLOR")]
    pub color: Color,

    /// Say only what was asked for, and errors.
    #[arg(long, short, global = true, env = "STREAMKEEPER_QUIET", value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,

    /// Config file, trusted. Default: `streamkeeper.yaml` at the root of the source; `streamkeeper schema docs` lists its keys, and
    /// which of them count in a config that is not trusted.
    #[arg(long, global = true, value_name = "FILE", env = "STREAMKEEPER_CONFIG")]
    pub config: Option<PathBuf>,

    /// Trust the config of this branch, tag or commit of the source.
    #[arg(long, global = true, value_name = "REV", env = "STREAMKEEPER_CONFIG_REVISION", conflicts_with = "config")]
    pub config_revision: Option<String>,

    /// Do not trust the config that lies in the source: a key that only a trusted config may set is refused.
    #[arg(long, global = true)]
    pub untrusted: bool,

    /// The source's own config is trusted, as `run.sources` says.
    #[arg(skip)]
    pub trusted: bool,

    /// Directory of the embedded store. Default: `store` of the trusted config; otherwise `.streamkeeper` in a source that is a
    /// directory; otherwise a directory of this source in `$XDG_STATE_HOME/streamkeeper/stores`.
    #[arg(long, global = true, value_name = "DIR", env = "STREAMKEEPER_STORE")]
    pub store: Option<PathBuf>,

    /// Directory of caches. Default: `$XDG_CACHE_HOME/streamkeeper`, or `~/.cache/streamkeeper`.
    #[arg(long, global = true, value_name = "DIR", env = "STREAMKEEPER_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Definitions: a directory, a Git work tree, a bare repository, a URL (https, ssh, file) or `user@host:path`. Default: the nearest directory from
    /// the current one upwards that has a config or a store, otherwise the current one.
    #[arg(long, short, global = true, value_name = "PATH|URL", default_value = "", hide_default_value = true)]
    #[arg(env = "STREAMKEEPER_SOURCE")]
    pub source: String,

    /// Read this branch, tag or commit from Git objects instead of the files on disk.
    #[arg(long, short, global = true, value_name = "REV", env = "STREAMKEEPER_REVISION")]
    pub revision: Option<String>,

    /// What is kept what Git says: the embedded store, or an OpenShift cluster; `auto` asks the cluster what it is.
    #[arg(long, global = true, value_enum, env = "STREAMKEEPER_TARGET")]
    pub target: Option<TargetConfig>,

    /// Context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// Kubeconfig to read instead of `KUBECONFIG` and `~/.kube/config`.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Act on the cluster as this user.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,

    /// Let the kubeconfig start a program to log in.
    #[arg(long, global = true)]
    pub allow_exec: bool,

    /// How long the cluster may be silent, such as `30s`; 5 minutes when it is not given, since imports take their time.
    #[arg(long, global = true, value_name = "DURATION")]
    pub request_timeout: Option<Interval>,

    /// Namespace: of definitions that name none, and of names given here.
    #[arg(long, short, global = true, value_name = "NAME", env = "STREAMKEEPER_NAMESPACE")]
    pub namespace: Option<String>,

    /// Only files that match this pattern; may be given several times.
    #[arg(long, global = true, value_name = "GLOB")]
    pub include: Vec<String>,

    /// No files that match this pattern; may be given several times.
    #[arg(long, global = true, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Value of a template parameter; may be given several times.
    #[arg(long = "param", global = true, value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check definitions: syntax, fields, rules, references. Needs no network.
    Validate(Validate),
    /// Show what would change.
    Plan(Plan),
    /// Change what differs: carry out a saved plan, or plan, ask and carry out.
    Apply(Apply),
    /// Show a saved plan, in any format. Nobody is asked anything.
    Show(Show),
    /// Keep at it: follow the source, the target and the registries until told to stop.
    Run(Run),
    /// Show what a `run` somewhere does.
    Status(Status),
    /// List streams or tags.
    Get(Get),
    /// Show a stream, or the image of a tag, in full.
    Describe(Describe),
    /// Show who changed a stream or tag, when, because of which commit.
    History(History),
    /// Explain a finding's code, or why a tag is where it is.
    Explain(Explain),
    /// Make a cluster that is not OpenShift ready.
    Install(Install),
    /// Print the JSON Schema of a file format.
    Schema(Schema),
    /// Print a completion script for a shell.
    Completion(Completion),
    /// Print the manual page, or write all of them to a folder.
    Man(Man),
}

/// `validate`
#[derive(Clone, Debug, ClapArgs)]
pub struct Validate {
    /// Files and folders; by default the source.
    pub paths: Vec<PathBuf>,
    /// How to show findings.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = FindingsFormat::Text)]
    pub format: FindingsFormat,
    /// Warnings refuse as errors do.
    #[arg(long)]
    pub strict: bool,
    /// Also ask the registries whether each image can be imported. Needs the network.
    #[arg(long)]
    pub registries: bool,
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FindingsFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For the lines of a pull request on GitHub.
    Github,
    /// For GitLab's code quality report.
    Gitlab,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit's XML.
    Junit,
}

/// What planning takes, for `plan` and `apply`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Planning {
    /// Import these again although they are not due: `STREAM` or `STREAM:TAG`; without a name, everything.
    #[arg(long, value_name = "STREAM[:TAG]", num_args = 0..)]
    pub refresh: Option<Vec<String>>,
    /// How many tags one run may remove, as a number or such as `10%`; by default a fifth of what is owned, at least 5.
    #[arg(long, value_name = "N|N%", env = "STREAMKEEPER_MAX_REMOVALS")]
    pub max_removals: Option<MaxRemovals>,
    /// Let a source without any stream remove everything.
    #[arg(long)]
    pub allow_empty: bool,
    /// Let removals follow from reading another part of the source than last time.
    #[arg(long)]
    pub change_scope: bool,
    /// Change things although the config has a freeze now.
    #[arg(long)]
    pub ignore_freeze: bool,
    /// Stop at any finding that is a warning or an error.
    #[arg(long)]
    pub strict: bool,
    /// On a cluster: who is asked what upstream tags are now.
    #[arg(long, value_enum, default_value_t = Resolve::Registries)]
    pub resolve: Resolve,
    /// On a cluster: take over tags that another manager applies.
    #[arg(long)]
    pub force_conflicts: bool,
}

impl Planning {
    /// What of it a session works by.
    pub fn options(&self) -> PlanOptions {
        let Self {
            refresh,
            max_removals,
            allow_empty,
            change_scope,
            ignore_freeze,
            strict,
            resolve: _,
            force_conflicts,
        } = self.clone();
        PlanOptions { refresh, max_removals, allow_empty, change_scope, ignore_freeze, strict, force_conflicts }
    }
}

/// Who is asked what upstream tags are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Resolve {
    /// The registries, from here.
    #[default]
    Registries,
    /// The cluster, which asks them: for images that only it can reach.
    Cluster,
}

/// `plan`
#[derive(Clone, Debug, ClapArgs)]
pub struct Plan {
    /// What to look at and how far to go.
    #[command(flatten)]
    pub planning: Planning,
    /// Save the plan, to be applied as it is.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// With `--out`: authenticate the plan with the key in this file (HMAC-SHA256), so that `apply --key-file` knows it again.
    #[arg(long, value_name = "FILE", requires = "out")]
    pub key_file: Option<PathBuf>,
    /// How to show the plan.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// Compare with this branch, tag or commit: what the definitions changed since they parted, and what of the plan is due to it.
    #[arg(long, value_name = "REV")]
    pub base: Option<String>,
    /// With `--base`: read this revision from Git objects, as `--revision` does.
    #[arg(long, value_name = "REV", requires = "base", conflicts_with = "revision")]
    pub head: Option<String>,
    /// With `--base`: compare the definitions alone. Neither a target nor a registry is asked, and no login is read.
    #[arg(long, requires = "base", conflicts_with_all = ["out", "why"])]
    pub definitions_only: bool,
    /// Look also for signatures and attestations of images that change: some more requests for each.
    #[arg(long)]
    pub signatures: bool,
    /// Compare also the packages (apk, dpkg, rpm) that images have installed: the layers of both sides are downloaded.
    #[arg(long)]
    pub packages: bool,
    /// Workloads and builds that follow, as `oc get deploy,sts,ds,cronjob,dc,bc -A -o json` has saved them, instead of those of the
    /// target or the source.
    #[arg(long, value_name = "FILE", conflicts_with = "definitions_only")]
    pub workloads: Option<PathBuf>,
    /// Exit with 3 when the plan has a risk that is at least so bad, and nobody answers for it.
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    pub fail_on: Option<Severity>,
    /// Also show where Git and the target differ without anything to do, with the rule that makes them equal.
    #[arg(long)]
    pub why: bool,
    /// Exit with 2 when there is something to do.
    #[arg(long)]
    pub exit_code: bool,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    Text,
    /// For a comment on a pull request.
    Markdown,
    /// What will roll, and what is copied and removed, as a Mermaid diagram for Markdown.
    Mermaid,
    /// For programs.
    Json,
    /// What is risky, for the lines of a pull request on GitHub.
    Github,
    /// What is risky, for GitLab's code quality report.
    Gitlab,
    /// What is risky, in SARIF 2.1.0.
    Sarif,
    /// Steps and risks as test cases, in JUnit's XML.
    Junit,
}

/// `show`
#[derive(Clone, Debug, ClapArgs)]
pub struct Show {
    /// A plan saved by `plan --out`.
    pub plan: PathBuf,
    /// Refuse it unless it was authenticated with the key in this file.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// How to show it.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// Exit with 3 when the plan has a risk that is at least so bad, and nobody answers for it.
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    pub fail_on: Option<Severity>,
}

/// `apply`
#[derive(Clone, Debug, ClapArgs)]
pub struct Apply {
    /// A plan saved by `plan --out`: exactly that is done, without asking.
    pub plan: Option<PathBuf>,
    /// What to look at and how far to go.
    #[command(flatten)]
    pub planning: Planning,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    /// Plan again, and apply only if the result is the plan of this id, which `plan` prints; exit code 4 otherwise. Scheduled moves and
    /// corrections of drift are not part of the id and not applied. Does not ask.
    #[arg(long, value_name = "PLAN_ID", conflicts_with = "plan", value_parser = plan_id)]
    pub expect: Option<String>,
    /// With a saved plan: refuse it unless it was authenticated with the key in this file. The digests of such a plan count as they
    /// are; those of any other are asked for again.
    #[arg(long, value_name = "FILE", requires = "plan")]
    pub key_file: Option<PathBuf>,
    /// With a saved plan: apply it although its definitions cannot be read, so that it is checked against policy and ownership alone.
    #[arg(long, requires = "plan")]
    pub unverified: bool,
    /// With a saved plan: look first whether all of it can still be done, and do nothing unless it can.
    #[arg(long, requires = "plan")]
    pub all_or_nothing: bool,
    /// On a cluster: wait until the workloads that follow have rolled out, at most so long (5m); otherwise it is only looked
    /// whether they get their images.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "5m", require_equals = true)]
    pub wait: Option<Interval>,
    /// On the store: write the images that tags have into the files of the workloads that follow them, to be committed.
    #[arg(long, conflicts_with = "plan")]
    pub write_workloads: bool,
    /// How to show the report.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `run`
#[derive(Clone, Debug, ClapArgs)]
pub struct Run {
    /// How far to go.
    #[command(flatten)]
    pub planning: Planning,
    /// Between two looks at a source behind a URL; 1 minute when it is not given.
    #[arg(long, value_name = "DURATION")]
    pub poll: Option<Interval>,
    /// Where to answer about health, metrics and status, and to take webhooks, such as `127.0.0.1:8080`.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// `status`
#[derive(Clone, Debug, ClapArgs)]
pub struct Status {
    /// Where it listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "STREAMKEEPER_URL")]
    pub url: String,
    /// File with the bearer token that it wants.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How to show it.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// `get`
#[derive(Clone, Debug, ClapArgs)]
pub struct Get {
    /// What to list, then names: `is` for streams (the default), `istag` for tags, `workloads` for what follows them; `STREAM`,
    /// `NAMESPACE/STREAM`, for tags also `STREAM:TAG`.
    #[arg(value_name = "KIND|NAME")]
    pub what: Vec<String>,
    /// How to show them.
    #[arg(long, short, visible_alias = "format", value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// All namespaces, whatever `--namespace` says.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Only streams with these labels: `key=value`, `key!=value`, `key`, `!key`, with commas between them.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Tables without a line of headers.
    #[arg(long)]
    pub no_headers: bool,
}

impl Get {
    /// What is listed: what the first word says, otherwise streams.
    pub fn resource(&self) -> Resource {
        self.kind().unwrap_or(Resource::Is)
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.what[usize::from(self.kind().is_some())..]
    }

    fn kind(&self) -> Option<Resource> {
        self.what.first().and_then(|word| Resource::from_str(word, true).ok())
    }
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resource {
    /// Streams.
    #[value(aliases = ["imagestream", "imagestreams"])]
    Is,
    /// Tags that have an image.
    #[value(aliases = ["imagestreamtag", "imagestreamtags", "tags"])]
    Istag,
    /// Workloads that follow tags, with the images that they are meant to have: those of the source on the store, otherwise
    /// those of the cluster.
    #[value(alias = "workload")]
    Workloads,
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names alone.
    Name,
}

/// `describe`
#[derive(Clone, Debug, ClapArgs)]
pub struct Describe {
    /// `STREAM`, or `STREAM:TAG` for its image; either with `NAMESPACE/` before it.
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// `history`
#[derive(Clone, Debug, ClapArgs)]
pub struct History {
    /// `STREAM` or `STREAM:TAG`, with or without a namespace.
    pub name: String,
    /// How many changes, newest first.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// How to show them.
    #[arg(long, short = 'o', visible_alias = "output", value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// `explain`
#[derive(Clone, Debug, ClapArgs)]
pub struct Explain {
    /// A code such as `SK114`, or a tag such as `shop/ruby:3.3`; without it, all codes.
    pub what: Option<String>,
}

/// `install`
#[derive(Clone, Debug, ClapArgs)]
pub struct Install {
    /// `crd`: the custom resource for image streams.
    #[arg(value_enum)]
    pub what: Installed,
}

/// What can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Installed {
    /// The CustomResourceDefinition (`schema crd` prints it).
    Crd,
}

/// `schema`
#[derive(Clone, Debug, ClapArgs)]
pub struct Schema {
    /// Which format.
    #[arg(value_enum)]
    pub name: SchemaName,
}

/// File formats that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum SchemaName {
    /// `streamkeeper.yaml`.
    Config,
    /// The CustomResourceDefinition for clusters that are not OpenShift.
    Crd,
    /// ImageStream definitions.
    Definitions,
    /// Findings as JSON.
    Findings,
    /// Saved plans.
    Plan,
    /// Reports as JSON.
    Report,
    /// What `run` answers at `/api/v1/status`.
    Status,
    /// The keys of `streamkeeper.yaml` with their classes, as a page in Markdown.
    Docs,
}

/// `completion`
#[derive(Clone, Debug, ClapArgs)]
pub struct Completion {
    /// Which shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `man`
#[derive(Clone, Debug, ClapArgs)]
pub struct Man {
    /// Write the page of every command into this folder.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The grammar, for completions and manual pages.
pub fn command() -> clap::Command {
    Args::command()
}

/// From which severity on a risk refuses.
fn severities() -> impl TypedValueParser<Value = Severity> {
    let values = [("error", "Only errors"), ("warning", "Warnings as well"), ("info", "Anything")];
    let values = values.map(|(word, help)| PossibleValue::new(word).help(help));
    PossibleValuesParser::new(values).map(|word| match word.as_str() {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    })
}

/// The id of a plan, whole and of this version.
fn plan_id(given: &str) -> Result<String, String> {
    if is_plan_id(given) {
        return Ok(given.to_owned());
    }
    Err("it is not the id of a plan of this version; `streamkeeper plan` prints the id: `p1-` and 32 hexadecimal digits".to_owned())
}
