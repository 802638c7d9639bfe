//! Startups that must fail: a single line names the key or file, and nothing is overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use regtest::binaries::Binaries;
use regtest::bitcoind::Bitcoind;
use regtest::node::Node;
use regtest::paths::Scratch;
use regtest::ports::free_port;
use serde_json::json;

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Runs a start that must fail and returns its single line, which must contain all of `named`.
async fn refusal(node: &mut Node, named: &[&str]) -> Result<String> {
    // The log is also written to stderr.
    node.set("log-level", "error");
    let before = files(&node.network_dir())?;
    let ended = node.run_to_end().await?;
    assert!(
        !ended.status.success(),
        "ampd exited successfully: {}",
        ended.stdout
    );
    assert_eq!(
        ended.stderr.lines().count(),
        1,
        "expected one line, got:\n{}",
        ended.stderr
    );
    for text in [&ended.stdout, &ended.stderr] {
        assert!(
            !text.contains("panicked") && !text.contains("backtrace"),
            "{text}"
        );
    }
    for name in named {
        assert!(
            ended.stderr.contains(name),
            "{name:?} is missing in: {}",
            ended.stderr
        );
    }
    for (file, content) in before {
        let now = fs::read(node.network_dir().join(&file)).ok();
        assert!(now.as_ref() == Some(&content), "{file} was changed");
    }
    Ok(ended.stderr)
}

/// Files that a failed start must not change: all but the lock and SQLite's shared memory.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(files);
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let passing = [".lock", "-shm", "-wal", "rpc.address"]
            .iter()
            .any(|end| name.ends_with(end));
        if !passing && dir.join(&name).is_file() {
            files.insert(name.clone(), fs::read(dir.join(name))?);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn invalid_config_is_reported_by_key_before_files_are_created() -> Result<()> {
    let cases = [
        (
            "acept-amp",
            "true",
            vec!["acept-amp", "accept-amp", "ampd.toml"],
        ),
        ("accept-amp", "\"perhaps\"", vec!["accept-amp", "ampd.toml"]),
        ("cltv-delta", "\"eighty\"", vec!["cltv-delta", "ampd.toml"]),
        ("listen", "7", vec!["listen", "ampd.toml"]),
        (
            "rpc-listen",
            "\"node.example:10009\"",
            vec!["rpc-listen", "IP:port"],
        ),
        ("network", "\"regtset\"", vec!["network", "regtset"]),
    ];
    let scratch = Scratch::new()?;
    for (key, value, named) in cases {
        let mut node = Node::without_bitcoind("alice", scratch.path(), &binaries())?;
        node.set_raw(key, value);
        refusal(&mut node, &named).await?;
        assert!(
            !node.network_dir().exists(),
            "{key} created {}",
            node.network_dir().display()
        );
    }
    Ok(())
}

#[tokio::test]
async fn unreachable_bitcoind_is_reported_with_its_config_key() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut node = Node::without_bitcoind("alice", scratch.path(), &binaries())?;
    let address = format!("127.0.0.1:{}", free_port()?);
    node.set("bitcoind-rpc-address", &address);
    node.set("bitcoind-rpc-user", "somebody");
    node.set("bitcoind-rpc-password", "something");
    refusal(&mut node, &["bitcoind-rpc-address", &address]).await?;
    Ok(())
}

#[tokio::test]
async fn unsuitable_bitcoind_is_rejected() -> Result<()> {
    let scratch = Scratch::new()?;
    let pruned = ["-prune=1", "-fastprune"];
    let bitcoind = Bitcoind::bare(&scratch.path().join("bitcoind"), "regtest", &pruned).await?;
    bitcoind.mine(10).await?;

    let dir = scratch.path().join("other");
    let mut other = Node::new("other", &dir, &binaries(), &bitcoind)?;
    other.set("bitcoind-rpc-password", "wrong");
    let line = refusal(&mut other, &["bitcoind-rpc-user", "bitcoind-rpc-password"]).await?;
    assert!(
        !line.contains("wrong"),
        "the error contains the password: {line}"
    );
    other.use_bitcoind(&bitcoind)?;
    other.set("network", "signet");
    refusal(&mut other, &["regtest", "signet", "network"]).await?;

    let dir = scratch.path().join("sleeper");
    let mut sleeper = Node::new("sleeper", &dir, &binaries(), &bitcoind)?;
    sleeper.start().await?;
    sleeper.stop().await?;
    bitcoind.mine(1_000).await?;
    bitcoind.call("pruneblockchain", json!([700])).await?;
    refusal(&mut sleeper, &["pruned", "bitcoind-rpc-address"]).await?;
    Ok(())
}

#[tokio::test]
async fn damaged_seed_or_foreign_directory_is_rejected_and_unchanged() -> Result<()> {
    let scratch = Scratch::new()?;
    let bitcoind = Bitcoind::bare(&scratch.path().join("bitcoind"), "regtest", &[]).await?;
    bitcoind.mine(10).await?;
    let mut node = Node::new(
        "alice",
        &scratch.path().join("alice"),
        &binaries(),
        &bitcoind,
    )?;
    node.start().await?;
    node.stop().await?;

    let seed = node.network_dir().join("seed");
    let words = fs::read(&seed)?;
    for damaged in [&b""[..], b"not the words", b"\xff\xfe"] {
        fs::write(&seed, damaged)?;
        refusal(&mut node, &["seed", &seed.display().to_string()]).await?;
    }
    fs::remove_file(&seed)?;
    refusal(&mut node, &["seed", &seed.display().to_string()]).await?;
    assert!(
        !seed.exists(),
        "a new seed was created next to an old database"
    );
    // A directory instead of a file; permissions would have no effect for root.
    fs::create_dir(&seed)?;
    refusal(&mut node, &["seed", &seed.display().to_string()]).await?;
    fs::remove_dir(&seed)?;
    fs::write(&seed, words)?;

    let signet = Bitcoind::bare(&scratch.path().join("signet"), "signet", &[]).await?;
    let regtest_dir = node.network_dir();
    node.set("network", "signet");
    node.use_bitcoind(&signet)?;
    fs::rename(regtest_dir, node.network_dir())?;
    refusal(&mut node, &["regtest", "signet", "data-dir"]).await?;
    Ok(())
}
