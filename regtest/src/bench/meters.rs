//! What the nodes count themselves, and the processor time that the system counts for them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The metric of commits that are on disk.
const COMMITS: &str = "ampd_commits_total";
/// The unit of `/proc/<pid>/stat` (USER_HZ) is 10 ms on every Linux, whatever the kernel's own is.
const TICK: Duration = Duration::from_millis(10);

/// Both nodes: payer, payee.
#[derive(Clone, Copy, Debug)]
pub struct Meters(pub [Meter; 2]);

/// Where to read of a node.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Of its page of metrics; lnd has none that tells of commits.
    pub metrics_port: Option<u16>,
    pub pid: u32,
}

/// What one node has used since its start, or between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `None` if the node does not tell.
    pub commits: Option<u64>,
    pub cpu: Duration,
}

impl Reading {
    /// What was used since an earlier reading.
    pub fn since(self, earlier: Self) -> Self {
        let commits = self.commits.zip(earlier.commits);
        Self {
            commits: commits.map(|(now, then)| now.saturating_sub(then)),
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }
}

impl Meters {
    /// Reads both nodes.
    pub async fn read(&self) -> Result<[Reading; 2]> {
        let [payer, payee] = self.0;
        Ok([payer.read().await?, payee.read().await?])
    }
}

impl Meter {
    async fn read(&self) -> Result<Reading> {
        let commits = match self.metrics_port {
            Some(port) => Some(commits(port).await?),
            None => None,
        };
        Ok(Reading {
            commits,
            cpu: cpu(self.pid)?,
        })
    }
}

async fn commits(port: u16) -> Result<u64> {
    let page = page(port)
        .await
        .context("cannot read the page of metrics")?;
    let value = page.lines().find_map(|line| line.strip_prefix(COMMITS));
    let value = value.with_context(|| format!("{COMMITS} is not among the metrics"))?;
    Ok(value.trim().parse()?)
}

async fn page(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// User and system time of all threads of a process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = stat
        .rsplit_once(')')
        .context("a strange /proc/<pid>/stat")?;
    // The fields from the third on; the 14th and 15th of all are utime and stime.
    let ticks: Vec<u32> = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(TICK * ticks.into_iter().sum::<u32>())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn processor_time_of_this_process_goes_on() {
        let (start, before) = (Instant::now(), cpu(std::process::id()).unwrap());
        while cpu(std::process::id()).unwrap() < before + 3 * TICK {
            assert!(start.elapsed() < Duration::from_secs(60), "it stands still");
        }
    }
}
