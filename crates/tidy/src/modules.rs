//! The modules of a crate, as its `mod` declarations name them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod, Meta};

/// Selects whether modules for tests are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tests {
    Included,
    Excluded,
}

/// The path of a module below the crate root: empty for the root itself.
pub(crate) type ModulePath = Vec<String>;

/// A module with a file of its own.
pub(crate) struct Module {
    /// Relative to the root of the repository.
    pub(crate) file: PathBuf,
    pub(crate) syntax: syn::File,
}

/// The modules of a crate by their paths.
pub(crate) struct Modules(BTreeMap<ModulePath, Module>);

impl Modules {
    /// Reads the module of this file, relative to `root`, and all below it.
    pub(crate) fn read(root: &Path, file: &Path, tests: Tests) -> Self {
        let mut modules = Self(BTreeMap::new());
        // The modules of a crate's root file are in the same directory, whatever the file is called.
        let directory = file.parent().unwrap().to_owned();
        modules.add(root, Vec::new(), file.to_owned(), &directory, tests);
        modules
    }

    fn add(
        &mut self,
        root: &Path,
        path: ModulePath,
        file: PathBuf,
        directory: &Path,
        tests: Tests,
    ) {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        let syntax = syn::parse_file(&text).unwrap();
        self.add_children(root, &path, &syntax.items, directory, tests);
        self.0.insert(path, Module { file, syntax });
    }

    fn add_children(
        &mut self,
        root: &Path,
        path: &[String],
        items: &[Item],
        directory: &Path,
        tests: Tests,
    ) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            if tests == Tests::Excluded && is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = directory.join(&name);
            let child = [path, &[name]].concat();
            match &module.content {
                Some((_, items)) => self.add_children(root, &child, items, &below, tests),
                None => self.add(root, child, file_of(root, module, directory), &below, tests),
            }
        }
    }

    /// The files of these modules, relative to the root of the repository.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.values().map(|module| module.file.as_path())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ModulePath, &Module)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, path: &[String]) -> Option<&Module> {
        self.0.get(path)
    }
}

fn file_of(root: &Path, module: &ItemMod, directory: &Path) -> PathBuf {
    let name = module.ident.to_string();
    let file = directory.join(format!("{name}.rs"));
    if root.join(&file).exists() {
        file
    } else {
        directory.join(name).join("mod.rs")
    }
}

/// Returns whether these attributes compile an item for tests only.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => {
            list.path.is_ident("cfg") && list.tokens.to_string().split_whitespace().eq(["test"])
        }
        _ => false,
    })
}
