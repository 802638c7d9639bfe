//! Test attributes where they have no effect: in targets with `harness = false`, which list their
//! tests themselves.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Finding;

/// The roots of a manifest's test targets with `harness = false`.
fn roots(manifest: &str) -> Vec<PathBuf> {
    let targets = manifest
        .split("[[")
        .filter_map(|part| part.strip_prefix("test]]\n"));
    let without_harness = targets.filter(|target| target.contains("\nharness = false\n"));
    without_harness
        .map(|target| {
            let path = target.lines().find_map(|line| line.strip_prefix("path = "));
            path.unwrap().trim_matches('"').into()
        })
        .collect()
}

/// Findings of one file.
fn check(path: &Path, file: &syn::File) -> Vec<Finding> {
    let mut visitor = Attributes {
        path,
        findings: Vec::new(),
    };
    visitor.visit_file(file);
    visitor.findings
}

struct Attributes<'a> {
    path: &'a Path,
    findings: Vec<Finding>,
}

impl<'ast> Visit<'ast> for Attributes<'_> {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let last = attribute.path().segments.last();
        if last.is_some_and(|segment| segment.ident == "test") {
            self.findings.push(Finding {
                file: self.path.to_owned(),
                line: attribute.span().start().line,
                what: "this test never runs; add it to its module's trials() instead".to_owned(),
            });
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files;
    use crate::modules::{Modules, Tests};
    use crate::report;

    #[test]
    fn no_test_is_without_effect() {
        let root = files::root();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let mut findings = Vec::new();
        for target in roots(&manifest) {
            for (_, module) in Modules::read(&root, &target, Tests::Included).iter() {
                findings.extend(check(&module.file, &module.syntax));
            }
        }
        report(findings);
    }

    #[test]
    fn targets_without_harness_are_found() {
        let manifest = "[package]\n[[test]]\nname = \"a\"\npath = \"a.rs\"\n\n\
            [[test]]\nname = \"b\"\npath = \"b/main.rs\"\nharness = false\n\n\
            [[bench]]\nname = \"c\"\npath = \"c.rs\"\nharness = false\n";
        assert_eq!(roots(manifest), [PathBuf::from("b/main.rs")]);
    }

    #[test]
    fn every_test_attribute_is_found() {
        let text = "#[tokio::test(flavor = \"current_thread\")]\nasync fn a() {}\n\
            mod m {\n#[test]\nfn b() {}\n#[cfg(test)]\nfn c() {}\n}\n";
        let findings = check(Path::new("a.rs"), &syn::parse_file(text).unwrap());
        let lines: Vec<_> = findings.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 4]);
    }
}
