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
        let mut reader = Reader {
            root,
            tests,
            modules: BTreeMap::new(),
        };
        // The modules of a crate's root file are in the same directory, whatever the file is called.
        let directory = file.parent().unwrap().to_owned();
        reader.add(Vec::new(), file.to_owned(), &directory);
        Self(reader.modules)
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

/// Reads modules and those below them.
struct Reader<'a> {
    /// The directory that the files are relative to.
    root: &'a Path,
    tests: Tests,
    modules: BTreeMap<ModulePath, Module>,
}

impl Reader<'_> {
    fn add(&mut self, path: ModulePath, file: PathBuf, directory: &Path) {
        let text = fs::read_to_string(self.root.join(&file)).unwrap();
        let syntax = syn::parse_file(&text).unwrap();
        self.add_children(&path, &syntax.items, directory);
        self.modules.insert(path, Module { file, syntax });
    }

    fn add_children(&mut self, path: &[String], items: &[Item], directory: &Path) {
        for item in items {
            let Item::Mod(module) = item else { continue };
            if self.tests == Tests::Excluded && is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = directory.join(&name);
            let child = [path, &[name]].concat();
            match &module.content {
                Some((_, items)) => self.add_children(&child, items, &below),
                None => self.add(child, file_of(self.root, module, directory), &below),
            }
        }
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
