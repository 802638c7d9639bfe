//! Log levels, changeable at run time.

use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;
use tracing_subscriber::EnvFilter;

/// Subsystems whose level can be set: LDK and our modules.
pub const SUBSYSTEMS: [&str; 13] = [
    "chain", "channels", "invoices", "ldk", "node", "onion", "payments", "peers", "routing", "rpc",
    "storage", "wallet", "web",
];

/// Libraries whose level can be set in the config.
const LIBRARIES: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio",
    "tonic",
    "tower",
    "tungstenite",
];

/// The default filter.
const DEFAULT: &str = "info,ldk=warn";

/// lnd's levels and ours. We have no level above error.
const LEVELS: [(&str, &str); 7] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("info", "info"),
    ("warn", "warn"),
    ("error", "error"),
    ("critical", "error"),
    ("off", "off"),
];

/// Level of libraries if a level is set for all subsystems.
const LIBRARY_LEVEL: &str = "warn";

/// Why the levels were not changed. The first three texts are lnd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error(
        "the specified debug level [{0}] is invalid -- levels are trace debug info warn error critical off"
    )]
    Level(String),
    #[error("the specified debug level contains an invalid subsystem/level pair [{0}]")]
    Pair(String),
    #[error(
        "the specified subsystem [{0}] is invalid -- supported subsystems are {known}",
        known = SUBSYSTEMS.join(" ")
    )]
    Subsystem(String),
    #[error("cannot change the log levels: {0}")]
    Log(String),
}

/// Applies a new filter to the log.
type Apply = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// The active log levels.
pub struct LogLevels {
    /// `level` (the general level) or `target=level`.
    directives: Mutex<Vec<String>>,
    apply: Box<Apply>,
}

impl LogLevels {
    /// `filter` is the filter that the log was started with; `apply` replaces it.
    pub fn new(
        filter: &str,
        apply: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            directives: Mutex::new(filter.split(',').map(str::to_owned).collect()),
            apply: Box::new(apply),
        }
    }

    /// Sets levels in the syntax of lnd's `debuglevel`: a level for all subsystems, pairs
    /// `subsystem=level`, or a level followed by pairs. Returns the active levels.
    ///
    /// # Errors
    /// [`LevelError`]; the levels are then unchanged.
    pub fn set(&self, spec: &str) -> Result<String, LevelError> {
        let mut directives = self.lock();
        let changed = changed(&directives, spec)?;
        let filter = EnvFilter::try_new(changed.join(","));
        let filter = filter.map_err(|error| LevelError::Log(error.to_string()))?;
        (self.apply)(filter).map_err(LevelError::Log)?;
        *directives = changed;
        Ok(directives.join(", "))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.directives)
    }
}

/// Returns the filter for the config value: a level, pairs `name=level`, or a level followed by pairs. A
/// name is a subsystem, a module such as `ampd::rpc::rest`, or a library. Without a general level, the
/// default applies to everything that no pair names.
///
/// # Errors
/// [`LevelError`] for anything else. tracing would accept a misspelt level as a module name, and none of our
/// lines would be logged.
pub fn filter(spec: &str) -> Result<String, LevelError> {
    let mut parts = spec.split(',').map(str::trim).peekable();
    let general = match parts.next_if(|first| !first.contains('=')) {
        Some(general) => level(&general.to_lowercase())?,
        None => DEFAULT,
    };
    let part = |part: &str| {
        let pair = part.split_once('=');
        let (name, wanted) = pair.ok_or_else(|| LevelError::Pair(part.to_owned()))?;
        Ok(format!(
            "{}={}",
            config_target(name)?,
            level(&wanted.to_lowercase())?
        ))
    };
    let parts: Result<Vec<_>, _> = parts.map(part).collect();
    Ok([vec![general.to_owned()], parts?].concat().join(","))
}

/// Returns a description of valid config values, for an error message.
pub fn expected() -> String {
    format!(
        "off, error, warn, info, debug or trace, optionally per subsystem, such as info,ldk=debug \
         (subsystems: {})",
        SUBSYSTEMS.join(", ")
    )
}

fn config_target(name: &str) -> Result<String, LevelError> {
    let module = name
        .strip_prefix("ampd::")
        .map(|path| path.split("::").next());
    match (name, module) {
        ("ampd", _) => Ok(name.to_owned()),
        (_, Some(Some(module))) if module != "ldk" && SUBSYSTEMS.contains(&module) => {
            Ok(name.to_owned())
        }
        (library, None) if LIBRARIES.contains(&library) => Ok(name.to_owned()),
        _ => target(name),
    }
}

fn changed(directives: &[String], spec: &str) -> Result<Vec<String>, LevelError> {
    let mut parts = spec.split(',').map(str::trim).peekable();
    let mut changed = match parts.next_if(|first| !first.contains('=')) {
        Some(all) => for_all(level(all)?),
        None => directives.to_vec(),
    };
    for pair in parts {
        let invalid = || LevelError::Pair(pair.to_owned());
        let (subsystem, wanted) = pair.split_once('=').ok_or_else(invalid)?;
        let target = target(subsystem)?;
        let level = level(wanted)?;
        let prefix = format!("{target}=");
        changed.retain(|directive| !directive.starts_with(&prefix));
        changed.push(format!("{target}={level}"));
    }
    Ok(changed)
}

fn for_all(level: &str) -> Vec<String> {
    let ours = ["ampd", "ldk"].map(|target| format!("{target}={level}"));
    std::iter::once(LIBRARY_LEVEL.to_owned())
        .chain(ours)
        .collect()
}

fn level(name: &str) -> Result<&'static str, LevelError> {
    let known = LEVELS.iter().find(|(lnds, _)| *lnds == name);
    let known = known.map(|(_, ours)| *ours);
    known.ok_or_else(|| LevelError::Level(name.to_owned()))
}

/// Returns the `tracing` target of a subsystem.
fn target(subsystem: &str) -> Result<String, LevelError> {
    match subsystem {
        "ldk" => Ok("ldk".to_owned()),
        // The crate that reads and writes AMP's onion payloads for LDK.
        "onion" => Ok("ldk_amp".to_owned()),
        module if SUBSYSTEMS.contains(&module) => Ok(format!("ampd::{module}")),
        unknown => Err(LevelError::Subsystem(unknown.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn sets_levels_of_all_or_single_subsystems() {
        let applied: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = applied.clone();
        let levels = LogLevels::new("info,ldk=warn", move |filter| {
            log.lock().unwrap().push(filter.to_string());
            Ok(())
        });
        let set = |spec| levels.set(spec).unwrap();
        assert_eq!(set("peers=debug"), "info, ldk=warn, ampd::peers=debug");
        assert_eq!(set("ldk=off,peers=info"), "info, ldk=off, ampd::peers=info");
        assert_eq!(set("critical"), "warn, ampd=error, ldk=error");
        let both = "warn, ampd=info, ldk=info, ampd::rpc=trace";
        assert_eq!(set("info,rpc=trace"), both);
        assert_eq!(applied.lock().unwrap().len(), 4);
    }

    #[test]
    fn invalid_levels_change_nothing() {
        let levels = LogLevels::new("info", |_| panic!("must not be applied"));
        let error = |spec| levels.set(spec).unwrap_err();
        assert_eq!(error("loud"), LevelError::Level("loud".into()));
        assert_eq!(error(""), LevelError::Level(String::new()));
        assert_eq!(error("info,debug"), LevelError::Pair("debug".into()));
        assert_eq!(error("rpc=loud"), LevelError::Level("loud".into()));
        let unknown = error("rpc=info,PEER=info").to_string();
        assert!(unknown.contains("[PEER] is invalid"), "{unknown}");
    }

    #[test]
    fn config_accepts_levels_subsystems_modules_and_libraries() {
        for (spec, expected) in [
            ("warn", "warn"),
            ("DEBUG", "debug"),
            ("info, ldk=warn", "info,ldk=warn"),
            ("debug,peers=trace,h2=off", "debug,ampd::peers=trace,h2=off"),
            ("ampd=debug", "info,ldk=warn,ampd=debug"),
            ("off,ampd::rpc::rest=info", "off,ampd::rpc::rest=info"),
        ] {
            assert_eq!(filter(spec).as_deref(), Ok(expected));
            assert!(EnvFilter::try_new(expected).is_ok());
        }
    }

    /// tracing accepts all of these, and most would silence the node.
    #[test]
    fn rejects_misspelt_levels_and_subsystems() {
        let level = |name: &str| Err(LevelError::Level(name.into()));
        for name in ["verbose", "warning", "debg", "info ldk", "5", ""] {
            assert_eq!(filter(name), level(name));
        }
        assert_eq!(filter("info,ldk=wrn"), level("wrn"));
        assert_eq!(filter("info,debug"), Err(LevelError::Pair("debug".into())));
        for part in [
            "peer",
            "info ldk",
            "ampd::peer",
            "ampd::ldk",
            "lightning",
            "",
        ] {
            let refused = filter(&format!("info,{part}=debug"));
            assert_eq!(refused, Err(LevelError::Subsystem(part.into())), "{part}");
        }
    }

    #[test]
    fn every_subsystem_has_a_target() {
        for subsystem in SUBSYSTEMS {
            assert!(target(subsystem).is_ok());
        }
    }
}
