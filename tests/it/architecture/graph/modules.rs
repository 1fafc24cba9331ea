//! The modules of a crate, and the meanings of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Meta, Token, UseTree};

/// The crates of a source directory: the library and the commands.
pub(super) struct Crates {
    pub(super) files: Vec<File>,
    pub(super) modules: Vec<Module>,
    /// The file of each `macro_rules!`, by name.
    pub(super) macros: BTreeMap<String, usize>,
}

pub(super) struct File {
    /// The path below the directory.
    pub(super) name: String,
    pub(super) syntax: syn::File,
    pub(super) module: usize,
}

#[derive(Default)]
pub(super) struct Module {
    pub(super) file: usize,
    parent: Option<usize>,
    names: BTreeMap<String, Vec<Name>>,
    /// The imports with `*`.
    globs: Vec<Import>,
}

enum Name {
    /// An item of the module's file.
    Item,
    Module(usize),
    Import(Import),
}

struct Import {
    path: Vec<String>,
    /// Whether other modules can import the name from here.
    is_public: bool,
}

/// The imports under resolution: a module, and a path in it.
type Seen = BTreeSet<(usize, Vec<String>)>;

/// The target of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An item or a part of one, as the file that defines it.
    Item(usize),
    Module(usize),
}

impl Crates {
    pub(super) fn read(src: &Path) -> Self {
        let mut crates = Self { files: Vec::new(), modules: Vec::new(), macros: BTreeMap::new() };
        let commands = std::fs::read_dir(src.join("bin")).into_iter().flatten();
        let commands = commands.map(|entry| entry.unwrap().path());
        let commands = commands.map(|path| if path.is_dir() { path.join("main.rs") } else { path });
        let roots = ["lib.rs", "main.rs"].map(|name| src.join(name));
        for root in roots.into_iter().chain(commands).filter(|root| root.exists()) {
            let folder = root.parent().unwrap().to_owned();
            crates.read_file(src, &root, &folder, None);
        }
        crates
    }

    /// Reads a file with child modules in `folder`. Returns its module.
    fn read_file(
        &mut self,
        src: &Path,
        path: &Path,
        folder: &Path,
        parent: Option<usize>,
    ) -> usize {
        let text = std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let syntax =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
        let (file, module) = (self.files.len(), self.modules.len());
        self.modules.push(Module { file, parent, ..Module::default() });
        self.files.push(File { name, syntax: syntax.clone(), module });
        self.read_items(src, module, &syntax.items, folder);
        module
    }

    fn read_items(&mut self, src: &Path, module: usize, items: &[Item], folder: &Path) {
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let below = folder.join(&name);
                    let child = match &child.content {
                        Some((_, items)) => {
                            let file = self.modules[module].file;
                            let parent = Some(module);
                            self.modules.push(Module { file, parent, ..Module::default() });
                            let child = self.modules.len() - 1;
                            self.read_items(src, child, items, &below);
                            child
                        }
                        None => {
                            let path = file_of(folder, &name);
                            self.read_file(src, &path, &below, Some(module))
                        }
                    };
                    self.name(module, name, Name::Module(child));
                }
                Item::Use(import) => {
                    let is_public = !matches!(import.vis, syn::Visibility::Inherited);
                    for (path, name) in leaves(&import.tree) {
                        let path = path.iter().map(ToString::to_string).collect();
                        let import = Import { path, is_public };
                        match name {
                            Some(name) => self.name(module, name, Name::Import(import)),
                            None => self.modules[module].globs.push(import),
                        }
                    }
                }
                Item::Macro(item) => {
                    let Some(name) = item.ident.as_ref().map(ToString::to_string) else { continue };
                    self.macros.insert(name.clone(), self.modules[module].file);
                    self.name(module, name, Name::Item);
                }
                item => {
                    if let Some(name) = name_of(item) {
                        self.name(module, name, Name::Item);
                    }
                }
            }
        }
    }

    fn name(&mut self, module: usize, name: String, what: Name) {
        self.modules[module].names.entry(name).or_default().push(what);
    }

    /// Resolves a path in a module. Returns `None` for a path into another crate.
    pub(super) fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.follow(module, path, &mut BTreeSet::new())
    }

    fn follow(&self, module: usize, path: &[String], seen: &mut Seen) -> Option<Target> {
        // An import of a name may have the same path as the name: `use name;` imports something
        // else.
        let step = (module, path.to_vec());
        if !seen.insert(step.clone()) {
            return None;
        }
        let target = self.walk(module, path, seen);
        seen.remove(&step);
        target
    }

    fn walk(&self, module: usize, path: &[String], seen: &mut Seen) -> Option<Target> {
        let mut at = module;
        for (index, segment) in path.iter().enumerate() {
            let is_last = index + 1 == path.len();
            let next = match segment.as_str() {
                "crate" => Some(Target::Module(self.root_of(at))),
                "self" => Some(Target::Module(at)),
                "super" => self.modules[at].parent.map(Target::Module),
                name => self.named(at, name, is_last, seen),
            };
            match next {
                Some(Target::Module(next)) => at = next,
                Some(item) => return Some(item),
                // An unknown first name is that of another crate.
                None if index == 0 => return None,
                None => {
                    let is_exported_macro = at == self.root_of(at) && is_last;
                    let file = self.macros.get(segment).filter(|_| is_exported_macro);
                    return Some(Target::Item(*file.unwrap_or(&self.modules[at].file)));
                }
            }
        }
        Some(Target::Module(at))
    }

    /// Resolves one name in a module. A module and an item can have the same name.
    fn named(&self, module: usize, name: &str, is_last: bool, seen: &mut Seen) -> Option<Target> {
        let here = &self.modules[module];
        let meanings: &[Name] = here.names.get(name).map_or(&[], |meanings| meanings);
        let child = self.child(module, name).map(Target::Module);
        let item = meanings.iter().any(|name| matches!(name, Name::Item));
        let item = item.then_some(Target::Item(here.file));
        let defined = if is_last { item.or(child) } else { child.or(item) };
        if defined.is_some() {
            return defined;
        }
        let mut imports = meanings.iter().filter_map(|name| match name {
            Name::Import(import) => Some(import),
            _ => None,
        });
        if let Some(target) = imports.find_map(|import| self.follow(module, &import.path, seen)) {
            return Some(target);
        }
        here.globs.iter().find_map(|glob| match self.follow(module, &glob.path, seen)? {
            Target::Module(other) if other != module => self.named(other, name, is_last, seen),
            _ => None,
        })
    }

    /// Returns the files behind a glob import of a module: its own, and those that it re-exports.
    pub(super) fn everything_in(&self, module: usize) -> Vec<usize> {
        let here = &self.modules[module];
        let names = here.names.values().flatten().filter_map(|name| match name {
            Name::Import(import) => Some(import),
            _ => None,
        });
        let imports = names.chain(&here.globs).filter(|import| import.is_public);
        let targets = imports.filter_map(|import| self.resolve(module, &import.path));
        let files = targets.map(|target| self.file_of(target));
        std::iter::once(here.file).chain(files).collect()
    }

    pub(super) fn file_of(&self, target: Target) -> usize {
        match target {
            Target::Item(file) => file,
            Target::Module(module) => self.modules[module].file,
        }
    }

    /// Returns the child of a module with this name.
    pub(super) fn child(&self, module: usize, name: &str) -> Option<usize> {
        self.modules[module].names.get(name)?.iter().find_map(|name| match name {
            Name::Module(child) => Some(*child),
            _ => None,
        })
    }

    fn root_of(&self, module: usize) -> usize {
        self.modules[module].parent.map_or(module, |parent| self.root_of(parent))
    }
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}

/// Returns the paths of an import, each with its new name, or with `None` for `*`.
pub(super) fn leaves(tree: &UseTree) -> Vec<(Vec<syn::Ident>, Option<String>)> {
    match tree {
        UseTree::Path(path) => {
            let mut below = leaves(&path.tree);
            below.iter_mut().for_each(|(below, _)| below.insert(0, path.ident.clone()));
            // `a::{self}` is `a`.
            for (path, name) in &mut below {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                    if name.as_deref() == Some("self") {
                        *name = path.last().map(ToString::to_string);
                    }
                }
            }
            below
        }
        UseTree::Name(name) => vec![(vec![name.ident.clone()], Some(name.ident.to_string()))],
        UseTree::Rename(name) => vec![(vec![name.ident.clone()], Some(name.rename.to_string()))],
        UseTree::Glob(_) => vec![(Vec::new(), None)],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Returns whether an item is compiled for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args().is_ok_and(|condition| needs_test(&condition))
    })
}

fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let parts = parts.unwrap_or_default();
    match () {
        () if list.path.is_ident("all") => parts.iter().any(needs_test),
        () if list.path.is_ident("any") => !parts.is_empty() && parts.iter().all(needs_test),
        () => false,
    }
}

/// Returns the attributes of an item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
