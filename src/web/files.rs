//! The page's style sheet, script and icon. Each name contains a hash of the content, so browsers may
//! cache them forever.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;

/// The static files of the page.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) style: File,
    pub(super) script: File,
    pub(super) icon: File,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            style: File::style(),
            script: File::script(),
            icon: File::icon(),
        }
    }

    pub(super) fn each(&self) -> [&File; 3] {
        [&self.style, &self.script, &self.icon]
    }
}

/// A static file whose name changes with its content.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Relative, without a leading slash: a proxy may serve the page under any path.
    pub(super) name: String,
    pub(super) content_type: &'static str,
    pub(super) content: &'static str,
}

impl File {
    fn new(ending: &str, content_type: &'static str, content: &'static str) -> Self {
        let hash = sha256::Hash::hash(content.as_bytes()).to_byte_array();
        Self {
            name: format!("donate.{}.{ending}", hash[..6].to_lower_hex_string()),
            content_type,
            content,
        }
    }

    fn style() -> Self {
        Self::new("css", "text/css; charset=utf-8", include_str!("page.css"))
    }

    fn icon() -> Self {
        Self::new("svg", "image/svg+xml", include_str!("icon.svg"))
    }

    fn script() -> Self {
        Self::new(
            "js",
            "text/javascript; charset=utf-8",
            include_str!("page.js"),
        )
    }
}
