//! The length of functions.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Finding;
use crate::files::Source;

/// Longest function, in lines from its signature to its closing brace.
const MAX_LINES: usize = 70;

/// Findings of one file.
fn check(source: &Source) -> Vec<Finding> {
    let file = syn::parse_file(&source.text).unwrap();
    let mut visitor = Functions {
        source,
        findings: Vec::new(),
    };
    visitor.visit_file(&file);
    visitor.findings
}

struct Functions<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn function(&mut self, name: &syn::Ident, signature: Span, block: Span) {
        let line = signature.start().line;
        let lines = block.end().line + 1 - line;
        if lines > MAX_LINES {
            self.findings.push(Finding {
                file: self.source.path.clone(),
                line,
                what: format!("{name} has {lines} lines, more than {MAX_LINES}"),
            });
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, item.sig.span(), item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, item.sig.span(), item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig.ident, item.sig.span(), block.span());
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files, report};

    #[test]
    fn no_function_is_too_long() {
        report(files::sources().iter().flat_map(check).collect());
    }

    #[test]
    fn long_functions_are_found_wherever_they_are() {
        let body = "    ();\n".repeat(MAX_LINES - 2);
        let text = format!("fn fits() {{\n{body}}}\nmod m {{\nfn long() {{\n{body}();\n}}\n}}\n");
        let path = "a.rs".into();
        let findings = check(&Source { path, text });
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].what.starts_with("long has 71 lines"),
            "{findings:?}"
        );
    }
}
