//! All tags of a repository, or nothing: a list cut short is no list.
//!
//! Pages are followed by `Link` (RFC 8288) and by `next` in the body. A page with neither is the last one; since some registries cut a
//! list and do not say so, what follows its last tag is asked for all the same, and counts if there is an answer. A list is compared with what the repository had before: what is missing is asked for by name,
//! and only the registry's own "no" to each makes the shorter list a good one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Cause, Observed};
use crate::openshift::ImageReference;

use super::failure::Failure;
use super::host::Host;
use super::http::{Answer, Ask, Http, Room};
use super::manifests::{absent, good};
use super::wire;

/// A page of tags; the largest known repositories send about 1 MiB.
const PAGE_LIMIT: usize = 4 * 1024 * 1024;
/// Pages of tags; with a hundred tags a page more than any repository has.
const PAGES: usize = 1000;
/// Tags asked for at once. Registries give as many or fewer.
const PAGE: usize = 1000;
/// Tags that are missing and asked for by name in one pass; the next one asks for more.
const MISSING: usize = 20;

/// For all pages of one list together.
const LONGEST: Duration = Duration::from_secs(180);

enum Next {
    Path(String),
    End,
}

impl Http {
    /// Every tag, in the order of the registry.
    pub(super) async fn tags(&self, reference: &ImageReference, host: &Arc<Host>) -> Observed<Vec<String>> {
        let asked = reference.repository();
        let repository = reference.path();
        // Each holds all its tags in memory, twice.
        let Ok(_turn) = self.listings.acquire().await else { return Failure::malformed("closed").of(&asked) };
        let started = Instant::now();
        let mut path = format!("{repository}/tags/list?n={PAGE}");
        let mut tags = Vec::new();
        let mut seen = BTreeSet::new();
        let mut paths = BTreeSet::from([path.clone()]);
        let incomplete = |detail: &str| Failure::new(Cause::Incomplete, detail).of(&asked);
        // The question is one of ours: the registry has said that the list is whole, and refusing the question takes nothing of that back.
        let mut is_extra = false;
        for _ in 0..PAGES {
            if started.elapsed() > LONGEST {
                return incomplete("the list of tags takes too long");
            }
            let ask = Ask { get: true, path: &path, repository: &repository, room: Room::Memory(PAGE_LIMIT) };
            let answer = match self.ask(host, ask).await {
                Ok(answer) if is_extra && !answer.status.is_success() => return Observed::Known(tags),
                Ok(answer) => answer,
                Err(_) if is_extra => return Observed::Known(tags),
                Err(failure) => return failure.of(&asked),
            };
            if absent(&answer) {
                // A repository whose second page is not there is not gone: its list is broken.
                return if tags.is_empty() {
                    Observed::Absent
                } else {
                    incomplete("a page of the list of tags is not there")
                };
            }
            let page = good(answer).and_then(|answer| {
                let page =
                    wire::tags(&answer.bytes).ok_or_else(|| Failure::malformed("the list of tags cannot be read"))?;
                Ok((page, answer))
            });
            let ((page, next), answer) = match page {
                Ok(page) => page,
                Err(_) if is_extra => return Observed::Known(tags),
                Err(failure) => return failure.of(&asked),
            };
            let before = seen.len();
            let last = page.last().cloned();
            for tag in page {
                if seen.insert(tag.clone()) {
                    tags.push(tag);
                }
                if tags.len() > wire::TAGS {
                    return incomplete("the list of tags does not end");
                }
            }
            let is_new = seen.len() > before;
            let link = match answer.headers.get(reqwest::header::LINK).map(|value| value.to_str()) {
                Some(Err(_)) => return incomplete("where the next page of tags is cannot be read"),
                Some(Ok(link)) => wire::next_page(link).map(str::to_owned),
                None => None,
            };
            let next = link.or(next);
            is_extra = next.is_none();
            let next = match next {
                Some(_) if !is_new => return incomplete("the list of tags repeats a page"),
                Some(next) => match same_host(&answer, &next) {
                    Some(path) => Next::Path(path),
                    None => return Failure::new(Cause::Refused, "the next page of tags is on another host").of(&asked),
                },
                // One that ignores `last` repeats itself, and has no more.
                None => match last.filter(|_| is_new) {
                    Some(last) => Next::Path(format!("{repository}/tags/list?n={PAGE}&last={last}")),
                    None => Next::End,
                },
            };
            match next {
                Next::End => return Observed::Known(tags),
                Next::Path(next) if paths.insert(next.clone()) => path = next,
                Next::Path(_) => return incomplete("the list of tags goes in a circle"),
            }
        }
        incomplete("the list of tags does not end")
    }

    /// Compares a list with what was there before: tags that have vanished must be gone by the registry's own word. Gives what is
    /// known to be there, and which tags of that are not listed any more: they are neither imported nor removed.
    pub(super) async fn confirm(
        &self,
        reference: &ImageReference,
        host: &Arc<Host>,
        tags: &[String],
        before: &BTreeSet<String>,
    ) -> (BTreeSet<String>, Vec<String>) {
        let listed: BTreeSet<String> = tags.iter().cloned().collect();
        let missing: Vec<&String> = before.difference(&listed).collect();
        let mut known = listed.clone();
        let mut unsure = Vec::new();
        for (at, tag) in missing.iter().enumerate() {
            let one = ImageReference { tag: (*tag).clone(), digest: None, ..reference.clone() };
            let is_gone = at < MISSING && matches!(self.head(&one, host).await, Ok(None));
            if !is_gone {
                known.insert((*tag).clone());
                unsure.push((*tag).clone());
            }
        }
        (known, unsure)
    }
}

/// The path of the next page after `/v2/`, if it is where this one came from.
pub(super) fn same_host(answer: &Answer, next: &str) -> Option<String> {
    let next = answer.url.join(next).ok().filter(|next| next.origin() == answer.url.origin())?;
    let path = next.path().strip_prefix("/v2/")?;
    Some(next.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
}
