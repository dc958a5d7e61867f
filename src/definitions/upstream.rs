//! What the name of an upstream tag says about whether it moves.

/// Publishers move this tag with every release.
pub(super) fn moves(tag: &str) -> bool {
    matches!(tag, "" | "latest")
}

/// The tag carries a date or a build number: `20240501`, `2024-05-01`, `8.9-1714567890`, `1.14-106`, `v4.1.0-202405010000`.
pub(super) fn is_frozen(tag: &str) -> bool {
    has_date(tag) || has_build(tag)
}

/// A run of digits, or three of them with `-`, `.` or `_` between, that is a day between 2000 and 2099.
fn has_date(tag: &str) -> bool {
    let runs: Vec<&str> = tag.split(|char: char| !char.is_ascii_digit()).collect();
    let day = |year: &str, month: &str, day: &str| {
        let between =
            |text: &str, low: u32, high: u32| text.parse().is_ok_and(|number: u32| (low..=high).contains(&number));
        year.len() == 4
            && month.len() == 2
            && day.len() == 2
            && between(year, 2000, 2099)
            && between(month, 1, 12)
            && between(day, 1, 31)
    };
    runs.iter()
        .any(|run| run.len() >= 8 && run.len() <= 14 && run.len() % 2 == 0 && day(&run[..4], &run[4..6], &run[6..8]))
        || runs.windows(3).any(|three| day(three[0], three[1], three[2]))
}

/// What follows the last `-` is a number: a build of the version before it. One digit alone is more often a variant.
fn has_build(tag: &str) -> bool {
    let Some((version, build)) = tag.rsplit_once('-') else { return false };
    let number = build.split('.').next().unwrap_or_default();
    let is_number = number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && version.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_with_a_date_or_a_build_number_never_move() {
        for tag in [
            "20240501",
            "2024-05-01",
            "8.9-1714567890",
            "1.14-106",
            "v4.1.0-202405010000",
            "1.0-15.1714",
            "x-2024.05.01",
        ] {
            assert!(is_frozen(tag), "{tag}");
        }
        for tag in
            ["latest", "1.2", "1.2.3", "3.11-slim", "v1", "8-jdk", "20249901", "7-1", "1.2-rc1", "python-39", "2024"]
        {
            assert!(!is_frozen(tag), "{tag}");
        }
    }
}
