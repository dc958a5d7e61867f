//! Label selectors, as `kubectl get -l` takes them.

use std::collections::BTreeMap;

use super::failure::Failure;

/// What labels must be like: all of it.
pub(super) struct Selector<'a>(Vec<Requirement<'a>>);

enum Requirement<'a> {
    Is(&'a str, &'a str),
    IsNot(&'a str, &'a str),
    Has(&'a str),
    HasNot(&'a str),
}

impl<'a> Selector<'a> {
    /// Reads `key=value`, `key!=value`, `key`, `!key`, with commas between them.
    ///
    /// # Errors
    ///
    /// When a part of it is none of these.
    pub(super) fn parse(text: &'a str) -> Result<Self, Failure> {
        let requirement = |part: &'a str| {
            if part.is_empty() || part.contains(['(', ' ']) {
                let hint = "write `key=value`, `key!=value`, `key` or `!key`, with commas between them";
                return Err(Failure::usage(format!("`{text}` is no label selector")).hint(hint));
            }
            Ok(match (part.split_once("!="), part.split_once("==").or_else(|| part.split_once('='))) {
                (Some((key, value)), _) => Requirement::IsNot(key, value),
                (None, Some((key, value))) => Requirement::Is(key, value),
                (None, None) => part.strip_prefix('!').map_or(Requirement::Has(part), Requirement::HasNot),
            })
        };
        text.split(',').map(|part| requirement(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether labels are like that.
    pub(super) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match *requirement {
            Requirement::Is(key, value) => labels.get(key).is_some_and(|label| label == value),
            Requirement::IsNot(key, value) => labels.get(key).is_none_or(|label| label != value),
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::HasNot(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(selector: &str) -> Option<bool> {
        let labels = [("app", "web"), ("tier", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Selector::parse(selector).ok().map(|selector| selector.fits(&labels.into()))
    }

    #[test]
    fn labels_fit_what_is_asked_of_all_of_them() {
        for yes in ["app=web", "app==web", "app!=api", "other!=x", "app", "!other", "tier=", "app=web, tier,!other"] {
            assert_eq!(fits(yes), Some(true), "{yes}");
        }
        for no in ["app=api", "app!=web", "other", "!app", "other=", "app=web,other"] {
            assert_eq!(fits(no), Some(false), "{no}");
        }
    }

    /// Every part is read, whatever comes of those before it.
    #[test]
    fn what_is_no_selector_is_refused_wherever_it_stands() {
        for bad in ["", "app=web,", "app in (web)", "other=x,app in (web)", "app=web,,tier", "app = web"] {
            assert_eq!(fits(bad), None, "{bad}");
        }
    }
}
