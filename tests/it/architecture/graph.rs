//! The import graph of a crate: the files, and the names that one file uses and another file
//! defines.
//!
//! # Design
//!
//! An edge leads from a file to the file that *defines* a name, through any number of re-exports:
//! what counts is the code behind the name. So `use crate::Name` is an edge to the file behind the
//! `pub use` in `lib.rs`. A `pub use` is itself an edge, so a facade is above the files that it
//! re-exports. `mod child;` is no edge, and items under `#[cfg(test)]` have none.
//!
//! The engine parses the sources and does not search them for words: it reads grouped imports as
//! the compiler does, and ignores comments and strings. In the tokens of macros it finds paths. It
//! has no type inference, so a method call is no edge, and a cycle through method calls alone stays
//! unseen. A name that a macro has created counts as defined in the file of its module.

mod modules;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;

use self::modules::Crates;

/// The files of a crate, and the edges between them.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Paths below `src`, sorted.
    pub files: Vec<String>,
    /// At most one edge for each pair of files, the first in the text.
    pub edges: Vec<Edge>,
}

/// The use of a name in one file that another file defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// The line in `from`, counted from 1.
    pub line: usize,
    /// The path of the name in `from`.
    pub path: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} uses {} of {}", self.from, self.line, self.path, self.to)
    }
}

impl Graph {
    /// Reads the crates of a `src` directory: `lib.rs`, `main.rs` and the commands in `bin`.
    ///
    /// # Panics
    ///
    /// Panics when a file cannot be read or parsed.
    pub fn of(src: &Path) -> Self {
        let crates = Crates::read(src);
        let mut edges = BTreeSet::new();
        for (from, to, line, path) in paths::uses(&crates) {
            if from != to {
                let [from, to] = [from, to].map(|file| crates.files[file].name.clone());
                edges.insert(Edge { from, to, line, path });
            }
        }
        let mut edges = Vec::from_iter(edges);
        // The edges are sorted by files, and then by line.
        edges.dedup_by(|later, first| (&later.from, &later.to) == (&first.from, &first.to));
        let mut files: Vec<_> = crates.files.into_iter().map(|file| file.name).collect();
        files.sort();
        // The library and a command may share a file.
        files.dedup();
        Self { files, edges }
    }

    /// Returns the graph without a file.
    #[must_use]
    pub fn without(mut self, file: &str) -> Self {
        self.files.retain(|other| other != file);
        self.edges.retain(|edge| edge.from != file && edge.to != file);
        self
    }

    /// Returns the strongly connected components of more than one file, the largest first.
    pub fn cycles(&self) -> Vec<BTreeSet<&str>> {
        let reached: Vec<_> = self.files.iter().map(|file| self.reached_from(file)).collect();
        let mut groups = BTreeSet::new();
        for (file, reached_from_file) in self.files.iter().zip(&reached) {
            let group = self.files.iter().zip(&reached).filter(|(other, reached_from_other)| {
                reached_from_file.contains(&***other) && reached_from_other.contains(&**file)
            });
            let group: BTreeSet<&str> = group.map(|(other, _)| &**other).collect();
            if !group.is_empty() {
                groups.insert(group);
            }
        }
        let mut groups = Vec::from_iter(groups);
        groups.sort_by_key(|group| usize::MAX - group.len());
        groups
    }

    /// Returns the shortest cycle, or `None`.
    pub fn shortest_cycle(&self) -> Option<Vec<&Edge>> {
        self.files.iter().filter_map(|file| self.cycle_through(file)).min_by_key(Vec::len)
    }

    /// Asserts that no file is part of a cycle.
    ///
    /// # Panics
    ///
    /// Panics with the shortest cycle, and with the files of all cycles.
    pub fn assert_acyclic(&self) {
        let Some(cycle) = self.shortest_cycle() else { return };
        let cycle: Vec<String> = cycle.iter().map(|edge| format!("\n  {edge}")).collect();
        panic!("imports form a cycle:{}\nall cycles: {:#?}", cycle.concat(), self.cycles());
    }

    fn edges_of(&self, file: &str) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.from == file)
    }

    fn reached_from(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = self.edges_of(file).map(|edge| &*edge.to).collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(self.edges_of(file).map(|edge| &*edge.to));
            }
        }
        reached
    }

    fn cycle_through(&self, file: &str) -> Option<Vec<&Edge>> {
        let mut seen = BTreeSet::new();
        let mut ways = VecDeque::from([Vec::new()]);
        while let Some(way) = ways.pop_front() {
            let end = way.last().map_or(file, |edge: &&Edge| &*edge.to);
            if end == file && !way.is_empty() {
                return Some(way);
            }
            for edge in self.edges_of(end) {
                if seen.insert(&*edge.to) {
                    ways.push_back([&way[..], &[edge]].concat());
                }
            }
        }
        None
    }
}
