//! What workloads do when tags move: before, and after.

use std::fmt::Write;

use crate::model::{Following, Plan, Report, Roll, RollEffect};
use crate::source::inert;

use super::names::{count, image, reason};
use super::paint::Paint;
use super::table::{cut, fold};

/// The workloads that a plan moves, by what becomes of them, and what could not be looked at.
pub(super) fn rolls_text(out: &mut String, plan: &Plan, paint: Paint) {
    let four = paint.width.map(|width| width.saturating_sub(4));
    for (title, class) in [
        ("Will roll out", 0),
        ("Will build", 1),
        ("Will get the image, and use it later", 2),
        ("Will follow a build, whatever that makes", 4),
        ("Use a tag that is removed", 5),
    ] {
        let rolls: Vec<&Roll> = plan.rolls.iter().filter(|roll| class_of(&roll.effect) == class).collect();
        if rolls.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", paint.bold(title));
        for roll in rolls {
            let why = match &roll.effect {
                RollEffect::Waits { why } => format!(" ({})", inert(why, 200)),
                RollEffect::AfterBuild { build } => format!(" (after {})", inert(&build.to_string(), 200)),
                RollEffect::Loses => format!(" ({})", follows(roll)),
                RollEffect::RollsOut | RollEffect::Builds | RollEffect::Ignores { .. } => String::new(),
            };
            let ours = plan.updates.iter().find(|update| update.workload == roll.workload);
            let ours = ours.map_or(String::new(), |update| format!(" ({})", reason(&update.reason)));
            let _ = writeln!(out, "    {}{ours}{why}", inert(&roll.workload.to_string(), 300));
            for change in &roll.images {
                let line = format!("      {}", image_line(change));
                let _ = writeln!(out, "{}", cut(&line, paint.width));
            }
        }
        out.push('\n');
    }
    let idle = || plan.rolls.iter().filter(|roll| class_of(&roll.effect) == 3);
    if idle().next().is_some() {
        let _ = writeln!(out, "{}", paint.yellow("Meant to follow, and will not"));
        for roll in idle() {
            let RollEffect::Ignores { why } = &roll.effect else { continue };
            let line = format!("{}: {}", inert(&roll.workload.to_string(), 300), inert(why, 400));
            let _ = writeln!(out, "    {}", fold(&line, four, 6));
        }
        out.push('\n');
    }
    if !plan.unseen.is_empty() {
        let _ = writeln!(out, "{}", paint.yellow("Not looked at: what else may follow"));
        for ignorance in &plan.unseen {
            let _ = writeln!(out, "    {}", fold(&inert(&ignorance.to_string(), 600), four, 6));
        }
        out.push('\n');
    }
}

/// A place in the order in which they are shown.
fn class_of(effect: &RollEffect) -> u8 {
    match effect {
        RollEffect::RollsOut => 0,
        RollEffect::Builds => 1,
        RollEffect::Waits { .. } => 2,
        RollEffect::Ignores { .. } => 3,
        RollEffect::AfterBuild { .. } => 4,
        RollEffect::Loses => 5,
    }
}

/// An image that a workload gets: where, from which tag, which replaces which.
pub fn image_line(change: &crate::model::RollImage) -> String {
    let container =
        if change.container.is_empty() { String::new() } else { format!("{}: ", inert(&change.container, 80)) };
    let before = change.before.as_deref().map_or("none".to_owned(), image);
    let tag = inert(&change.tag.to_string(), 300);
    format!("{container}{before} -> {} from {tag}", image(&change.after))
}

/// What becomes of a workload, with the images it gets, for a cell of a table.
pub(super) fn roll_cells(roll: &Roll) -> (String, String) {
    let images: Vec<String> = roll.images.iter().map(image_line).collect();
    match &roll.effect {
        RollEffect::RollsOut => ("rolls out".to_owned(), images.join("; ")),
        RollEffect::Builds => ("builds".to_owned(), images.join("; ")),
        RollEffect::Waits { why } => (format!("gets the image: {}", inert(why, 200)), images.join("; ")),
        RollEffect::AfterBuild { build } => ("follows a build".to_owned(), inert(&build.to_string(), 300)),
        RollEffect::Loses => ("uses a tag that is removed".to_owned(), follows(roll)),
        RollEffect::Ignores { why } => ("does not follow".to_owned(), inert(why, 400)),
    }
}

/// The tags that a workload uses.
fn follows(roll: &Roll) -> String {
    let tags: Vec<String> = roll.follows.iter().take(5).map(|tag| inert(&tag.to_string(), 200)).collect();
    tags.join(", ")
}

/// The part of a plan's line on workloads; empty without any.
pub(super) fn rolls_count(plan: &Plan) -> String {
    let number = |class: u8| plan.rolls.iter().filter(|roll| class_of(&roll.effect) == class).count();
    let mut text = String::new();
    for (number, one, many) in [
        (number(0), "workload rolls out", "workloads roll out"),
        (number(1), "build starts", "builds start"),
        (number(3), "workload does not follow", "workloads do not follow"),
        (number(5), "workload loses a tag", "workloads lose a tag"),
    ] {
        if number > 0 {
            let _ = write!(text, "; {}", count(number, one, many));
        }
    }
    text
}

/// The workloads that are not as planned, each with what to do; then how many are.
pub(super) fn followed_text(out: &mut String, report: &Report, paint: Paint) {
    let four = paint.width.map(|width| width.saturating_sub(4));
    for followed in &report.workloads {
        let (word, why) = match &followed.following {
            Following::HasImage | Following::RolledOut | Following::Builds => continue,
            Following::Behind { container, expected, actual } => {
                let container =
                    if container.is_empty() { String::new() } else { format!("{}: ", inert(container, 80)) };
                let actual = if actual.is_empty() { "none".to_owned() } else { image(actual) };
                let why = format!(
                    "{container}expected {}, has {actual}; look at OpenShift's controllers and at what else writes it",
                    image(expected)
                );
                ("did not follow", why)
            }
            Following::Unfinished { why } => ("unfinished", format!("{}; it goes on by itself", inert(why, 300))),
            Following::Failed { why } => ("failed to roll out", inert(why, 300)),
            Following::Gone => ("gone", "it is no longer there, or follows nothing any more".to_owned()),
            Following::Unknown(ignorance) => ("not looked at", inert(&ignorance.to_string(), 500)),
            Following::NotTried { behind } => ("not waited for", format!("it needs step {behind}")),
        };
        let _ = writeln!(out, "{} {}", paint.red(word), inert(&followed.workload.to_string(), 300));
        let _ = writeln!(out, "    {}", fold(&why, four, 6));
    }
    let good = report.workloads.iter().filter(|followed| followed.following.is_good()).count();
    let rolled = report.workloads.iter().filter(|followed| followed.following == Following::RolledOut).count();
    if good > 0 {
        let word = if rolled > 0 { format!(" ({rolled} rolled out)") } else { String::new() };
        let _ = writeln!(out, "{}{word}", count(good, "workload follows", "workloads follow"));
    }
}
