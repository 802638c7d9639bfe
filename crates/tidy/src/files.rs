//! The source files of the repository, and the crates that they belong to.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories with source files, relative to the root of the repository.
const SOURCES: [&str; 6] = ["src", "tests", "benches", "regtest", "crates", "fuzz"];

/// A Rust source file.
pub(crate) struct Source {
    /// Relative to the root of the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// All Rust files of the repository, sorted by path.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    for directory in SOURCES {
        collect(&root.join(directory), &root, &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(directory: &Path, root: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What cargo-fuzz builds.
            if !path.ends_with("target") {
                collect(&path, root, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_owned();
            sources.push(Source { path, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::modules::{Modules, Tests};
    use crate::{Finding, report};

    /// Roots of modules: a file of one of these names, or any file directly in one of these directories.
    const ROOT_NAMES: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];
    const ROOT_DIRECTORIES: [&str; 5] = ["tests", "benches", "examples", "bin", "fuzz_targets"];

    fn is_root(path: &Path) -> bool {
        let parent = path.parent().and_then(Path::file_name);
        let named = ROOT_NAMES.iter().any(|name| path.ends_with(name));
        named
            || ROOT_DIRECTORIES
                .iter()
                .any(|directory| parent.is_some_and(|p| p == *directory))
    }

    #[test]
    fn every_source_file_belongs_to_a_crate() {
        let sources = sources();
        let mut reached = BTreeSet::new();
        for source in sources.iter().filter(|source| is_root(&source.path)) {
            let modules = Modules::read(&root(), &source.path, Tests::Included);
            reached.extend(modules.files().map(Path::to_owned));
        }
        let orphans = sources
            .into_iter()
            .filter(|source| !reached.contains(&source.path));
        let what = "no module declaration leads to this file".to_owned();
        report(
            orphans
                .map(|source| Finding {
                    file: source.path,
                    line: 1,
                    what: what.clone(),
                })
                .collect(),
        );
    }
}
