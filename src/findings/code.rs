//! The rules that can be broken, each with a stable code, a severity and a page.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably not what was meant.
    Warning,
    /// The stream it is about is left alone until it is fixed.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Makes the enum and everything known of each code from one table. The page of a code is the file
/// `explain/<CODE>.md`.
macro_rules! codes {
    ($($variant:ident: $id:ident, $name:literal, $severity:ident, $summary:literal;)*) => {
        /// A rule, by its stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(into = "&'static str", try_from = "String")]
        #[schemars(with = "String")]
        pub enum Code {
            $(#[doc = $summary] $variant,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// `SK114`: what is printed, waived and explained.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => stringify!($id),)* }
            }

            /// `guessed-tag-name`: the same for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity when the config says nothing.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// Half a sentence, for lists.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary,)* }
            }

            /// The page that `explain` prints, in Markdown.
            pub fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("explain/", stringify!($id), ".md")),)* }
            }
        }
    };
}

codes! {
    UnreadableFile: SK001, "unreadable-file", Error, "a file cannot be read";
    TooLarge: SK002, "too-large", Error, "a file is larger than the limit";
    NotUtf8: SK003, "not-utf8", Error, "a file is not UTF-8 text";
    Link: SK004, "link", Warning, "a symbolic link is not followed";
    Submodule: SK005, "submodule", Warning, "a submodule is not read";
    UnsafePath: SK006, "unsafe-path", Error, "a path could leave the source";
    TooManyFiles: SK007, "too-many-files", Error, "the source has more files than the limit";
    NotCheckedOut: SK008, "not-checked-out", Warning, "files that Git tracks are not in the work tree";
    PlaceholderFile: SK009, "placeholder-file", Error, "a file that stands for another one: a Git LFS pointer, or encrypted";
    TooLargeSource: SK010, "too-large-source", Error, "the definitions of the source are larger than the limit";
    InvalidSyntax: SK101, "invalid-syntax", Error, "not valid YAML or JSON";
    DuplicateKey: SK103, "duplicate-key", Error, "a key appears twice in one map";
    TooComplex: SK104, "too-complex", Error, "nesting, aliases or documents beyond the limits";
    MergeKey: SK105, "merge-key", Warning, "a merge key is applied, but not every reader knows it";
    KeyCharacter: SK106, "key-character", Error, "a key with white space or control characters in it that look like nothing";
    UnknownField: SK110, "unknown-field", Warning, "a field that OpenShift does not know";
    WrongDepth: SK111, "wrong-depth", Error, "a known field at the wrong depth";
    WrongType: SK112, "wrong-type", Error, "a value of the wrong type";
    MissingName: SK113, "missing-name", Error, "an object or a tag without a name";
    GuessedTagName: SK114, "guessed-tag-name", Error, "a tag name that YAML reads as a number, a date or a boolean";
    ServerField: SK115, "server-field", Info, "a field that the server owns";
    UnknownVersion: SK116, "unknown-version", Error, "an ImageStream of an API version that does not exist";
    NoKind: SK117, "no-kind", Warning, "image streams inside something without a kind";
    UnknownKind: SK118, "unknown-kind", Error, "an object that was most likely meant to be an ImageStream";
    StreamName: SK201, "stream-name", Error, "a stream name that the server refuses";
    TagName: SK202, "tag-name", Error, "a tag name that nobody can use";
    DuplicateTag: SK203, "duplicate-tag", Error, "the same tag twice in one stream";
    DuplicateStream: SK204, "duplicate-stream", Error, "the same stream in two places";
    IncompleteFrom: SK205, "incomplete-from", Error, "`from` without kind or name";
    FromKind: SK206, "from-kind", Error, "`from.kind` is none of the three";
    MalformedReference: SK207, "malformed-reference", Error, "an image reference that does not parse";
    PolicyValue: SK208, "policy-value", Error, "a policy with a value that does not exist";
    RepositoryReference: SK209, "repository-reference", Error, "`dockerImageRepository` with a tag or a digest";
    Placeholder: SK210, "placeholder", Error, "an unexpanded placeholder";
    InvalidLabel: SK211, "invalid-label", Error, "a label or annotation that the server refuses";
    KustomizePatch: SK212, "kustomize-patch", Error, "a patch of kustomize in the place of a whole stream";
    NotBuilt: SK213, "not-built", Warning, "a kustomization changes what is defined, and is not built";
    ScheduledKind: SK220, "scheduled-kind", Error, "`scheduled` on a tag that is not imported";
    ScheduledDigest: SK221, "scheduled-digest", Warning, "`scheduled` on a digest";
    ScheduledReference: SK222, "scheduled-reference", Warning, "`scheduled` together with `reference`";
    InsecureTag: SK223, "insecure-tag", Info, "a tag is imported without verifying TLS";
    InsecureStream: SK224, "insecure-stream", Warning, "the whole stream may be pulled insecurely";
    MovingTag: SK225, "moving-tag", Info, "an upstream tag that moves is neither followed nor pinned";
    FrozenTag: SK226, "frozen-tag", Info, "an upstream tag that never moves";
    NoLocalRegistry: SK227, "no-local-registry", Warning, "`referencePolicy: Local` where there is no registry to be local";
    ImportInterval: SK228, "import-interval", Warning, "an import interval that is not a length of time";
    AliasMissing: SK301, "alias-missing", Error, "an alias to a tag that the stream does not have";
    AliasCircle: SK302, "alias-circle", Error, "an alias to itself or in a circle";
    AliasAcross: SK303, "alias-across", Warning, "an alias to another stream's tag is resolved once";
    ParameterValue: SK402, "parameter-value", Error, "a template parameter without a value";
    ParameterType: SK404, "parameter-type", Error, "`${{NAME}}` with a value that is not JSON";
    TriggerSyntax: SK501, "trigger-syntax", Error, "the trigger annotation cannot be read";
    TriggerQuotes: SK502, "trigger-quotes", Warning, "a field path in single quotes never fires on OpenShift";
    TriggerContainer: SK503, "trigger-container", Error, "a trigger for a container that is not there";
    TriggerTag: SK504, "trigger-tag", Error, "a trigger without `:tag`";
    TriggerKind: SK505, "trigger-kind", Error, "a trigger on something that is not an ImageStreamTag";
    TriggerPaused: SK506, "trigger-paused", Warning, "`paused` as text voids the annotation on OpenShift";
    TriggerWorkload: SK507, "trigger-workload", Warning, "a workload kind that OpenShift's trigger controller ignores";
    TriggerPath: SK508, "trigger-path", Error, "a trigger with a field path that cannot be used";
    TriggerField: SK509, "trigger-field", Warning, "a field that triggers do not have";
    TriggerTarget: SK510, "trigger-target", Warning, "a trigger on a tag that no definition fills";
    TriggerNamespace: SK511, "trigger-namespace", Warning, "a trigger without a namespace, whose stream is defined in another one";
    WaiverUnused: SK601, "waiver-unused", Info, "a waiver that matches nothing";
    WaiverExpired: SK602, "waiver-expired", Warning, "a waiver past its date";
    BecameRoot: SK701, "became-root", Warning, "an image that runs as root takes the place of one that does not";
    EntrypointReplaced: SK702, "entrypoint-replaced", Warning, "the entrypoint of an image is another one";
    PlatformLost: SK703, "platform-lost", Warning, "an image is not there for the platform of the target, or no longer for another";
    OlderImage: SK704, "older-image", Warning, "an image is older than the one it takes the place of";
    NoTime: SK705, "no-time", Info, "an image does not say when it was made";
    SizeJump: SK706, "size-jump", Warning, "an image is much larger than the one before it";
    BaseChanged: SK707, "base-changed", Warning, "an image was made from another base";
    OtherSource: SK708, "other-source", Warning, "an image was made from another source repository";
    AttestationLost: SK709, "attestation-lost", Warning, "an image has lost its attestations";
    Unpinned: SK710, "unpinned", Warning, "a tag that was pinned to a digest is not any more";
    BecameInsecure: SK711, "became-insecure", Warning, "a tag is imported without verifying TLS from now on";
    RemovedInUse: SK712, "removed-in-use", Error, "a tag is removed that something still uses";
    ManyWorkloads: SK713, "many-workloads", Warning, "very many workloads roll out at once";
    NotInspected: SK714, "image-not-inspected", Error, "an image could not be inspected, in whole or in part";
    NewRoot: SK715, "new-root", Info, "a new image runs as root";
    SignatureLost: SK717, "signature-lost", Warning, "an image is not signed any more";
    ConfigKey: SK718, "config-key", Warning, "the change sets a config key that counts only when it is trusted";
    ImageNotFound: SK720, "image-not-found", Error, "an image that is to be imported does not exist";
    AccessDenied: SK721, "access-denied", Error, "the registry gives no access to an image that is to be imported";
    RegistryUnreachable: SK722, "registry-unreachable", Warning, "the registry of an image that is to be imported does not answer";
    RateLimited: SK723, "rate-limited", Warning, "the registry of an image that is to be imported limits the rate of requests";
    MalformedResponse: SK724, "malformed-response", Warning, "the answer of a registry cannot be understood or believed";
    ImportBlocked: SK725, "import-blocked", Error, "policy blocks the import of an image";
    ChangeBlocked: SK727, "change-blocked", Warning, "a change is blocked: the target stays other than the definitions";
    OwnRule: SK716, "own-rule", Warning, "a rule of the config is broken";
}

impl Code {
    /// Whether plans break it, and definitions alone do not.
    pub fn is_of_plans(self) -> bool {
        self.id().starts_with("SK7")
    }

    /// Whether it says why an image is not imported.
    pub fn is_of_imports(self) -> bool {
        use Code::{AccessDenied, ImageNotFound, ImportBlocked, MalformedResponse, RateLimited, RegistryUnreachable};
        matches!(
            self,
            ImageNotFound | AccessDenied | RegistryUnreachable | RateLimited | MalformedResponse | ImportBlocked
        )
    }

    /// Whether its severity cannot be lowered: what could not be looked at may be anything. It can be waived, with a reason.
    pub fn is_fixed(self) -> bool {
        self == Self::NotInspected
    }

    /// Whether what breaks the rule cannot be used at all: it is unread, ambiguous, or the server refuses it. Such a finding
    /// can neither be lowered nor waived.
    pub fn is_binding(self) -> bool {
        use Code::{
            DuplicateKey, DuplicateStream, DuplicateTag, FromKind, GuessedTagName, IncompleteFrom, InvalidLabel,
            InvalidSyntax, KeyCharacter, KustomizePatch, MalformedReference, MissingName, NotUtf8, ParameterType,
            ParameterValue, Placeholder, PlaceholderFile, PolicyValue, RepositoryReference, ScheduledKind, StreamName,
            TooComplex, TooLarge, TooLargeSource, TooManyFiles, UnknownKind, UnknownVersion, UnreadableFile, WrongType,
        };
        matches!(
            self,
            UnreadableFile
                | TooLarge
                | NotUtf8
                | TooManyFiles
                | TooLargeSource
                | PlaceholderFile
                | InvalidSyntax
                | DuplicateKey
                | KeyCharacter
                | TooComplex
                | WrongType
                | MissingName
                | GuessedTagName
                | UnknownVersion
                | UnknownKind
                | StreamName
                | DuplicateTag
                | DuplicateStream
                | KustomizePatch
                | IncompleteFrom
                | FromKind
                | InvalidLabel
                | MalformedReference
                | PolicyValue
                | RepositoryReference
                | Placeholder
                | ScheduledKind
                | ParameterValue
                | ParameterType
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.id())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Takes the code or the name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let same = |code: &&Self| code.id().eq_ignore_ascii_case(text) || code.name().eq_ignore_ascii_case(text);
        Self::ALL.iter().find(same).copied().ok_or_else(|| UnknownCode(crate::source::inert(text, 40)))
    }
}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.id()
    }
}

impl TryFrom<String> for Code {
    type Error = UnknownCode;

    fn try_from(text: String) -> Result<Self, UnknownCode> {
        text.parse()
    }
}

/// The text names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rule is called `{0}`")]
pub struct UnknownCode(String);
