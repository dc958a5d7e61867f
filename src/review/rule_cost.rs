//! What a rule may cost at most, found before it is evaluated: the interpreter has no budget of its own.
//!
//! The expression is walked once over what it is about, with sizes in the place of values: a part of the plan has the size that it has, a
//! comprehension costs its step for each element, and what it collects grows by each. So a rule that would take too many steps or
//! bytes is refused, whatever data it is given. The API server of Kubernetes does so, too.

use std::collections::BTreeMap;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators as op,
};
use serde_json::Value as Json;

/// Steps of one rule: some milliseconds each million.
const STEPS: u64 = 20_000_000;
/// Bytes of any value that a rule makes.
const BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that count as one step where a value is gone through or copied.
const BYTES_OF_A_STEP: u64 = 16;
/// Parts of the data that are followed one by one; of more, only the largest size is known.
const PARTS: usize = 100_000;

/// A value, as far as its cost goes.
#[derive(Clone, Debug, Default)]
struct Shape<'d> {
    /// Elements, entries or characters.
    length: u64,
    /// In memory, about.
    bytes: u64,
    /// What it can be, where it is a part of the data.
    parts: Vec<&'d Json>,
    /// What its elements are, where it was made by the rule.
    element: Option<Box<Shape<'d>>>,
}

/// Whether a rule over these variables stays within the budget.
///
/// # Errors
///
/// Which budget it would exceed, in words.
pub(super) fn check(expression: &IdedExpr, variables: &[(&str, &Json)]) -> Result<(), String> {
    let mut walk = Walk { sizes: BTreeMap::new(), names: Vec::new(), steps: 0 };
    for (name, value) in variables {
        let shape = walk.of(vec![value]);
        walk.names.push(((*name).to_owned(), shape));
    }
    walk.shape(expression).map(|_| ())
}

struct Walk<'d> {
    /// Bytes of parts of the data, by their address.
    sizes: BTreeMap<*const Json, u64>,
    names: Vec<(String, Shape<'d>)>,
    steps: u64,
}

impl<'d> Walk<'d> {
    fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > STEPS {
            return Err(format!("it would take more than {STEPS} steps"));
        }
        Ok(())
    }

    /// A value that the rule makes.
    fn made(&mut self, shape: Shape<'d>) -> Result<Shape<'d>, String> {
        if shape.bytes > BYTES {
            return Err(format!("it would make a value of more than {BYTES} bytes"));
        }
        self.spend(1 + shape.bytes / BYTES_OF_A_STEP)?;
        Ok(shape)
    }

    /// Any of these parts of the data.
    fn of(&mut self, mut parts: Vec<&'d Json>) -> Shape<'d> {
        let length = parts.iter().map(|part| length(part)).max().unwrap_or_default();
        let bytes = parts.iter().map(|part| self.size(part)).max().unwrap_or_default();
        if parts.len() > PARTS {
            parts.clear();
        }
        Shape { length, bytes, parts, element: None }
    }

    fn size(&mut self, value: &'d Json) -> u64 {
        if let Some(size) = self.sizes.get(&std::ptr::from_ref(value)) {
            return *size;
        }
        let size = match value {
            Json::String(text) => 32 + text.len() as u64,
            Json::Array(list) => 32 + list.iter().map(|item| self.size(item)).sum::<u64>(),
            Json::Object(map) => {
                32 + map.iter().map(|(key, item)| 64 + key.len() as u64 + self.size(item)).sum::<u64>()
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => 32,
        };
        self.sizes.insert(std::ptr::from_ref(value), size);
        size
    }

    fn shape(&mut self, expression: &IdedExpr) -> Result<Shape<'d>, String> {
        self.spend(1)?;
        match &expression.expr {
            Expr::Ident(name) => {
                let known = self.names.iter().rev().find(|(known, _)| known == name);
                Ok(known.map(|(_, shape)| shape.clone()).unwrap_or_else(scalar))
            }
            Expr::Literal(literal) => self.made(of_literal(literal)),
            Expr::Select(select) => {
                let operand = self.shape(&select.operand)?;
                if select.test {
                    return Ok(scalar());
                }
                self.inside(operand, |value| value.get(&select.field).into_iter().collect())
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(&list.elements),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(made) => self.entries(&made.entries),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Unspecified => Ok(scalar()),
        }
    }

    /// What is inside of a value, by a field, an index or one after the other.
    fn inside(&mut self, outer: Shape<'d>, of: impl Fn(&'d Json) -> Vec<&'d Json>) -> Result<Shape<'d>, String> {
        if outer.parts.is_empty() {
            // Whatever it is, it is no larger than what it is in.
            let none = Shape { length: outer.bytes / 32, bytes: outer.bytes, ..Shape::default() };
            return Ok(outer.element.map_or(none, |element| *element));
        }
        let parts: Vec<&Json> = outer.parts.iter().flat_map(|part| of(part)).collect();
        // Going through the data is this check's own work.
        self.spend(parts.len() as u64 / 8)?;
        Ok(self.of(parts))
    }

    fn elements(&mut self, range: Shape<'d>) -> Result<Shape<'d>, String> {
        if range.parts.iter().any(|part| part.is_object()) {
            // Its keys.
            return Ok(Shape { length: range.bytes, bytes: range.bytes, ..Shape::default() });
        }
        self.inside(range, |value| value.as_array().into_iter().flatten().collect())
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Result<Shape<'d>, String> {
        let (mut bytes, mut element) = (32, Shape::default());
        for item in elements {
            let item = self.shape(item)?;
            bytes = item.bytes.saturating_add(bytes + 32);
            element = either(element, item);
        }
        self.made(Shape { length: elements.len() as u64, bytes, parts: Vec::new(), element: Some(Box::new(element)) })
    }

    fn entries(&mut self, entries: &[IdedEntryExpr]) -> Result<Shape<'d>, String> {
        let (mut bytes, mut element) = (32_u64, Shape::default());
        for entry in entries {
            let value = match &entry.expr {
                EntryExpr::StructField(field) => self.shape(&field.value)?,
                EntryExpr::MapEntry(entry) => {
                    bytes = bytes.saturating_add(self.shape(&entry.key)?.bytes);
                    self.shape(&entry.value)?
                }
            };
            bytes = bytes.saturating_add(value.bytes.saturating_add(64));
            element = either(element, value);
        }
        self.made(Shape { length: entries.len() as u64, bytes, parts: Vec::new(), element: Some(Box::new(element)) })
    }

    fn call(&mut self, call: &CallExpr) -> Result<Shape<'d>, String> {
        let mut given = Vec::new();
        for argument in call.target.iter().map(|target| &**target).chain(&call.args) {
            given.push(self.shape(argument)?);
        }
        let bytes = given.iter().fold(0_u64, |sum, shape| sum.saturating_add(shape.bytes));
        match (call.func_name.as_str(), given.as_slice()) {
            (op::CONDITIONAL, [_, one, other]) => Ok(either(one.clone(), other.clone())),
            (op::INDEX | op::OPT_INDEX, [outer, _]) => self.inside(outer.clone(), |value| match value {
                Json::Array(list) => list.iter().collect(),
                Json::Object(map) => map.values().collect(),
                _ => Vec::new(),
            }),
            (op::ADD, [one, other]) => {
                let length = one.length.saturating_add(other.length);
                let element = [one, other].map(|list| self.elements(list.clone()));
                let [one, other] = element;
                let element = Some(Box::new(either(one?, other?)));
                self.made(Shape { length, bytes, parts: Vec::new(), element })
            }
            // Regular expressions take time by the length of both.
            ("matches", [text, pattern]) => {
                self.spend(text.bytes.saturating_mul(pattern.bytes) / BYTES_OF_A_STEP)?;
                Ok(scalar())
            }
            ("contains" | "startsWith" | "endsWith" | "size" | "type", _)
            | (
                op::EQUALS | op::NOT_EQUALS | op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS | op::IN,
                _,
            ) => {
                self.spend(bytes / BYTES_OF_A_STEP)?;
                Ok(scalar())
            }
            (op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, _) => Ok(scalar()),
            // What any other function makes is no larger than what it is given, with room for numbers as text.
            _ => {
                let bytes = bytes.saturating_mul(2).saturating_add(64);
                self.made(Shape { length: bytes, bytes, ..Shape::default() })
            }
        }
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) -> Result<Shape<'d>, String> {
        let range = self.shape(&it.iter_range)?;
        let times = range.length;
        let element = self.elements(range.clone())?;
        let first = self.shape(&it.accu_init)?;
        let (known, copied) = (self.names.len(), element.bytes);
        self.names.push((it.iter_var.clone(), element.clone()));
        if let Some(second) = &it.iter_var2 {
            // Of a map its values, of a list its elements.
            let value = either(element, Shape { length: range.bytes, bytes: range.bytes, ..Shape::default() });
            self.names.push((second.clone(), value));
        }
        self.names.push((it.accu_var.clone(), first.clone()));
        // One round, and its element copied; what is collected is added to without a copy, so that each round costs the same.
        let before = std::mem::take(&mut self.steps);
        self.spend(copied / BYTES_OF_A_STEP)?;
        self.shape(&it.loop_cond)?;
        let one = self.shape(&it.loop_step)?;
        let cost = std::mem::replace(&mut self.steps, before);
        self.spend(cost.saturating_mul(times))?;
        let grows = |one: u64, first: u64| first.saturating_add(one.saturating_sub(first).saturating_mul(times));
        let last = Shape { length: grows(one.length, first.length), bytes: grows(one.bytes, first.bytes), ..one };
        let last = self.made(last)?;
        if let Some((_, accumulated)) = self.names.last_mut() {
            *accumulated = last;
        }
        let result = self.shape(&it.result)?;
        self.names.truncate(known);
        Ok(result)
    }
}

/// A number, a boolean, nothing.
fn scalar<'d>() -> Shape<'d> {
    Shape { length: 0, bytes: 32, ..Shape::default() }
}

fn of_literal<'d>(literal: &LiteralValue) -> Shape<'d> {
    let length = match literal {
        LiteralValue::String(text) => text.inner().len(),
        LiteralValue::Bytes(bytes) => bytes.inner().len(),
        LiteralValue::Boolean(_)
        | LiteralValue::Double(_)
        | LiteralValue::Int(_)
        | LiteralValue::Null
        | LiteralValue::UInt(_) => 0,
    } as u64;
    Shape { length, bytes: 32 + length, ..Shape::default() }
}

/// One or the other, whichever costs more.
fn either<'d>(mut one: Shape<'d>, other: Shape<'d>) -> Shape<'d> {
    // Where one side is not a part of the data, what is inside of it is not known either.
    let is_data = |shape: &Shape<'_>| !shape.parts.is_empty() || shape.bytes == 0;
    one.parts = match is_data(&one) && is_data(&other) && one.parts.len() + other.parts.len() <= PARTS {
        true => one.parts.into_iter().chain(other.parts).collect(),
        false => Vec::new(),
    };
    one.element = match (one.element, other.element) {
        (Some(one), Some(other)) => Some(Box::new(either(*one, *other))),
        (element, None) | (None, element) => element,
    };
    Shape { length: one.length.max(other.length), bytes: one.bytes.max(other.bytes), ..one }
}

fn length(value: &Json) -> u64 {
    match value {
        Json::String(text) => text.len() as u64,
        Json::Array(list) => list.len() as u64,
        Json::Object(map) => map.len() as u64,
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(steps: usize) -> Json {
        let moves = vec![serde_json::json!({"tag": "app:1", "after": "r.example.com/app@sha256:0123"}); 3];
        let step = serde_json::json!({"id": 1, "action": {"setTag": {"stream": {"namespace": "prod", "name": "a"}}}, "moves": moves});
        serde_json::json!({"steps": vec![step; steps], "target": "store"})
    }

    fn cost(rule: &str, steps: usize) -> Result<(), String> {
        let program = cel::Program::compile(rule).map_err(|error| error.to_string())?;
        check(program.expression(), &[("plan", &data(steps))])
    }

    #[test]
    fn rules_that_people_write_are_within_the_budget() {
        for rule in [
            "plan.steps.size() > 100",
            "plan.steps.exists(s, has(s.action.setTag) && s.action.setTag.stream.namespace == 'prod')",
            "plan.steps.exists(s, s.moves.exists(m, m.after.matches('^r[.]example[.]com/') && !m.after.contains('@')))",
            "plan.steps.filter(s, s.moves.size() > 2).map(s, s.action.setTag.stream.name).exists_one(n, n == 'a')",
            "plan.steps.map(s, s.id).size() == plan.steps.size()",
            "plan.steps.all(s, s.id in [1, 2, 3]) ? plan.target == 'store' : plan.steps[0].moves[0].tag.startsWith('app')",
        ] {
            assert_eq!(cost(rule, 2_000), Ok(()), "{rule}");
        }
    }

    #[test]
    fn rules_that_grow_beyond_measure_are_refused() {
        let list = format!("[{}]", (0..100).map(|at| at.to_string()).collect::<Vec<_>>().join(","));
        let text = "x".repeat(1000);
        for rule in [
            // Lists in lists.
            format!("{list}.map(a, {list}.map(b, {list}.map(c, {list}.map(d, d)))).size() > 0"),
            format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, {list}.all(e, e < 0)))))"),
            format!("{list}.map(a, {list}.map(b, {list}.map(c, '{text}'))).size() > 0"),
            // The plan, for each of its steps, and again.
            "plan.steps.map(s, plan).size() > 0".to_owned(),
            "plan.steps.exists(a, plan.steps.exists(b, plan.steps.exists(c, a.id + b.id + c.id > 7)))".to_owned(),
            // Text that doubles.
            format!("{list}.map(a, plan.steps.map(s, '{text}' + '{text}')).size() > 0"),
        ] {
            let why = cost(&rule, 2_000).expect_err(&rule);
            assert!(why.contains("steps") || why.contains("bytes"), "{why}");
        }
        // The same, of less.
        assert_eq!(cost("plan.steps.map(s, plan).size() > 0", 20), Ok(()));
        assert_eq!(
            cost("plan.steps.exists(a, plan.steps.exists(b, plan.steps.exists(c, a.id + b.id + c.id > 7)))", 20),
            Ok(())
        );
    }
}
