//! A batch of rows.

use std::fmt;

use anyhow::ensure;
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};

use super::cells::Cell;

/// The maximum number of cells in a batch; SQLite accepts some thirty thousand in one statement.
const CELLS: usize = 8_000;
/// The number of bytes after which a batch is full. Most batches reach [`CELLS`] first.
const BYTES: usize = 4 << 20;

/// Rows of one table.
pub struct Batch {
    cells: Vec<Cell>,
    /// The number of cells in a row.
    width: usize,
    bytes: usize,
}

impl Batch {
    pub fn new(width: usize) -> Self {
        Self { cells: Vec::with_capacity(CELLS), width: width.max(1), bytes: 0 }
    }

    /// Adds a row, a JSON array.
    pub fn read(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let before = self.cells.len();
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        deserializer.deserialize_seq(Row(&mut self.cells))?;
        deserializer.end()?;
        ensure!(self.cells.len() - before == self.width, "it has the wrong number of columns");
        self.bytes += line.len();
        Ok(())
    }

    /// Full batches of short rows have the same number of rows, so SQLite prepares one statement for them.
    pub fn is_full(&self) -> bool {
        self.cells.len() + self.width > CELLS || self.bytes > BYTES
    }

    pub fn len(&self) -> usize {
        self.cells.len() / self.width
    }

    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunks_exact(self.width)
    }

    pub(super) fn into_cells(self) -> Vec<Cell> {
        self.cells
    }
}

/// Appends the cells of a row.
struct Row<'r>(&'r mut Vec<Cell>);

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the values of a row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(cell) = seq.next_element()? {
            self.0.push(cell);
        }
        Ok(())
    }
}
