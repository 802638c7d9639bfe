//! Test targets whose tests are reported as ignored if a program that they need is missing.
//!
//! Rust's own harness decides at compile time which tests are ignored. A target with
//! `harness = false` lists its tests instead: each module with [`trials!`](crate::trials!), and
//! `main` runs the lists of all modules with [`run`]. A test that is in no list is unused code, and
//! the compiler warns about it.

use std::collections::BTreeMap;
use std::env;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use crate::binaries::{self, LndBinaries};
use crate::node::Software;

/// Lists tests of the calling module: functions `async fn() -> anyhow::Result<()>`.
#[macro_export]
macro_rules! trials {
    ($($test:ident),* $(,)?) => {{
        let mut trials = $crate::trials::Trials::default();
        $(trials.add(module_path!(), stringify!($test), $test);)*
        trials
    }};
}

/// Runs a test to its end.
type Run = Box<dyn FnOnce(&Runtime) -> Result<()> + Send>;

/// A list of tests.
#[derive(Default)]
pub struct Trials(Vec<Test>);

struct Test {
    /// Modules and function, without the name of the target.
    name: String,
    run: Run,
    /// Threads of a multi-threaded runtime; `None` for a runtime on the test's own thread.
    threads: Option<usize>,
    /// Why the test cannot run here.
    obstacle: Option<String>,
}

impl Trials {
    /// Adds a test. Its module's path begins with the name of the target.
    pub fn add<F, T>(&mut self, module: &str, function: &str, test: T)
    where
        F: Future<Output = Result<()>>,
        T: FnOnce() -> F + Send + 'static,
    {
        let path = format!("{module}::{function}");
        let name = path.split_once("::").map_or(&*path, |(_, name)| name);
        self.0.push(Test {
            name: name.to_owned(),
            run: Box::new(|runtime| runtime.block_on(test())),
            threads: None,
            obstacle: None,
        });
    }

    /// Appends another list.
    #[must_use]
    pub fn and(mut self, mut others: Self) -> Self {
        self.0.append(&mut others.0);
        self
    }

    /// Ignores these tests if there is an obstacle, which says what is missing. Such a test fails
    /// if it is to run nevertheless (`--ignored`, `--include-ignored`).
    #[must_use]
    pub fn ignored_if(mut self, obstacle: Option<String>) -> Self {
        for test in &mut self.0 {
            test.obstacle = test.obstacle.take().or_else(|| obstacle.clone());
        }
        self
    }

    /// Runs these tests on this many threads, like `#[tokio::test(flavor = "multi_thread")]`.
    #[must_use]
    pub fn on_threads(mut self, threads: usize) -> Self {
        for test in &mut self.0 {
            test.threads = Some(threads);
        }
        self
    }
}

impl Test {
    fn into_trial(self) -> Trial {
        let is_ignored = self.obstacle.is_some();
        Trial::test(self.name.clone(), || self.run()).with_ignored_flag(is_ignored)
    }

    fn run(self) -> Result<(), Failed> {
        match self.obstacle {
            Some(obstacle) => Err(obstacle.into()),
            // With all causes.
            None => self.attempt().map_err(|error| format!("{error:?}").into()),
        }
    }

    /// Runs it on a thread of its own, so that the message of a panic names the test.
    fn attempt(self) -> Result<()> {
        let mut builder = match self.threads {
            None => Builder::new_current_thread(),
            Some(_) => Builder::new_multi_thread(),
        };
        if let Some(threads) = self.threads {
            builder.worker_threads(threads);
        }
        let runtime = builder.enable_all().build()?;
        let test = move || (self.run)(&runtime);
        let thread = thread::Builder::new().name(self.name).spawn(test)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Runs the tests that the command line selects, by default all in parallel: on as many threads as
/// `--test-threads` or `RUST_TEST_THREADS` says, or as there are cores.
pub fn run(lists: impl IntoIterator<Item = Trials>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or_else(threads_of_the_environment);
    let mut tests: Vec<Test> = lists.into_iter().flat_map(|list| list.0).collect();
    tests.sort_by(|one, other| one.name.cmp(&other.name));

    let mut obstacles = BTreeMap::<String, usize>::new();
    let mut trials = Vec::new();
    for test in tests {
        let obstacle = test.obstacle.clone();
        let trial = test.into_trial();
        let is_selected = !arguments.is_filtered_out(&trial);
        if let Some(obstacle) = obstacle.filter(|_| is_selected && arguments.is_ignored(&trial)) {
            *obstacles.entry(obstacle).or_default() += 1;
        }
        trials.push(trial);
    }
    if !(obstacles.is_empty() || arguments.list) {
        eprintln!("{}", explanation(&obstacles));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// libtest-mimic does not read this variable.
fn threads_of_the_environment() -> Option<usize> {
    let threads = env::var("RUST_TEST_THREADS").ok()?;
    threads.parse::<NonZeroUsize>().ok().map(Into::into)
}

/// Says why tests are ignored, in one line; `obstacles` has the number of tests for each.
fn explanation(obstacles: &BTreeMap<String, usize>) -> String {
    let parts: Vec<_> = obstacles
        .iter()
        .map(|(obstacle, count)| format!("{count} because {obstacle}"))
        .collect();
    format!("ignored tests: {}", parts.join(", "))
}

/// The obstacle to tests with this software: its variable is not set. If the variable is set to
/// something that is not a program, the tests are not ignored but fail.
pub fn missing(software: Software) -> Option<String> {
    let (is_missing, which) = match software {
        Software::Ampd => return None,
        Software::Lnd => (
            matches!(LndBinaries::named(), Ok(None)),
            "LND_EXE and LNCLI_EXE are not set (the paths of lnd and lncli)",
        ),
        Software::CoreLightning => (
            matches!(binaries::lightningd(), Ok(None)),
            "LIGHTNINGD_EXE is not set (the path of Core Lightning's lightningd)",
        ),
        Software::Eclair => (
            matches!(binaries::eclair(), Ok(None)),
            "ECLAIR_EXE is not set (the path of eclair-node.sh)",
        ),
    };
    is_missing.then(|| which.to_owned())
}

/// The obstacle to tests with these programs, which are looked for on PATH.
pub fn not_installed(programs: &[&str]) -> Option<String> {
    let is_missing = |program: &str| Command::new(program).arg("--version").output().is_err();
    let missing: Vec<_> = programs
        .iter()
        .copied()
        .filter(|program| is_missing(program))
        .collect();
    match missing[..] {
        [] => None,
        [program] => Some(format!("{program} is not installed (not found on PATH)")),
        _ => {
            let programs = missing.join(" and ");
            Some(format!("{programs} are not installed (not found on PATH)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    async fn passes() -> Result<()> {
        assert_eq!(thread::current().name(), Some("trials::tests::passes"));
        Ok(())
    }

    async fn panics() -> Result<()> {
        panic!("on purpose")
    }

    async fn runs_on_two_threads() -> Result<()> {
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_workers(), 2);
        Ok(())
    }

    fn only(trials: Trials) -> Test {
        trials.0.into_iter().next().unwrap()
    }

    #[test]
    fn tests_run_under_their_names() {
        let test = only(trials![passes]);
        assert_eq!(test.name, "trials::tests::passes");
        test.run().unwrap();
        let test = only(trials![runs_on_two_threads].on_threads(2));
        test.run().unwrap();
    }

    #[test]
    fn test_with_an_obstacle_is_ignored_or_fails() {
        let test = || only(trials![passes].ignored_if(Some("no luck".into())));
        assert_eq!(test().run().unwrap_err().message(), Some("no luck"));
        assert!(test().into_trial().has_ignored_flag());
        let test = only(trials![passes].ignored_if(None));
        assert!(!test.into_trial().has_ignored_flag());
    }

    #[test]
    fn panics_are_passed_on() {
        let test = only(trials![panics]);
        let panic = catch_unwind(AssertUnwindSafe(|| test.run())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    }

    #[test]
    fn explanation_counts_tests_of_each_obstacle() {
        let obstacles = [("A is missing".into(), 1), ("B is missing".into(), 2)].into();
        let line = "ignored tests: 1 because A is missing, 2 because B is missing";
        assert_eq!(explanation(&obstacles), line);
    }
}
