//! The queue between the threads that log and the writer thread.
//!
//! Logging never blocks: LDK logs while it holds locks, so a slow reader (a serial console, journald on an
//! SD card, a terminal stopped with Ctrl-S) would stop payments. Lines that do not fit into the queue are
//! dropped and counted.

use crate::sync::lock;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum size of the queue in bytes; a batch of up to the same size may be in the process of being written.
const CAPACITY: usize = 1 << 20;
/// Maximum size of one write, in bytes.
const MAX_WRITE: usize = 1 << 16;
/// Delay before a retry if stderr is full and another process that shares it has made it non-blocking.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// The priority of a line when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Droppable,
    /// Queued even if the queue is full. Such lines are few.
    Required,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since they were last reported.
    dropped: u64,
    /// Total number of bytes queued.
    queued: u64,
    /// Total number of bytes written or lost.
    done: u64,
}

impl Queue {
    /// Queues whole lines, or drops them if the queue is full. Never blocks.
    pub(super) fn push(&self, line: &[u8], urgency: Urgency) {
        let mut state = self.state();
        if urgency == Urgency::Droppable && state.waiting.len() + line.len() > CAPACITY {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.queued += line.len() as u64;
        self.arrived.notify_one();
    }

    /// Returns the number of lines dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.state().dropped)
    }

    /// Writes the queued lines; returns after `timeout` if there are none. For the writer thread only.
    ///
    /// Lines are lost if the write fails, as with a closed terminal or a full disk under a log file.
    pub(super) fn write_next(&self, out: &mut impl Write, timeout: Duration) {
        let batch = {
            let state = self.state();
            let idle = |state: &mut State| state.waiting.is_empty();
            let waited = self.arrived.wait_timeout_while(state, timeout, idle);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut state.waiting)
        };
        if batch.is_empty() {
            return;
        }
        // A failed write cannot be reported: stderr is the only output.
        let _ = write_all(out, &batch);
        self.state().done += batch.len() as u64;
        self.written.notify_all();
    }

    /// Waits until all lines queued so far are written, at most for `timeout`. Returns true if they are.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let state = self.state();
        let wanted = state.queued;
        let pending = |state: &mut State| state.done < wanted;
        let waited = self.written.wait_timeout_while(state, timeout, pending);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.done >= wanted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Like [`Write::write_all`], but also works on a non-blocking output.
fn write_all(out: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(&rest[..rest.len().min(MAX_WRITE)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_DELAY),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, PipeReader, pipe};
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);
    const LINE: &[u8; 100] = &[b'x'; 100];

    /// Returns a queue with a thread that writes to a pipe, and the pipe's reader.
    fn running() -> (Arc<Queue>, PipeReader) {
        let queue = Arc::new(Queue::default());
        let (reader, mut writer) = pipe().unwrap();
        let queued = queue.clone();
        std::thread::spawn(move || {
            loop {
                queued.write_next(&mut writer, TIMEOUT);
            }
        });
        (queue, reader)
    }

    #[test]
    fn lines_are_written_in_order() {
        let (queue, reader) = running();
        for number in 0..1000 {
            queue.push(format!("{number}\n").as_bytes(), Urgency::Droppable);
        }
        assert!(queue.flush(TIMEOUT));
        let lines = BufReader::new(reader).lines().take(1000);
        let numbers = lines.map(|line| line.unwrap().parse::<u32>().unwrap());
        assert!(numbers.eq(0..1000));
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn full_queue_drops_and_counts_lines_without_blocking() {
        let (queue, _reader) = running();
        let start = Instant::now();
        let lines = 5 * CAPACITY / LINE.len();
        for _ in 0..lines {
            queue.push(LINE, Urgency::Droppable);
        }
        assert!(
            !queue.flush(Duration::from_millis(10)),
            "the pipe has a reader"
        );
        assert!(start.elapsed() < TIMEOUT);
        let dropped = usize::try_from(queue.take_dropped()).unwrap();
        // One batch is being written, another is queued, and the pipe's buffer holds some lines.
        assert!(dropped >= lines - 3 * CAPACITY / LINE.len(), "{dropped}");
        assert!(queue.state().waiting.len() <= CAPACITY);
        queue.push(LINE, Urgency::Required);
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn flush_does_not_wait_for_lines_that_cannot_be_written() {
        let (queue, reader) = running();
        drop(reader);
        queue.push(LINE, Urgency::Droppable);
        assert!(queue.flush(TIMEOUT));
    }
}
