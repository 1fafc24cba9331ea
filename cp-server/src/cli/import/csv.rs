//! CSV as lines of NDJSON.
//!
//! The first row names the fields. An empty cell names no value, so the field stays as it is. A cell
//! of a field that is no string is JSON, such as `25`, `true` or `["emea"]`. A column `metadata.region`
//! sets one member.

use std::io::{BufWriter, Read, Write};

use anyhow::{Context, bail, ensure};
use csv::{ReaderBuilder, Trim};
use serde_json::{Map, Value};

use super::cells;
use crate::lifecycle::import::kind::Kind;

/// The marks that separate the columns of files which are not CSV files here.
const OTHER_SEPARATORS: [char; 3] = [';', '\t', '|'];

/// Writes a line of NDJSON for each row, with the number of the row's line in the file.
pub(super) fn convert(
    mut from: impl Read,
    kind: Option<Kind>,
    to: impl Write,
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    from.read_to_end(&mut text)?;
    // Editors of some systems begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text);
    let columns: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    check(&columns)?;
    let kind_column = columns.iter().position(|name| name == "kind");
    if kind.is_some() == kind_column.is_some() {
        bail!("a CSV file requires either a column `kind` or --kind");
    }
    let (mut to, mut written, mut lines) = (BufWriter::new(to), 1, Lines { text, at: 0, line: 1 });
    for row in reader.records() {
        let row = row.map_err(|error| match error.position() {
            Some(at) => {
                let line = lines.line_of(at.byte());
                anyhow::anyhow!("line {line}: {}", rule_of(&error))
            }
            None => error.into(),
        })?;
        let line = lines.line_of(row.position().map_or(0, csv::Position::byte));
        let kind: Kind = match (kind, kind_column.and_then(|at| row.get(at))) {
            (Some(kind), _) => kind,
            (None, cell) => cell
                .unwrap_or_default()
                .parse()
                .map_err(|rule| anyhow::anyhow!("line {line}: `kind` {rule}"))?,
        };
        // Blank lines keep the numbers of the answers those of the file.
        while written < line {
            to.write_all(b"\n")?;
            written += 1;
        }
        let object = object_of(kind, &columns, &row).with_context(|| format!("line {line}"))?;
        serde_json::to_writer(&mut to, &object)?;
        to.write_all(b"\n")?;
        written += 1;
    }
    Ok(to.flush()?)
}

/// Returns why a row cannot be read.
fn rule_of(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row must have {expected_len} cells, like the first row (got {len})")
        }
        csv::ErrorKind::Utf8 { .. } => "the row must be UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Refuses names of columns that a reader of the file did not mean.
fn check(columns: &[String]) -> anyhow::Result<()> {
    if let [only] = columns
        && let Some(mark) = only.chars().find(|c| OTHER_SEPARATORS.contains(c))
    {
        bail!("the columns must be separated by commas (got {mark:?})");
    }
    for (at, name) in columns.iter().enumerate() {
        // Spreadsheets write empty columns at the end.
        let is_new = name.is_empty() || !columns[..at].contains(name);
        ensure!(is_new, "there are two columns `{name}`");
    }
    Ok(())
}

/// The numbers of the lines. The reader of CSV counts from the end of the row before, and so leaves
/// out the second byte of its CRLF, and blank lines.
struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// Returns the line of the row that begins at this byte, or after line ends that follow it.
    fn line_of(&mut self, byte: u64) -> u64 {
        let start = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.text.get(self.at..start + ends).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = start + ends;
        self.line
    }
}

/// Whether a file begins with a row of names of fields.
pub(super) fn has_header(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    let first = text.trim_start_matches('\u{feff}').lines().find(|line| !line.trim().is_empty());
    let first = first.unwrap_or_default();
    let is_field = |name: &str| {
        let name = name.split('.').next().unwrap_or_default();
        name == "kind" || Kind::ALL.iter().flat_map(|kind| kind.fields()).any(|f| f.name == name)
    };
    let names = first.split([',', ';', '\t', '|']);
    names.map(|name| name.trim().trim_matches('"')).any(is_field)
}

fn object_of(
    kind: Kind,
    columns: &[String],
    row: &csv::StringRecord,
) -> anyhow::Result<Map<String, Value>> {
    let mut object = Map::new();
    object.insert("kind".into(), kind.as_str().into());
    for (column, cell) in columns.iter().zip(row) {
        if cell.is_empty() || column == "kind" {
            continue;
        }
        ensure!(!column.is_empty(), "a cell is in a column without a name");
        let named = |name: &str| kind.fields().iter().find(|field| field.name == name);
        match column.split_once('.') {
            None => {
                object.insert(column.clone(), cells::of_field(named(column), cell));
            }
            Some((name, member)) => {
                let members = object.entry(name).or_insert_with(|| Map::new().into());
                let Some(members) = members.as_object_mut() else {
                    bail!("the columns `{name}` and `{column}` set the same field");
                };
                members.insert(member.to_owned(), cells::of_member(named(name), cell));
            }
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, kind: Option<Kind>) -> String {
        let mut out = Vec::new();
        convert(text.as_bytes(), kind, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_become_values_of_their_fields_and_lines_keep_their_numbers() {
        let text = "\u{feff}external_id,name,metadata.region,metadata.seats\n\
                    42,\"Acme,\nInc\",eu,7\n\
                    43, Globex ,,\n";
        assert_eq!(
            lines(text, Some(Kind::Organization)),
            "\n{\"external_id\":\"42\",\"kind\":\"organization\",\
             \"metadata\":{\"region\":\"eu\",\"seats\":7},\"name\":\"Acme,\\nInc\"}\n\n\
             {\"external_id\":\"43\",\"kind\":\"organization\",\"name\":\"Globex\"}\n"
        );
        let text = "kind,code,name,seat_cap,is_public,features\n\
                    plan,007,7,5,false,\"{\"\"sso\"\": true}\"\n";
        assert_eq!(
            lines(text, None),
            "\n{\"code\":\"007\",\"features\":{\"sso\":true},\"is_public\":false,\
             \"kind\":\"plan\",\"name\":\"7\",\"seat_cap\":5}\n"
        );
    }

    #[test]
    fn rows_keep_their_numbers_with_every_line_end() {
        // Rows are in lines 2, 3 to 4, 7, 8, and 9 to 11. Lines 5, 6 and 12 are blank.
        let text = "external_id,name\na,A\nb,\"B\nb\"\n\n\nc,C\nd,\"\"\ne,\"\nE\n\"\n\nf,F";
        let numbers = |text: &str| -> Vec<(usize, String)> {
            let converted = lines(text, Some(Kind::Organization));
            let rows = converted.lines().enumerate().filter(|(_, line)| !line.is_empty());
            rows.map(|(at, line)| {
                let row: Value = serde_json::from_str(line).unwrap();
                (at + 1, row["external_id"].as_str().unwrap().to_owned())
            })
            .collect()
        };
        let right = [(2, "a"), (3, "b"), (7, "c"), (8, "d"), (9, "e"), (13, "f")];
        let right = right.map(|(line, id)| (line, id.to_owned()));
        for end in ["\n", "\r\n"] {
            for start in ["", "\u{feff}"] {
                for last in ["", end] {
                    let text = format!("{start}{}{last}", text.replace('\n', end));
                    assert_eq!(numbers(&text), right, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn file_without_a_kind_or_with_wrong_columns_is_refused() {
        for (text, kind, why) in [
            ("name\nA\n", None, "either a column `kind` or --kind"),
            ("kind,name\nuser,A\n", Some(Kind::User), "either a column `kind` or --kind"),
            ("kind,name\ncar,A\n", None, "line 2: `kind` must be one of"),
            ("kind,name\r\nuser,A\r\ncar,A\r\n", None, "line 3: `kind` must be one of"),
            ("name,slug\r\nA\r\n", Some(Kind::Organization), "line 2: the row must have 2 cells"),
            ("metadata,metadata.a\n1,2\n", Some(Kind::Organization), "set the same field"),
            ("name, name\nA,B\n", Some(Kind::Organization), "two columns `name`"),
            ("metadata.k,metadata.k\n1,2\n", Some(Kind::Organization), "two columns `metadata.k`"),
            ("kind,kind\nuser,user\n", None, "two columns `kind`"),
            ("kind;name\nuser;A\n", None, "separated by commas (got ';')"),
            ("external_id\tname\na\tA\n", Some(Kind::Organization), "separated by commas"),
            ("name,,\nA,,x\n", Some(Kind::Organization), "line 2: a cell is in a column without"),
        ] {
            let error = convert(text.as_bytes(), kind, Vec::new()).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
        assert_eq!(
            lines("external_id,,\na,,\n", Some(Kind::Organization)),
            "\n{\"external_id\":\"a\",\"kind\":\"organization\"}\n"
        );
    }

    #[test]
    fn header_differs_from_a_line_of_json() {
        for text in ["kind,name\n", "\u{feff}\r\nexternal_id;x\r\n", "x,metadata.a\n", "\"email\""]
        {
            assert!(has_header(text.as_bytes()), "{text}");
        }
        for text in ["", "{\"kind\": \"user\", \"email\": \"a\"}\n", "not json", "[1]\nname,x"] {
            assert!(!has_header(text.as_bytes()), "{text}");
        }
    }
}
