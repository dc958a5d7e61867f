//! A plan as Markdown, for a comment on a pull request.

use std::fmt::Write;

use crate::model::{Action, Move, Plan};
use crate::text::inert;

use super::names::{image, reason, wait};
use super::plan::plan_line;
use super::rolls::roll_cells;

/// Comments on GitHub hold 65,536 characters; what is left over is for whoever puts the plan into a frame of their own.
const LIMIT: usize = 60_000;

/// A plan as tables. One that would not fit into a comment is cut after whole rows, and says so.
pub fn plan_markdown(plan: &Plan) -> String {
    let mut out = format!("### {}\n\n", code_free(&plan_line(plan)));
    let mut rows = Vec::new();
    for step in &plan.steps {
        let what = match &step.action {
            Action::CreateStream { tags, .. } => format!("create stream with {} tags", tags.len()),
            Action::UpdateStream { .. } => "change stream".to_owned(),
            Action::SetTag { before: None, after, .. } => format!("add tag {}", code(&after.name)),
            Action::SetTag { after, .. } => format!("change tag {}", code(&after.name)),
            Action::Follow { tag, source, .. } => format!("move {} with {}", code(tag), code(&source.to_string())),
            Action::Import { images, .. } => {
                let tags: Vec<String> = images.iter().map(|item| code(&item.tag)).collect();
                format!("import {}", tags.join(", "))
            }
            Action::DeleteTag { tag, .. } => format!("**remove** tag {}", code(tag)),
            Action::DeleteStream { .. } => "**remove** stream".to_owned(),
        };
        let stream = code(&step.action.stream().to_string());
        let place =
            step.origin.as_ref().map_or(String::new(), |origin| code(&format!("{}:{}", origin.path, origin.line)));
        rows.push(format!("| {stream} | {what} | {} | {place} |\n", code_free(&reason(&step.reason))));
        for Move { tag, before, after } in &step.moves {
            let shown =
                |image_: &Option<String>| image_.as_deref().map_or("none".to_owned(), |spec| code(&image(spec)));
            rows.push(format!("| | {} | {} → {} | |\n", code(tag), shown(before), shown(after)));
        }
    }
    table(&mut out, "| Stream | Step | Why | Where |\n| --- | --- | --- | --- |\n", &rows);
    let rolls: Vec<String> = plan
        .rolls
        .iter()
        .map(|roll| {
            let (what, images) = roll_cells(roll);
            format!("| {} | {} | {} |\n", code(&roll.workload.to_string()), code_free(&what), code_free(&images))
        })
        .chain(plan.unseen.iter().map(|unseen| format!("| | not looked at | {} |\n", code_free(&unseen.to_string()))))
        .collect();
    table(&mut out, "| Workload | | Images |\n| --- | --- | --- |\n", &rolls);
    let waiting: Vec<String> = plan
        .deferred
        .iter()
        .map(|deferred| {
            let tag = deferred.tag.as_deref().map_or(String::new(), |tag| format!(":{tag}"));
            let kind = if deferred.wait.is_note() { "behind" } else { "waits" };
            format!(
                "| {} | {kind} | {} |\n",
                code(&format!("{}{tag}", deferred.stream)),
                code_free(&wait(&deferred.wait))
            )
        })
        .collect();
    table(&mut out, "| Tag | | Why |\n| --- | --- | --- |\n", &waiting);
    out
}

fn table(out: &mut String, head: &str, rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    out.push_str(head);
    for (at, row) in rows.iter().enumerate() {
        if out.len() + row.len() > LIMIT {
            let _ = writeln!(out, "\n_{} more rows are not shown here._", rows.len() - at);
            return;
        }
        out.push_str(row);
    }
    out.push('\n');
}

/// Text from outside as code: nothing in it is markup, mentions nobody and loads nothing.
fn code(text: &str) -> String {
    // A pipe ends a cell even inside code; a backtick ends the code.
    let text = inert(text, 300).replace('|', "\\|").replace('`', "'");
    format!("`{text}`")
}

/// Words of ours that may hold text from outside: what could be markup is escaped.
fn code_free(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in inert(text, 600).chars() {
        match char {
            // A backslash keeps none of these from their work: mentions, tags, entities.
            '@' | '<' | '>' | '&' => out.push_str(&format!("&#{};", u32::from(char))),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push('\\');
                out.push(char);
            }
            char => out.push(char),
        }
    }
    // Bare addresses become links.
    out.replace("://", ":&#47;&#47;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_no_markup() {
        assert_eq!(code("a`b|c\u{1b}"), "`a'b\\|c\\u{1b}`");
        let evil = code_free("@team ![x](https://evil/x.png) <img src=x>");
        for bad in ["@team", "![x]", "https://", "<img"] {
            assert!(!evil.contains(bad), "{bad} in {evil}");
        }
    }
}
