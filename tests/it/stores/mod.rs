//! The two stores that this authority stands in for, as thin adapters over its API: their method
//! names, their semantics, and errors in words that say what is missing or in the way.

mod backplane_store;
mod control_plane_store;
mod exports;
mod gauges;

mod windows;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::world::Answer;

/// What a store's method gives: the thing, or why not in the server's words.
type Done = Result<Value, String>;

/// The body of a success, or the detail of the problem.
fn done(answer: Answer) -> Done {
    let body = answer.json();
    match answer.status {
        200..300 => Ok(body),
        _ => Err(body["detail"].as_str().unwrap().to_owned()),
    }
}

/// The same, where a store answers that there is none.
fn found(answer: Answer) -> Option<Value> {
    let is_missing = answer.status == 404;
    (!is_missing).then(|| done(answer).unwrap())
}

/// The whole of a list that fits on a page.
fn items(answer: Answer) -> Vec<Value> {
    let list = done(answer).unwrap();
    assert_eq!(list["next_cursor"], Value::Null);
    list["items"].as_array().unwrap().clone()
}

/// Asserts a refusal whose detail has the word, ignoring case: the stores' users look for it.
#[track_caller]
fn refuses(done: Done, word: &str) {
    let detail = done.unwrap_err();
    assert!(detail.to_lowercase().contains(word), "{detail:?} does not say {word:?}");
}

/// One member of each.
fn each(list: &[Value], member: &str) -> Value {
    list.iter().map(|one| one[member].clone()).collect()
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

/// The instant of a timestamp: their texts do not sort.
fn at(timestamp: &Value) -> DateTime<Utc> {
    timestamp.as_str().unwrap().parse().unwrap()
}

/// An ID of no record.
const UNKNOWN_ID: &str = "01900000-0000-7000-8000-000000000000";

/// With these members set.
fn with(mut body: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A thing's name alone.
fn named(name: &str) -> Value {
    json!({"name": name})
}
