//! Everything that the benchmark prints as tables, as JSON (`--json`).

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::machine::Machine;
use super::targets::{self, Verdict};

/// The results of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// When it started: UTC, RFC 3339.
    date: String,
    /// What is measured, as the options name it.
    mode: String,
    machine: Machine,
    tables: Map<String, Value>,
    targets: Vec<Verdict>,
}

impl Report {
    pub(super) fn new(mode: &str) -> Result<Self> {
        Ok(Self {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            mode: mode.to_owned(),
            machine: Machine::read()?,
            tables: Map::new(),
            targets: Vec::new(),
        })
    }

    /// Prints what precedes the tables.
    pub(super) fn print_machine(&self) {
        self.machine.print();
    }

    /// Adds the figures of a table under a name that no other table has.
    pub(super) fn add(&mut self, name: &str, table: &impl Serialize) -> Result<()> {
        let table = serde_json::to_value(table)?;
        self.tables.insert(name.to_owned(), table);
        Ok(())
    }

    /// Adds comparisons with targets.
    pub(super) fn judge(&mut self, verdicts: impl IntoIterator<Item = Verdict>) {
        self.targets.extend(verdicts);
    }

    /// Prints the table of targets.
    pub(super) fn print_targets(&self) {
        targets::print(&self.targets);
    }

    /// Writes a JSON file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::Spread;
    use super::*;

    #[test]
    fn json_has_the_tables_by_name_and_all_targets() {
        let mut report = Report::new("forward").unwrap();
        report.add("ampd", &[1.5, 2.5]).unwrap();
        report.judge(Spread::of(&[6.0, 8.0, 6.5]).map(|p50| targets::LATENCY.judge(p50)));
        let file = tempfile::NamedTempFile::new().unwrap();
        report.write(file.path()).unwrap();
        let json: Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        assert_eq!(json["mode"], "forward");
        assert_eq!(json["tables"]["ampd"], serde_json::json!([1.5, 2.5]));
        assert_eq!(json["targets"][0]["median"], 6.5);
        assert_eq!(json["targets"][0]["is_met"], true);
        let date = json["date"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(date).is_ok(), "{date}");
    }
}
