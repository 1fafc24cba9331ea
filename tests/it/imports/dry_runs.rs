//! A dry run reports exactly what the import would do, and changes nothing.

use cp_server::licensing::leases::hours;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::{import, import_as, of_each_kind, refusal, statuses};
use crate::world::{World, on_both};

/// The number of generated files, and the most lines of one.
const FILES: usize = 12;
const LINES: usize = 40;

/// Names of few, so that lines refer to each other, repeat each other and contradict each other.
fn name(prefix: &'static str, most: u8) -> impl Strategy<Value = String> {
    (0..most).prop_map(move |n| format!("{prefix}{n}"))
}

fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop::option::of(value.boxed()).boxed()
}

fn line() -> BoxedStrategy<Value> {
    let seats = || (0..6_i64).prop_map(Value::from);
    let object = |kind: &'static str, members: Vec<(&'static str, Option<Value>)>| {
        let mut line = json!({"kind": kind});
        for (name, value) in members {
            if let Some(value) = value {
                line[name] = value;
            }
        }
        line
    };
    let plan = (name("p", 2), maybe(name("Plan ", 2).prop_map(Value::from)), maybe(seats()))
        .prop_map(move |(code, name, seats)| {
            let leasing = json!({"machines": {"kind": "node", "cap": seats.clone()}});
            let leasing = seats.is_some().then_some(leasing);
            object(
                "plan",
                vec![
                    ("code", Some(code.into())),
                    ("name", name),
                    ("seat_cap", seats),
                    ("leasing", leasing),
                ],
            )
        });
    let organization = (
        name("o", 3),
        maybe(name("Org ", 2).prop_map(Value::from)),
        maybe(name("s", 2).prop_map(Value::from)),
    )
        .prop_map(move |(id, name, slug)| {
            let members = vec![("external_id", Some(id.into())), ("name", name), ("slug", slug)];
            object("organization", members)
        });
    let user = (name("u", 3), maybe(name("x", 2).prop_map(Value::from))).prop_map(
        move |(user, external_id)| {
            let email = format!("{user}@example.com");
            object("user", vec![("email", Some(email.into())), ("external_id", external_id)])
        },
    );
    let membership =
        (name("o", 3), name("u", 3), any::<bool>()).prop_map(move |(org, user, admin)| {
            let role = if admin { "admin" } else { "member" };
            let members = vec![
                ("organization", Some(org.into())),
                ("user", Some(format!("{user}@example.com").into())),
                ("role", Some(role.into())),
            ];
            object("membership", members)
        });
    let subscription =
        (name("o", 3), name("s", 2), maybe(name("p", 2).prop_map(Value::from)), maybe(seats()))
            .prop_map(move |(org, id, plan, seats)| {
                let members = vec![
                    ("organization", Some(org.into())),
                    ("external_id", Some(id.into())),
                    ("plan", plan),
                    ("seat_cap", seats),
                ];
                object("subscription", members)
            });
    let deployment = (name("o", 3), name("d", 2), maybe(name("Dep ", 2).prop_map(Value::from)))
        .prop_map(move |(org, id, name)| {
            let members = vec![
                ("organization", Some(org.into())),
                ("external_id", Some(id.into())),
                ("name", name),
            ];
            object("deployment", members)
        });
    let license = (name("o", 3), name("d", 2), maybe(seats())).prop_map(move |(org, id, seats)| {
        let members = vec![
            ("organization", Some(org.into())),
            ("deployment", Some(id.into())),
            ("seat_cap", seats),
        ];
        object("license", members)
    });
    let key =
        (name("o", 3), name("d", 2), name("LEGACY-KEY-", 3)).prop_map(move |(org, id, key)| {
            let members = vec![
                ("organization", Some(org.into())),
                ("deployment", Some(id.into())),
                ("key", Some(key.into())),
            ];
            object("license_key", members)
        });
    let lease =
        (name("o", 3), name("d", 2), name("host-", 4)).prop_map(move |(org, id, machine)| {
            let members = vec![
                ("organization", Some(org.into())),
                ("deployment", Some(id.into())),
                ("pool", Some("machines".into())),
                ("machine", Some(machine.into())),
            ];
            object("lease", members)
        });
    prop_oneof![
        2 => plan, 3 => organization, 2 => user, 2 => membership, 3 => subscription,
        3 => deployment, 3 => license, 2 => key, 2 => lease,
        1 => Just(json!({"kind": "organization", "extrnal_id": "o1"})),
    ]
    .boxed()
}

/// Answers without the IDs of objects: those of a dry run are never created.
fn without_ids(answers: Vec<Value>) -> Vec<Value> {
    let without = |mut answer: Value| {
        answer.as_object_mut().unwrap().remove("id");
        for holder in answer
            .pointer_mut("/problem/holders")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            holder["lease_id"] = Value::Null;
        }
        answer
    };
    answers.into_iter().map(without).collect()
}

#[on_both]
async fn dry_run_reports_what_the_import_does(world: World) {
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let file = prop::collection::vec(line(), 1..LINES);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..FILES {
        let lines = file.new_tree(&mut runner).unwrap().current();
        let events = world.count_events().await;
        let (dry, dry_summary) = import_as(&world, "?dry_run=true", &lines).await;
        assert_eq!(world.count_events().await, events);
        let (done, mut summary) = import(&world, &lines).await;
        assert!(dry.iter().all(|answer| answer["id"].is_null()), "{dry:#?}");
        let both = without_ids(dry.clone()).into_iter().zip(without_ids(done.clone()));
        for (line, (dry, done)) in lines.iter().zip(both) {
            assert_eq!(dry, done, "{line}");
        }
        assert_eq!(dry.len(), lines.len());
        assert_eq!(dry_summary["dry_run"], true);
        summary["dry_run"] = true.into();
        assert_eq!(dry_summary, summary);
        for status in statuses(&done) {
            *seen.entry(status.to_owned()).or_insert(0) += 1;
        }
    }
    // The generator reaches each outcome.
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["created", "refused", "unchanged", "updated"]);
    assert!(seen["created"] > 20 && seen["updated"] > 5, "{seen:?}");
}

#[on_both]
async fn dry_run_leaves_nothing_and_sees_the_lines_before(world: World) {
    let (dry, summary) = import_as(&world, "?dry_run=true", &of_each_kind()).await;
    assert!(dry.iter().all(|answer| answer["status"] == "created"), "{dry:#?}");
    assert!(dry.iter().all(|answer| answer["id"].is_null()), "{dry:#?}");
    assert_eq!(summary["created"], 11);
    world.get("/plans/moved").await.refused(404, "not_found");
    let (_, summary) = import(&world, &of_each_kind()).await;
    assert_eq!(summary["created"], 11);
}

/// A refusal is counted by the hour, and announced.
#[on_both]
async fn refusals_of_a_dry_run_are_not_counted(world: World) {
    let mut lines = of_each_kind();
    let lease = |machine: &str| {
        json!({
            "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "machines",
            "machine": machine,
        })
    };
    lines.extend([lease("host-2")]);
    import(&world, &lines).await;
    let refused = async || {
        hours::flush(&world.app).await.unwrap();
        world
            .value::<i64>("SELECT CAST(COALESCE(SUM(refused), 0) AS BIGINT) FROM lease_hours")
            .await
    };
    let (answers, _) = import_as(&world, "?dry_run=true", &[lease("host-3")]).await;
    assert_eq!(refusal(&answers[0]).0, "seats_exhausted");
    assert_eq!(refused().await, 0);
    let (answers, _) = import(&world, &[lease("host-3")]).await;
    assert_eq!(refusal(&answers[0]).0, "seats_exhausted");
    assert_eq!(refused().await, 1);
}

#[on_both]
async fn dry_run_of_many_lines_sees_the_transactions_before(world: World) {
    let mut lines = of_each_kind();
    let deployment = |n| {
        let id = format!("many-{n}");
        json!({"kind": "deployment", "organization": "crm-1", "external_id": id, "name": id})
    };
    lines.extend((0..1000).map(deployment));
    lines.push(json!({"kind": "license", "organization": "crm-1", "deployment": "many-0"}));
    lines.push(json!({"kind": "license", "organization": "crm-1", "deployment": "many-1000"}));
    let (dry, summary) = import_as(&world, "?dry_run=true", &lines).await;
    assert_eq!((&summary["created"], &summary["refused"]), (&json!(1012), &json!(1)));
    let (done, _) = import(&world, &lines).await;
    assert_eq!(without_ids(dry), without_ids(done));
}

#[tokio::test]
async fn dry_run_on_sqlite_leaves_the_writer_and_no_file() {
    let world = World::on_sqlite().await;
    // Held by another change for the whole dry run.
    let writer = world.app.db.begin().await.unwrap();
    let (_, summary) = import_as(&world, "?dry_run=true", &of_each_kind()).await;
    assert_eq!(summary["created"], 11);
    drop(writer);
    let file: String = world.value("SELECT file FROM pragma_database_list").await;
    assert_eq!(copies(&file), [""; 0]);
}

/// The copies beside the database.
fn copies(file: &str) -> Vec<String> {
    let folder = std::path::Path::new(file).parent().unwrap();
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".copy")).collect()
}

/// A process that was killed left a copy, under the name that this one would choose.
#[tokio::test]
async fn left_copies_on_sqlite_are_removed_and_those_in_use_stay() {
    let world = World::on_sqlite().await;
    let file: String = world.value("SELECT file FROM pragma_database_list").await;
    let copy = |number: u64| format!("{file}.{}-{number}.copy", std::process::id());
    for number in 0..200 {
        std::fs::write(copy(number), "left").unwrap();
    }
    let used = std::fs::File::open(copy(7)).unwrap();
    used.lock().unwrap();
    std::fs::write(format!("{file}-other.copy"), "of someone else").unwrap();
    let (_, summary) = import_as(&world, "?dry_run=true", &of_each_kind()).await;
    assert_eq!(summary["created"], 11);
    let mut left = copies(&file);
    left.sort();
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let mut kept = [name(&copy(7)), name(&format!("{file}-other.copy"))];
    kept.sort();
    assert_eq!(left, kept);
}
