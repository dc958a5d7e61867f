//! Workloads that follow tags, as a table.

use crate::model::{RollImage, WorkloadId};
use crate::source::inert;

use super::names::image;
use super::table::Table;

/// A workload with the images that it is meant to have.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadRow<'a> {
    /// Which one.
    pub id: &'a WorkloadId,
    /// What its triggers give.
    pub images: &'a [RollImage],
    /// Why some trigger gives nothing.
    pub why: Option<&'a str>,
}

/// A line for each image field, and one for what gives no image. `namespaces` adds the column.
pub fn workloads_table(rows: &[WorkloadRow<'_>], namespaces: bool) -> String {
    let mut head = vec!["WORKLOAD", "CONTAINER", "FOLLOWS", "IMAGE", "STATE"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&head);
    let mut row = |id: &WorkloadId, [container, tag, image, state]: [String; 4]| {
        let mut cells = vec![inert(&format!("{}/{}", id.kind, id.name), 300), container, tag, image, state];
        if namespaces {
            cells.insert(0, inert(&id.namespace, 80));
        }
        table.row(cells);
    };
    for WorkloadRow { id, images, why } in rows {
        for RollImage { container, tag, before, after } in *images {
            let state = match before {
                Some(before) if before == after => "as it should be".to_owned(),
                Some(before) => format!("at {}", image(before)),
                None => "never started".to_owned(),
            };
            row(id, [inert(container, 80), inert(&tag.to_string(), 300), image(after), state]);
        }
        if let Some(why) = why {
            row(id, [String::new(), String::new(), String::new(), inert(why, 400)]);
        }
    }
    table.render()
}
