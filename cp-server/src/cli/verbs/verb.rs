//! A verb: the operations of a command, and how their fields become arguments.

/// A command that is an operation.
pub(in crate::cli) struct Verb {
    pub(super) noun: &'static str,
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// The operations. The first one whose path is given is called.
    pub(super) operations: &'static [&'static str],
    /// Positional arguments: the field and its name in help.
    pub(super) positionals: Vec<(&'static str, &'static str)>,
    /// Flags of path parameters: the field and its flag.
    pub(super) renamed: Vec<(&'static str, &'static str)>,
    pub(super) defaults: Vec<(&'static str, &'static str)>,
    /// Flags without a value: the flag, the field and the field's value.
    pub(super) switches: Vec<(&'static str, &'static str, &'static str)>,
    pub(super) without: &'static [&'static str],
}

impl Verb {
    pub(super) fn new(
        words: &'static str,
        about: &'static str,
        operations: &'static [&'static str],
        positionals: &[(&'static str, &'static str)],
    ) -> Self {
        let (noun, name) = words.rsplit_once(' ').unwrap_or((words, words));
        Self {
            noun,
            name,
            about,
            operations,
            positionals: positionals.into(),
            renamed: Vec::new(),
            defaults: Vec::new(),
            switches: Vec::new(),
            without: &[],
        }
    }

    pub(super) fn flag(mut self, field: &'static str, flag: &'static str) -> Self {
        self.renamed.push((field, flag));
        self
    }

    pub(super) fn default(mut self, field: &'static str, value: &'static str) -> Self {
        self.defaults.push((field, value));
        self
    }

    pub(super) fn switch(
        mut self,
        flag: &'static str,
        field: &'static str,
        value: &'static str,
    ) -> Self {
        self.switches.push((flag, field, value));
        self
    }

    pub(super) fn without(mut self, fields: &'static [&'static str]) -> Self {
        self.without = fields;
        self
    }
}
