//! The conformance suite: the vectors in `cp-contracts/vectors/`, which every verifier can run.
//!
//! `UPDATE_VECTORS=1 cargo test -p dp-verifier --test it -- vectors_hold` writes them with new keys. The
//! private keys exist in that process only.

mod claims;
mod clock;
mod documents;
mod files;
mod forms;
mod keys;
mod leases;
mod log;
mod run;
mod status;
mod times;
mod vector;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dp_verifier::ErrorCode;
use serde_json::{Value, json};

use self::vector::Vector;

/// The version of the format, which the README of the vectors describes.
const FORMAT: u64 = 1;

/// The codes that no vector has, and why.
const WITHOUT_VECTOR: [(ErrorCode, &str); 2] = [
    (ErrorCode::NotLogged, "only a log that answers over the network has no entry for a token"),
    (ErrorCode::LogRolledBack, "only a log that answers over the network can be shorter"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cp-contracts/vectors")
}

/// The files of the suite: name, description, vectors.
fn suite() -> Vec<(&'static str, &'static str, Vec<Vector>)> {
    vec![
        ("forms", "The form of a token: segments, encoding, header, signature.", forms::vectors()),
        ("claims", "The claims of a license token.", claims::vectors()),
        ("times", "Times at their exact edges: nbf, iat, exp, leeway, grace.", times::vectors()),
        ("clock", "Clocks that are behind the latest verified document.", clock::vectors()),
        ("status", "Status lists: revocation, suspension, age, refused lists.", status::vectors()),
        (
            "keys",
            "Key sets: refused ones, ignored keys, replaced and missing keys.",
            keys::vectors(),
        ),
        ("files", "License files: trust, order, withdrawn keys, restarts.", files::vectors()),
        ("log", "Proofs that a token is in the issuer's log.", log::vectors()),
        ("leases", "Lease tokens beside their license.", leases::vectors()),
    ]
}

fn write() {
    for (name, about, vectors) in suite() {
        let vectors: Vec<Value> = vectors.into_iter().map(Vector::into_json).collect();
        let file = json!({ "format": FORMAT, "about": about, "vectors": vectors });
        let text = serde_json::to_string_pretty(&file).unwrap() + "\n";
        std::fs::write(folder().join(format!("{name}.json")), text).unwrap();
    }
}

fn read() -> Vec<(String, Value)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let file = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            files.push((name, file));
        }
    }
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    files
}

/// The codes that a vector expects.
fn codes(vector: &Value) -> impl Iterator<Item = &str> {
    let steps = vector["steps"].as_array().unwrap().iter();
    let expected = steps.map(|step| &step["expect"]).chain([&vector["build"]]);
    expected.filter_map(|expect| expect["code"].as_str())
}

#[test]
fn conformance_vectors_hold() {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    if std::env::var("UPDATE_VECTORS").is_ok() {
        write();
    }
    let (mut names, mut seen, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (file, content) in read() {
        assert_eq!(content["format"], FORMAT, "{file}");
        for vector in content["vectors"].as_array().unwrap() {
            let name = vector["name"].as_str().unwrap().to_owned();
            seen.extend(codes(vector).map(str::to_owned));
            if let Err(difference) = run::vector(vector) {
                wrong.push(format!("{file}: {name}: {difference}"));
            }
            assert!(names.insert(name), "{file}: a name is used twice: {vector}");
        }
    }
    assert!(wrong.is_empty(), "{} vectors do not hold:\n{}", wrong.len(), wrong.join("\n"));
    let excused: BTreeSet<_> = WITHOUT_VECTOR.map(|(code, _)| code.to_string()).into();
    let expected: BTreeSet<_> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
    let covered: BTreeSet<_> = seen.union(&excused).cloned().collect();
    assert_eq!(covered, expected, "each code has a vector or a reason");
    assert!(seen.is_disjoint(&excused), "a code with a vector needs no reason");
}

/// The committed files are those of the program: same names, settings and expectations.
#[test]
fn conformance_vectors_are_those_of_the_program() {
    let expectations = |vector: &Value| {
        let steps: Vec<_> = vector["steps"].as_array().unwrap().iter().collect();
        let steps: Vec<_> = steps.iter().map(|step| json!([step["do"], step["expect"]])).collect();
        json!([vector["name"], vector["about"], vector["now"], steps, vector["build"]])
    };
    let committed = read();
    let mut names: Vec<&str> = committed.iter().map(|(name, _)| &**name).collect();
    for (name, about, vectors) in suite() {
        let (_, file) = committed.iter().find(|(file, _)| file == name).unwrap();
        assert_eq!(file["about"], about);
        let file: Vec<_> = file["vectors"].as_array().unwrap().iter().map(expectations).collect();
        let now: Vec<_> = vectors.into_iter().map(|v| expectations(&v.into_json())).collect();
        assert_eq!(file, now, "{name}: run with UPDATE_VECTORS=1");
        names.retain(|other| *other != name);
    }
    assert!(names.is_empty(), "no program writes {names:?}");
}

#[test]
fn conformance_vectors_have_no_private_keys() {
    fn find(value: &Value) {
        match value {
            Value::Object(members) => {
                if members.contains_key("kty") {
                    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                        let text = members.get(name).and_then(Value::as_str).unwrap_or("AQAB");
                        assert_eq!(text, "AQAB", "a private member `{name}`");
                    }
                }
                members.values().for_each(find);
            }
            Value::Array(items) => items.iter().for_each(find),
            _ => {}
        }
    }
    for (_, file) in read() {
        find(&file);
        assert!(!file.to_string().contains("PRIVATE KEY"));
    }
}
