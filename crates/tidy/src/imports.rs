//! Imports between modules: dependencies point one way.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use crate::modules::{Module, ModulePath, Modules, is_for_tests};

/// Longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 8;

/// The modules that a module names, by its path, each with one of the paths that name it.
pub(crate) type Imports = BTreeMap<ModulePath, BTreeMap<ModulePath, String>>;

/// The imports of all modules. Code for tests is left out: it may import what it tests.
pub(crate) fn imports(modules: &Modules) -> Imports {
    let names: BTreeMap<_, _> = modules
        .iter()
        .map(|(path, module)| (path.clone(), names_of(modules, path, module)))
        .collect();
    let resolver = Resolver {
        modules,
        names: &names,
    };
    modules
        .iter()
        .map(|(path, module)| {
            let mut paths = Paths::new(path);
            paths.visit_file(&module.syntax);
            let mut targets = BTreeMap::new();
            for named in paths.found {
                if let Some(target) = resolver
                    .module_of(path, &named)
                    .filter(|target| target != path)
                {
                    targets.entry(target).or_insert_with(|| named.join("::"));
                }
            }
            (path.clone(), targets)
        })
        .collect()
}

/// The imports among the children of `parent`, each child with all below it.
pub(crate) fn between_children(
    imports: &Imports,
    parent: &[String],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, targets) in imports {
        let Some(from) = child_of(parent, from) else {
            continue;
        };
        let edges = edges.entry(from.clone()).or_default();
        let children = targets.keys().filter_map(|target| child_of(parent, target));
        edges.extend(children.filter(|to| *to != from).cloned());
    }
    edges
}

/// The child of `parent` that `path` is or is below.
pub(crate) fn child_of<'a>(parent: &[String], path: &'a [String]) -> Option<&'a String> {
    path.strip_prefix(parent)?.first()
}

/// The names that a module has imported, and the absolute paths that they stand for.
fn names_of(modules: &Modules, path: &[String], module: &Module) -> BTreeMap<String, Vec<String>> {
    let mut names = BTreeMap::new();
    for item in &module.syntax.items {
        if let Item::Use(item) = item
            && !is_for_tests(&item.attrs)
        {
            for (named, alias) in flatten(&item.tree) {
                if let Some(absolute) = absolute_in(modules, path, &named) {
                    names.insert(alias, absolute);
                }
            }
        }
    }
    names
}

/// The paths of a `use`, and the names under which they are imported.
fn flatten(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let mut below = flatten(&path.tree);
            for (named, alias) in &mut below {
                if named.as_slice() == ["self"] {
                    named.clear();
                    alias.clone_from(&first);
                }
                named.insert(0, first.clone());
            }
            below
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(flatten).collect(),
    }
}

/// The path from the crate root of what a module names by `crate`, `self` or `super`.
fn absolute(module: &[String], named: &[String]) -> Option<Vec<String>> {
    let mut base = match named.first()?.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    let mut rest = &named[1..];
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// As [`absolute`], also for what a module calls by the name of its child module.
fn absolute_in(modules: &Modules, module: &[String], named: &[String]) -> Option<Vec<String>> {
    absolute(module, named).or_else(|| {
        modules.get(&[module, &named[..1]].concat())?;
        Some([module, named].concat())
    })
}

struct Resolver<'a> {
    modules: &'a Modules,
    names: &'a BTreeMap<ModulePath, BTreeMap<String, Vec<String>>>,
}

impl Resolver<'_> {
    /// The module that defines what `module` calls `named`; none if that is in another crate.
    fn module_of(&self, module: &[String], named: &[String]) -> Option<ModulePath> {
        let path = absolute_in(self.modules, module, named)?;
        Some(self.definition(path))
    }

    /// Follows re-exports to the module that defines this path.
    fn definition(&self, mut path: Vec<String>) -> ModulePath {
        for _ in 0..MAX_REEXPORTS {
            let module = self.longest_module(&path);
            let Some(name) = path.get(module.len()) else {
                return module;
            };
            let Some(target) = self.names.get(&module).and_then(|names| names.get(name)) else {
                return module;
            };
            let target = [target.as_slice(), &path[module.len() + 1..]].concat();
            if target == path {
                return module;
            }
            path = target;
        }
        self.longest_module(&path)
    }

    fn longest_module(&self, path: &[String]) -> ModulePath {
        let mut module = path.to_vec();
        while self.modules.get(&module).is_none() && module.pop().is_some() {}
        module
    }
}

/// Collects all paths in a module's code.
struct Paths {
    /// How many inline modules the code is inside: `super` then means something else.
    inline: usize,
    is_root: bool,
    found: BTreeSet<Vec<String>>,
}

impl Paths {
    fn new(path: &[String]) -> Self {
        Self {
            inline: 0,
            is_root: path.is_empty(),
            found: BTreeSet::new(),
        }
    }

    fn add(&mut self, mut named: Vec<String>) {
        for _ in 0..self.inline {
            match named.first().map(String::as_str) {
                Some("super") => drop(named.remove(0)),
                Some("crate") => break,
                _ => return,
            }
        }
        // In the crate root, a name alone may be a child.
        if named.len() > 1 || self.is_root {
            self.found.insert(named);
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inline += 1;
        visit::visit_item_mod(self, item);
        self.inline -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (named, _) in flatten(&item.tree) {
            self.add(named);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::graph::cycles;
    use crate::modules::Tests;
    use crate::{Finding, files, report};

    /// The modules of ampd. Each may import only from modules above it in this list.
    const LAYERS: [&str; 25] = [
        "clock",
        "sync",
        "rates",
        "open_files",
        "signals",
        "log_levels",
        "config",
        "logging",
        "panics",
        "ldk",
        "message_signing",
        "model",
        "storage",
        "chain",
        "wallet",
        "routing",
        "channel_messages",
        "peers",
        "channels",
        "invoices",
        "payments",
        "web",
        "rpc",
        "node",
        "lib",
    ];

    /// The root files of all libraries and programs.
    fn crate_roots() -> Vec<PathBuf> {
        let sources = files::sources();
        let is_root = |path: &Path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        sources
            .into_iter()
            .map(|source| source.path)
            .filter(|path| is_root(path))
            .collect()
    }

    fn cycle_findings(root: &Path, file: &Path) -> Vec<Finding> {
        let modules = Modules::read(root, file, Tests::Excluded);
        let imports = imports(&modules);
        let mut findings = Vec::new();
        for (parent, module) in modules.iter() {
            let edges = between_children(&imports, parent);
            for cycle in cycles(&edges) {
                let ties: Vec<_> = ties(&imports, parent, &cycle);
                findings.push(Finding {
                    file: module.file.clone(),
                    line: 1,
                    what: format!(
                        "a cycle of {} modules:\n    {}",
                        cycle.len(),
                        ties.join("\n    ")
                    ),
                });
            }
        }
        findings
    }

    /// One line for each import within the cycle.
    fn ties(imports: &Imports, parent: &[String], cycle: &BTreeSet<String>) -> Vec<String> {
        let within = |path| child_of(parent, path).filter(|child| cycle.contains(*child));
        let mut lines = Vec::new();
        for (from, targets) in imports {
            let Some(child) = within(from) else { continue };
            for (to, named) in targets {
                if within(to).is_some_and(|to| to != child) {
                    lines.push(format!(
                        "{} -> {} by {named}",
                        from.join("::"),
                        to.join("::")
                    ));
                }
            }
        }
        lines
    }

    #[test]
    fn no_modules_import_each_other_in_a_cycle() {
        let root = files::root();
        report(
            crate_roots()
                .iter()
                .flat_map(|file| cycle_findings(&root, file))
                .collect(),
        );
    }

    #[test]
    fn no_module_of_ampd_imports_from_a_higher_layer() {
        let file = Path::new("src/lib.rs");
        let modules = Modules::read(&files::root(), file, Tests::Excluded);
        let layer = |name: &String| {
            let position = LAYERS.iter().position(|layer| layer == name);
            position.unwrap_or_else(|| panic!("give the module {name} a place in LAYERS"))
        };
        let mut findings = Vec::new();
        for (from, targets) in imports(&modules) {
            for (to, named) in targets {
                if let (Some(lower), Some(upper)) = (from.first(), to.first())
                    && layer(upper) > layer(lower)
                {
                    let file = modules.get(&from).map(|module| module.file.clone());
                    let what = format!("imports {named} of the higher layer {upper}");
                    findings.push(Finding {
                        file: file.unwrap(),
                        line: 1,
                        what,
                    });
                }
            }
        }
        report(findings);
    }

    /// The services call the modules below; those alone handle LDK's objects.
    #[test]
    fn rpc_has_no_handles_of_ldk() {
        let modules = Modules::read(&files::root(), Path::new("src/lib.rs"), Tests::Excluded);
        let mut findings = Vec::new();
        for (from, targets) in imports(&modules) {
            let to_ldk = |to: &ModulePath| to.first().is_some_and(|to| to == "ldk");
            if from.first().is_some_and(|from| from == "rpc") && targets.keys().any(to_ldk) {
                findings.push(Finding {
                    file: modules
                        .get(&from)
                        .map(|module| module.file.clone())
                        .unwrap(),
                    line: 1,
                    what: "imports the module ldk".to_owned(),
                });
            }
        }
        report(findings);
    }

    /// A crate of these files in a new directory.
    fn example(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn cycles_in(files: &[(&str, &str)]) -> usize {
        let directory = example(files);
        cycle_findings(directory.path(), Path::new("lib.rs")).len()
    }

    #[test]
    fn finds_cycles_of_siblings() {
        let root = ("lib.rs", "mod a; mod b;");
        let a = ("a.rs", "use crate::b::B; struct A;");
        assert_eq!(cycles_in(&[root, a, ("b.rs", "struct B;")]), 0);
        assert_eq!(
            cycles_in(&[root, a, ("b.rs", "use super::a::A; struct B;")]),
            1
        );
        assert_eq!(
            cycles_in(&[root, a, ("b.rs", "fn f() -> crate::a::A {}")]),
            1
        );
    }

    #[test]
    fn follows_reexports_and_renames() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::{A as Renamed};"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::Renamed; pub struct B;"),
        ];
        assert_eq!(cycles_in(&files), 1);
    }

    #[test]
    fn a_parent_and_its_child_may_import_each_other() {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; use b::B; struct A;"),
            ("a/b.rs", "use super::A; struct B;"),
        ];
        assert_eq!(cycles_in(&files), 0);
    }

    #[test]
    fn tests_may_import_what_they_test() {
        let tests = "struct A; #[cfg(test)] mod tests { use crate::b::B; }";
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", tests),
            ("b.rs", "use crate::a::A; struct B;"),
        ];
        assert_eq!(cycles_in(&files), 0);
    }
}
