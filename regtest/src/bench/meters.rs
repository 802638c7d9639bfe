//! Metrics of the nodes and their CPU time as counted by the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The metric that counts durable commits.
const COMMITS: &str = "ampd_commits_total";
/// The metric that counts the bytes written to store the channel manager.
const MANAGER_BYTES: &str = "ampd_manager_bytes_written_total";
/// The metric with the size of the channel manager in bytes.
const MANAGER_SIZE: &str = "ampd_manager_bytes";
/// USER_HZ, the unit of `/proc/<pid>/stat`, is 10 ms on every Linux, whatever the kernel's own HZ.
const TICK: Duration = Duration::from_millis(10);

/// The sources for the readings of a node.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Port of its metrics page; `None` for lnd, which has no metric for commits.
    pub metrics_port: Option<u16>,
    pub pid: u32,
}

/// Resources used by one node since its start or between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// `None` if the node does not report it.
    pub commits: Option<u64>,
    /// Bytes written to store the channel manager; `None` if the node does not report it.
    pub manager_bytes: Option<u64>,
    pub cpu: Duration,
}

impl Reading {
    /// Returns the difference to an earlier reading.
    pub fn since(self, earlier: Self) -> Self {
        let difference = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            commits: difference(self.commits, earlier.commits),
            manager_bytes: difference(self.manager_bytes, earlier.manager_bytes),
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }
}

/// Reads all of them.
///
/// # Errors
/// If a process has ended or does not answer.
pub async fn read(meters: &[Meter]) -> Result<Vec<Reading>> {
    let mut readings = Vec::new();
    for meter in meters {
        readings.push(meter.read().await?);
    }
    Ok(readings)
}

impl Meter {
    /// Size in bytes of the node's channel manager at its last commit.
    ///
    /// # Errors
    /// If the node has no metrics page.
    pub async fn manager_size(&self) -> Result<u64> {
        let port = self.metrics_port.context("the node has no metrics page")?;
        value(&page(port).await?, MANAGER_SIZE)
    }

    async fn read(&self) -> Result<Reading> {
        let page = match self.metrics_port {
            Some(port) => Some(page(port).await.context("cannot read the metrics page")?),
            None => None,
        };
        let read = |metric| page.as_ref().map(|page| value(page, metric)).transpose();
        Ok(Reading {
            commits: read(COMMITS)?,
            manager_bytes: read(MANAGER_BYTES)?,
            cpu: cpu(self.pid)?,
        })
    }
}

fn value(page: &str, metric: &str) -> Result<u64> {
    let value = |line: &str| {
        line.strip_prefix(metric)?
            .strip_prefix(' ')
            .map(str::to_owned)
    };
    let value = page.lines().find_map(value);
    let value = value.with_context(|| format!("the metrics page has no {metric}"))?;
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

/// Returns user plus system time of all threads of a process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program name in parentheses, which may contain spaces.
    let (_, rest) = stat
        .rsplit_once(')')
        .context("unexpected format of /proc/<pid>/stat")?;
    // Starts at the third field; utime and stime are fields 14 and 15.
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
    fn metric_is_found_by_its_whole_name() {
        let page = "# TYPE bytes gauge\nbytes_total 7\nbytes 5\n";
        assert_eq!(value(page, "bytes").unwrap(), 5);
        assert!(value(page, "byte").is_err());
    }

    #[test]
    fn cpu_time_of_this_process_increases() {
        let (start, before) = (Instant::now(), cpu(std::process::id()).unwrap());
        while cpu(std::process::id()).unwrap() < before + 3 * TICK {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "CPU time does not increase"
            );
        }
    }
}
