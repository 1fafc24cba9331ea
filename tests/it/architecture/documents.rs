//! The documents: what is derived from the code, what they must contain, and how they are written.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use clap::{Arg, Args, Command};
use cp_contracts::ProblemCode;
use cp_server::config::Config;
use cp_server::events::types::of_table;
use cp_server::telemetry::families::{FAMILIES, JOBS, LIMITS, LOST};

use super::{is_current, root};

const SETTINGS: &str = "\
# Settings

Each setting is a flag of `cp-server serve` and an environment variable. The flag overrides the variable. A test
generates this page from the definitions that `cp-server serve --help` prints.

- The server removes spaces, line ends and a byte order mark around a value. An empty variable counts as absent.
- Secrets and `CP_DATABASE_URL` are the exception: the server refuses an empty value.
- A secret can also be in a file, which the variable with the suffix `_FILE` names. Only the owner may read that file.
- A span of time is a whole number with `s`, `m`, `h` or `d`, such as `30d`.
- A boolean is `true`, `1`, `yes` or `on`, and `false`, `0`, `no` or `off`.
- A rate is `PER_MINUTE:BURST`, such as `1200:300`, or `off`.

`cp-server help settings` prints the same. Client commands also read `CP_URL`, `CP_TOKEN` and `CP_CA_FILE`: see
[cli.md](cli.md#server).

See [production.md](production.md) for the settings that a new installation needs.
";

/// The sections of the page, each with the beginnings of its variables; the first match decides.
const SECTIONS: [(&str, &[&str]); 9] = [
    ("Address and database", &["CP_LISTEN", "CP_BASE_URL", "CP_DATABASE_"]),
    ("Secrets", &["CP_BOOTSTRAP_", "CP_KEYS_DIR", "CP_KEY_ENCRYPTION_"]),
    ("Signing keys", &["CP_SIGNING_", "CP_KEY_ROTATION", "CP_JWKS_"]),
    (
        "License tokens",
        &["CP_AUDIENCE", "CP_BUNDLE_", "CP_STATUS_", "CP_ON_STALE", "CP_TOKEN_", "CP_LICENSE_KEY_"],
    ),
    ("Retention", &["CP_AUDIT_", "CP_DELETION_"]),
    ("Logins", &["CP_IDENTITY_", "CP_OIDC_", "CP_SESSION_", "ZITADEL_"]),
    ("Logs", &["CP_LOG"]),
    ("Traces", &["OTEL_"]),
    ("Network and rate limits", &["CP_"]),
];

/// A part of a page that a test writes.
pub(super) const GENERATED: [&str; 2] =
    ["<!-- generated: begin -->\n", "<!-- generated: end -->\n"];

/// The pages for people, from the root of the workspace.
pub(super) fn pages() -> Vec<String> {
    let mut found: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "bindings/README.md",
        "cp-contracts/README.md",
        "cp-contracts/vectors/README.md",
        "dp-verifier/README.md",
        "keys/README.md",
    ]
    .map(str::to_owned)
    .into();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            found.push(format!("docs/{name}"));
        }
    }
    found.sort();
    found
}

pub(super) fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn first_sentence(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn settings() -> Vec<Arg> {
    let command = Config::augment_args(Command::new("cp-server"));
    command.get_arguments().filter(|arg| variable(arg).is_some()).cloned().collect()
}

fn settings_page() -> String {
    let section = |name: &str| {
        let is_in = |(_, starts): &(_, &[&str])| starts.iter().any(|start| name.starts_with(start));
        SECTIONS.iter().position(is_in).unwrap_or_else(|| panic!("{name} is in no section"))
    };
    let mut page = SETTINGS.to_owned();
    for (n, (title, _)) in SECTIONS.iter().enumerate() {
        let _ = write!(
            page,
            "\n## {title}\n\n| variable, flag | default | meaning |\n| --- | --- | --- |\n"
        );
        for arg in settings() {
            let name = variable(&arg).unwrap();
            if section(&name) != n {
                continue;
            }
            let flag = arg.get_long().unwrap();
            let default: Vec<_> = match arg.is_hide_default_value_set() {
                true => Vec::new(),
                false => arg
                    .get_default_values()
                    .iter()
                    .map(|text| format!("`{}`", text.display()))
                    .collect(),
            };
            let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            let _ = writeln!(page, "| `{name}` `--{flag}` | {} | {help} |", default.join(" "));
        }
    }
    page
}

/// The page with its generated part as it is now.
pub(super) fn with_generated(page: &str, generated: &str) -> String {
    let text = read(page);
    let [begin, end] = GENERATED;
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{page} has no {begin}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("{page} has no {end}"));
    format!("{before}{begin}\n{generated}\n{end}{after}")
}

fn codes_table() -> String {
    let mut table = "| code | status | title |\n| --- | --- | --- |\n".to_owned();
    for code in ProblemCode::ALL {
        let _ = writeln!(table, "| [`{code}`](#{code}) | {} | {} |", code.status(), code.title());
    }
    table
}

fn operations_table() -> String {
    let table = cp_server::operations().table;
    let resource = |name: &str| name.split('.').next().unwrap_or_default().replace('_', " ");
    let mut resources: Vec<String> = Vec::new();
    for line in &table {
        if !resources.contains(&resource(line.name)) {
            resources.push(resource(line.name));
        }
    }
    let mut text = String::new();
    for one in resources {
        let _ = write!(
            text,
            "\n### {one}\n\n| operation | request | permission | |\n| --- | --- | --- | --- |\n"
        );
        for line in table.iter().filter(|line| resource(line.name) == one) {
            let _ = writeln!(
                text,
                "| `{}` | `{} {}` | {} | {} |",
                line.name,
                line.method,
                line.path,
                line.permission.as_str(),
                first_sentence(line.doc).replace('|', "\\|")
            );
        }
    }
    text.trim_start().to_owned()
}

fn events_table() -> String {
    let mut table = "| type | meaning |\n| --- | --- |\n".to_owned();
    // Another test of this process may need the declarations of the example, too.
    let _ = crate::world::operations().published();
    for one in of_table(&cp_server::operations().table) {
        let _ = writeln!(table, "| `{}` | {} |", one.r#type, one.description.replace('|', "\\|"));
    }
    table
}

#[test]
fn the_committed_table_of_events_is_current() {
    is_current(
        "docs/events.md",
        &with_generated("docs/events.md", &events_table()),
        "the_committed",
    );
}

#[test]
fn the_committed_settings_page_is_current() {
    is_current("docs/settings.md", &settings_page(), "the_committed");
}

#[test]
fn the_committed_table_of_problem_codes_is_current() {
    is_current(
        "docs/errors.md",
        &with_generated("docs/errors.md", &codes_table()),
        "the_committed",
    );
}

fn metrics_table() -> String {
    let mut table = "| family | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (family.name, family.kind.name());
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help);
    }
    table.push_str("\n| label | values |\n| --- | --- |\n");
    for (label, values) in [("kind", &LIMITS[..]), ("reason", &LOST), ("job", &JOBS)] {
        let _ = writeln!(table, "| `{label}` | `{}` |", values.join("`, `"));
    }
    table
}

#[test]
fn the_committed_table_of_metrics_is_current() {
    is_current(
        "docs/metrics.md",
        &with_generated("docs/metrics.md", &metrics_table()),
        "the_committed",
    );
}

#[test]
fn the_alert_rules_use_known_metrics_and_are_in_their_page() {
    let rules = read("deploy/alerts.yml");
    let page = read("docs/metrics.md");
    assert!(page.contains(&format!("```yaml\n{rules}```")), "docs/metrics.md: deploy/alerts.yml");
    assert_eq!(rules.matches("- alert:").count(), 5);
    let names = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in names.filter(|name| name.starts_with("cp_") || name.starts_with("process_")) {
        assert!(FAMILIES.iter().any(|family| family.name == name), "{name} is not a metric");
    }
}

#[test]
fn the_committed_table_of_operations_is_current() {
    is_current("docs/api.md", &with_generated("docs/api.md", &operations_table()), "the_committed");
}

#[test]
fn each_problem_code_has_a_section() {
    let text = read("docs/errors.md");
    let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let codes: Vec<&str> = ProblemCode::ALL.iter().map(ProblemCode::as_str).collect();
    assert_eq!(
        sections, codes,
        "docs/errors.md: a section for each code, in the order of the codes"
    );
    for section in text.split("\n### ").skip(1) {
        assert!(section.lines().filter(|line| !line.trim().is_empty()).count() > 1, "{section}");
    }
}

#[test]
fn the_readme_is_short_and_its_settings_exist() {
    let text = read("README.md");
    assert!(text.lines().count() <= 150, "README.md has {} lines", text.lines().count());
    let known: BTreeSet<String> = settings().iter().filter_map(variable).collect();
    let named = |page: &str| {
        let text = read(page);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned);
        words.filter(|word| word.starts_with("CP_") && word.len() > 3).collect::<Vec<_>>()
    };
    // Variables of commands, of the tests and of the guides' own shells.
    let others = ["CP_URL", "CP_TOKEN", "CP_CA_FILE", "CP_CRASH_ROUNDS"];
    for page in pages()
        .iter()
        .map(String::as_str)
        .chain(["deploy/cp-server.service", "deploy/cp-server.env"])
    {
        for name in named(page) {
            let is_known = known.contains(&name)
                || others.contains(&&*name)
                // The beginning of several, such as CP_OIDC_ in front of a pattern.
                || name.ends_with('_') && known.iter().any(|known| known.starts_with(&name));
            assert!(is_known, "{page}: {name} is not a setting");
        }
    }
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim().chars().filter_map(kept).collect()
}

/// The text with an empty line for each line of a block of code.
pub(super) fn prose(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        if inside || is_fence { "" } else { line }
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[test]
fn links_between_pages_lead_to_a_file_and_a_heading() {
    for page in pages() {
        let text = prose(&read(&page));
        for part in text
            .split("](")
            .skip(1)
            .chain(text.split("src=\"").skip(1))
            .chain(text.split("srcset=\"").skip(1))
        {
            let target = part.split([')', '"', ' ']).next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&page).parent().unwrap();
            let path = if file.is_empty() { page.clone().into() } else { folder.join(file) };
            assert!(root().join(&path).exists(), "{page}: there is no {target}");
            if !heading.is_empty() {
                let there = prose(&std::fs::read_to_string(root().join(&path)).unwrap());
                let headings = there.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|anchor| anchor == heading), "{page}: there is no {target}");
            }
        }
    }
}

#[test]
fn each_page_of_the_documents_is_in_the_index() {
    let index = read("docs/README.md");
    for page in pages() {
        let Some(name) = page.strip_prefix("docs/").filter(|name| *name != "README.md") else {
            continue;
        };
        assert!(index.contains(&format!("]({name}")), "docs/README.md has no link to {name}");
    }
}
