//! The paths in a file, and their targets.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Token, UseTree, Visibility};

use super::modules::{Crates, Target, attributes, is_for_tests, leaves};

/// Returns every use: the file, the defining file, the line and the path.
pub(super) fn uses(crates: &Crates) -> Vec<(usize, usize, usize, String)> {
    let mut found = Vec::new();
    for file in &crates.files {
        let mut reader = Reader { crates, module: file.module, found: &mut found };
        reader.visit_file(&file.syntax);
    }
    found
}

struct Reader<'a> {
    crates: &'a Crates,
    module: usize,
    found: &'a mut Vec<(usize, usize, usize, String)>,
}

impl Reader<'_> {
    fn add(&mut self, to: usize, path: &[Ident]) {
        let from = self.crates.modules[self.module].file;
        let line = path.last().map_or(0, |last| last.span().start().line);
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        self.found.push((from, to, line, path.join("::")));
    }

    /// Records a path outside of imports. A path of one name needs no edge: the name is local, or
    /// its import is an edge already.
    fn path(&mut self, path: &[Ident]) {
        if path.len() > 1
            && let Some(target) = self.resolve(path)
        {
            self.add(self.crates.file_of(target), path);
        }
    }

    fn import(&mut self, prefix: &[Ident], tree: &UseTree) {
        for (path, name) in leaves(tree) {
            let path = [prefix, &path].concat();
            match self.resolve(&path) {
                Some(Target::Module(module)) if name.is_none() => {
                    for file in self.crates.everything_in(module) {
                        self.add(file, &path);
                    }
                }
                Some(target) => self.add(self.crates.file_of(target), &path),
                None => {}
            }
        }
    }

    fn resolve(&self, path: &[Ident]) -> Option<Target> {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        self.crates.resolve(self.module, &path)
    }

    /// Records the paths in the tokens of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens = Vec::from_iter(tokens);
        let is = |index: usize, punctuation: char| match tokens.get(index) {
            Some(TokenTree::Punct(punct)) => punct.as_char() == punctuation,
            _ => false,
        };
        let mut index = 0;
        while index < tokens.len() {
            let start = index;
            index += 1;
            let first = match &tokens[start] {
                TokenTree::Group(group) => {
                    self.tokens(group.stream());
                    continue;
                }
                TokenTree::Ident(first) => first.clone(),
                _ => continue,
            };
            let mut path = vec![first];
            while is(index, ':') && is(index + 1, ':') {
                index += 2;
                match tokens.get(index) {
                    Some(TokenTree::Ident(next)) => path.push(next.clone()),
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        let parse = Punctuated::<UseTree, Token![,]>::parse_terminated;
                        let trees = parse.parse2(group.stream()).unwrap_or_default();
                        trees.iter().for_each(|tree| self.import(&path, tree));
                    }
                    _ => break,
                }
                index += 1;
            }
            // `x.y` is no path. `$x` is a parameter of the macro, but `$crate` is this crate.
            let is_parameter = start > 0 && is(start - 1, '$') && path[0] != "crate";
            let is_field = start > 0 && is(start - 1, '.');
            if !is_parameter && !is_field {
                self.path(&path);
                self.called(&path, is(index, '!'));
            }
        }
    }

    /// Records the call of a macro by its bare name, which any earlier file may define.
    fn called(&mut self, path: &[Ident], is_call: bool) {
        if let ([name], true) = (path, is_call)
            && self.resolve(path).is_none()
            && let Some(file) = self.crates.macros.get(&name.to_string())
        {
            self.add(*file, path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_none() {
            return;
        }
        let outer = self.module;
        let child = self.crates.child(outer, &item.ident.to_string());
        self.module = child.unwrap_or(outer);
        visit::visit_item_mod(self, item);
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&[], &item.tree);
    }

    /// Skips visibilities: `pub(in crate::a)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let idents: Vec<Ident> = path.segments.iter().map(|part| part.ident.clone()).collect();
        if path.leading_colon.is_none() {
            self.path(&idents);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        let path: Vec<Ident> = mac.path.segments.iter().map(|part| part.ident.clone()).collect();
        self.path(&path);
        self.called(&path, true);
        self.tokens(mac.tokens.clone());
    }

    /// Reads paths in strings too, such as `#[serde(with = "super::dates")]`. Skips documentation.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // `#[doc = "…"]` is no list.
        let syn::Meta::List(list) = &attribute.meta else { return };
        self.tokens(list.tokens.clone());
        for token in list.tokens.clone() {
            if let TokenTree::Literal(literal) = token
                && let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                && let Ok(path) = syn::parse_str::<syn::Path>(&text.value())
            {
                let mut path: Vec<Ident> =
                    path.segments.iter().map(|part| part.ident.clone()).collect();
                path.iter_mut().for_each(|part| part.set_span(literal.span()));
                self.path(&path);
            }
        }
    }
}
