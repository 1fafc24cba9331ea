//! Every form makes the change of its operation, and shows each refusal at its entry.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::Line;
use serde_json::{Value, json};

use super::form::{Control, Form, Kind, refusal_at};
use super::generated::{form_of, lines};
use super::{Browser, sound};
use crate::backup::rows;
use crate::sweep::examples::{self, Example, prepare};
use crate::world::zitadel::Zitadel;
use crate::world::{Client, ROOT, World, on_both};

/// Another world on the same database.
async fn twin(world: &World) -> World {
    match world.app.db.writes_alone() {
        true => World::on_sqlite().await,
        false => World::on_postgres().await.expect("it was there"),
    }
}

/// What a change left: the rows that are new, and those that are no longer there.
type Left = BTreeMap<String, [BTreeSet<String>; 2]>;

type Rows = BTreeMap<String, Vec<String>>;

fn left(before: &Rows, after: &Rows) -> Left {
    let mut left = Left::new();
    for (table, rows) in after {
        // The key of a form is its own, and hashes of the log follow from its events.
        if ["idempotency_keys", "log_hashes", "log_tree"].contains(&&**table) {
            continue;
        }
        let set = |rows: &[String]| rows.iter().map(|row| without_times_of_use(row)).collect();
        let (was, is): (BTreeSet<_>, BTreeSet<_>) = (set(&before[table]), set(rows));
        if was != is {
            let both =
                [is.difference(&was).cloned().collect(), was.difference(&is).cloned().collect()];
            left.insert(table.clone(), both);
        }
    }
    left
}

/// The server writes the last use of a credential now and then.
fn without_times_of_use(row: &str) -> String {
    let mut row: Value = serde_json::from_str(row).unwrap();
    row.as_object_mut().unwrap().remove("last_used_at");
    row.to_string()
}

/// What is left of two changes that create a key each: its random numbers are the system's.
fn numbers(left: &Left) -> Vec<(&str, [usize; 2])> {
    left.iter().map(|(table, rows)| (&**table, rows.each_ref().map(BTreeSet::len))).collect()
}

/// A request that succeeds, as a person enters it: no entry stands for an empty object.
fn example(world: &World, line: &Line) -> Example {
    let mut example = examples::example(world, line);
    if line.name == "entitlements.update" {
        example.body = Some(json!({"features": {"sso": true}}));
    }
    example
}

/// The input of the example of a line, also that of its query string.
fn input(world: &World, line: &Line) -> Value {
    let example = example(world, line);
    let query = example.query.trim_start_matches('?').as_bytes();
    let pairs = url::form_urlencoded::parse(query).into_owned();
    let query: serde_json::Map<String, Value> =
        pairs.map(|(name, value)| (name, Value::from(value))).collect();
    let mut input = example.body.unwrap_or(Value::Object(query));
    if let Some(members) = input.as_object_mut() {
        // A button of its own asks what would change.
        members.remove("dry_run");
        if line.name.starts_with("service_tokens.create") {
            // The form proposes an end.
            members.insert("expires_at".to_owned(), Value::Null);
        }
    }
    input
}

/// The platform; the person of the line, where it is for its person alone.
fn caller(world: &World, line: &Line, platform: Client) -> Client {
    let subject = match (line.name, line.exposure) {
        ("sessions.end", _) => "auth0|olga-acme",
        (_, Exposure::Own) => "auth0|mats-acme",
        _ => return platform,
    };
    platform.person(&world.app, world.login(subject))
}

/// Calls the operation of a line. Returns what it left.
async fn by_api(world: &World, line: &Line) -> Left {
    let _server = prepare(world, line).await;
    // As many requests as for a form: random numbers are those of their place in the order.
    form_of(world, line).await;
    world.get("/me").await.expect(200);
    world.pass(TimeDelta::milliseconds(1));
    let before = rows(&world.app.db).await;
    let example = example(world, line);
    let path = world.path_of(line) + &example.query;
    let caller = caller(world, line, world.root());
    let answer = caller.call(line.method.clone(), &path, example.body).await;
    assert!(answer.status < 300, "{}: {}", line.name, answer.text());
    left(&before, &rows(&world.app.db).await)
}

/// The beginning of what a page says about a refusal.
fn alert(page: &str) -> String {
    page.split("role=\"alert\"").nth(1).unwrap_or(page).chars().take(500).collect()
}

/// Sends the form of a line. Returns what it left; `None` for a line without a form.
async fn by_form(world: &World, line: &Line) -> Option<Result<Left, String>> {
    let _server = prepare(world, line).await;
    let path = form_of(world, line).await?;
    world.get("/me").await.expect(200);
    // Another server shows the form: the random numbers of this one are those of a call.
    let (_, other) = world.replica().await;
    let shown = Browser::new(caller(world, line, other.token(ROOT))).get(&path).await;
    world.pass(TimeDelta::milliseconds(1));
    let mut form = Form::of(&sound(&shown, 200));
    form.fill(&input(world, line));
    if !form.missing.is_empty() {
        return Some(Err(format!("{} has no entries {:?}", line.name, form.missing)));
    }
    let before = rows(&world.app.db).await;
    let browser = Browser::new(caller(world, line, world.root()));
    let done = browser.post(form.action(), &form.pairs()).await;
    if ![200, 303].contains(&done.status) {
        return Some(Err(format!("{} {}: {}", line.name, done.status, alert(&done.text()))));
    }
    Some(Ok(left(&before, &rows(&world.app.db).await)))
}

#[on_both]
async fn form_leaves_the_rows_and_the_event_of_a_call(world: World) {
    let (mut differing, mut without, mut compared) = (Vec::new(), Vec::new(), 0);
    for line in lines().filter(|line| !line.reads()) {
        let there = twin(&world).await;
        let form = Box::pin(by_form(&there, &line)).await;
        drop(there);
        let Some(form) = form else {
            without.push(line.name);
            continue;
        };
        let here = twin(&world).await;
        let call = Box::pin(by_api(&here, &line)).await;
        drop(here);
        match form {
            Err(refusal) => differing.push(refusal),
            Ok(form)
                if ["keys.create", "keys.rotate", "webhooks.test"].contains(&line.name)
                    && numbers(&form) == numbers(&call) =>
            {
                compared += 1;
            }
            Ok(form) if form != call => {
                let only = |one: &Left, other: &Left| {
                    let mut one = one.clone();
                    one.retain(|table, rows| other.get(table) != Some(rows));
                    one
                };
                let (form, call) = (only(&form, &call), only(&call, &form));
                differing.push(format!("{}: form {form:#?} call {call:#?}", line.name));
            }
            Ok(_) => compared += 1,
        }
    }
    assert!(differing.is_empty(), "{}\n{without:?}", differing.join("\n"));
    assert!(compared > 100, "{compared}, {without:?}");
}

/// A value that no operation accepts.
fn refused_value(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Text | Kind::Lines => Some("x".repeat(20_000)),
        Kind::Number => Some("many".to_owned()),
        Kind::Words(_) => Some("no-such-word".to_owned()),
        // A box has two states.
        Kind::Flag => None,
    }
}

/// Entries for which the operations accept any string.
const FREE: [&str; 4] = ["confirm", "token", "passphrase", "/name"];

/// A form whose entries are to be refused, one after the other.
struct Trial {
    world: World,
    _server: Option<Zitadel>,
    page: String,
    events: i64,
}

impl Trial {
    async fn begin(world: &World, line: &Line) -> Option<Self> {
        let world = twin(world).await;
        let server = prepare(&world, line).await;
        let path = form_of(&world, line).await?;
        let browser = Browser::new(caller(&world, line, world.root()));
        let page = sound(&browser.get(&path).await, 200);
        let events = world.count_events().await;
        Some(Self { world, _server: server, page, events })
    }

    /// Sends the form with this value. Returns what is wrong with the answer.
    async fn send(&self, line: &Line, name: &str, value: &str) -> Result<(), String> {
        let mut form = Form::of(&self.page);
        form.fill(&input(&self.world, line));
        form.enter(name, &json!(value));
        let browser = Browser::new(caller(&self.world, line, self.world.root()));
        let answer = browser.post(form.action(), &form.pairs()).await;
        let page = answer.text();
        let wrong = |what: &str| Err(format!("{} {name}: {what} {}", line.name, alert(&page)));
        if answer.status < 400 {
            return wrong("accepted");
        }
        if self.world.count_events().await != self.events {
            return wrong("changed something");
        }
        let entry = name.strip_suffix("/0/name").unwrap_or(name);
        // What does not exist, or is too large as a whole, is refused without an entry.
        let is_whole = matches!(answer.status, 404 | 413) && page.contains("role=\"alert\"");
        match refusal_at(&page, entry) {
            Some(_) => Ok(()),
            None if is_whole => Ok(()),
            None => wrong(&answer.status.to_string()),
        }
    }
}

#[on_both]
async fn form_shows_each_refusal_at_its_entry(world: World) {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for line in lines().filter(|line| !line.reads()) {
        let Some(mut trial) = Trial::begin(&world, &line).await else { continue };
        for Control { name, kind } in Form::of(&trial.page).controls {
            // The name of a first row stands for its rows.
            let is_row = name.ends_with("/kind") || name.ends_with("/value");
            if is_row || name.ends_with("/name") && !name.ends_with("/0/name") {
                continue;
            }
            let Some(value) = refused_value(&kind) else { continue };
            tried += 1;
            let Err(what) = trial.send(&line, &name, &value).await else { continue };
            let is_accepted = what.contains(": accepted");
            if !(is_accepted && FREE.iter().any(|end| name.ends_with(end))) {
                wrong.push(what);
            }
            if is_accepted || trial.world.count_events().await != trial.events {
                // What it changed is in the way of the other entries.
                trial = Trial::begin(&world, &line).await.expect("it was there before");
            }
        }
    }
    assert!(wrong.is_empty(), "{tried} tried, {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 400, "{tried}");
}
