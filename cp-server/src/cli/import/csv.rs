//! CSV as lines of NDJSON.
//!
//! The first row names the fields. An empty cell names no value, so the field stays as it is. A cell
//! of a field that is no string is JSON, such as `25`, `true` or `["emea"]`. A column `metadata.region`
//! sets one member.

use std::io::{BufWriter, Read, Write};

use anyhow::{Context, bail};
use csv::{ReaderBuilder, Trim};
use serde_json::{Map, Value};

use crate::lifecycle::import::kind::{Field, Kind};

/// Writes a line of NDJSON for each row, with the number of the row's line in the file.
pub(super) fn convert(from: impl Read, kind: Option<Kind>, to: impl Write) -> anyhow::Result<()> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(from);
    let columns: Vec<String> = reader
        .headers()?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let kind_column = columns.iter().position(|name| name == "kind");
    if kind.is_some() == kind_column.is_some() {
        bail!("a CSV file requires either a column `kind` or --kind");
    }
    let (mut to, mut written) = (BufWriter::new(to), 1);
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
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
        match column.split_once('.') {
            None => {
                let field = kind.fields().iter().find(|field| field.name == *column);
                object.insert(column.clone(), value_of(field, cell));
            }
            Some((name, member)) => {
                let members = object.entry(name).or_insert_with(|| Map::new().into());
                let Some(members) = members.as_object_mut() else {
                    bail!("the columns `{name}` and `{column}` set the same field");
                };
                members.insert(member.to_owned(), value_of(None, cell));
            }
        }
    }
    Ok(object)
}

/// Returns the value of a cell. A string stays one where the field has strings.
fn value_of(field: Option<&Field>, cell: &str) -> Value {
    match field {
        Some(field) if field.is_text => cell.into(),
        _ => serde_json::from_str(cell).unwrap_or_else(|_| cell.into()),
    }
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
    fn file_without_a_kind_or_with_uneven_rows_is_refused() {
        for (text, kind, why) in [
            ("name\nA\n", None, "either a column `kind` or --kind"),
            ("kind,name\nuser,A\n", Some(Kind::User), "either a column `kind` or --kind"),
            ("kind,name\ncar,A\n", None, "line 2: `kind` must be one of"),
            ("name,slug\nA\n", Some(Kind::Organization), "found record with 1 fields"),
            ("metadata,metadata.a\n1,2\n", Some(Kind::Organization), "set the same field"),
        ] {
            let error = convert(text.as_bytes(), kind, Vec::new()).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
