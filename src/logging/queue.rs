//! Lines that wait to be written, and the thread that writes them.
//!
//! Whoever logs never waits: LDK logs with its locks held, and a reader that is slow (a serial console,
//! journald on an SD card, a terminal that was stopped with Ctrl-S) would stop payments. What does not
//! fit is dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait at most; as many may be on their way out.
const CAPACITY: usize = 1 << 20;
/// What is handed to the operating system at once, bytes.
const CHUNK: usize = 1 << 16;
/// Until the next try, if whoever shares our stderr has made it non-blocking and it is full.
const FULL: Duration = Duration::from_millis(50);

/// A line that may be dropped, or one that says what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Ordinary,
    /// Takes a place even if there is none. There are few of these.
    Needed,
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
    /// Lines dropped since they were last counted.
    dropped: u64,
    /// Bytes that were ever queued, and those that are done with.
    queued: u64,
    done: u64,
}

impl Queue {
    /// Queues these bytes, whole lines, or drops them. Never waits.
    pub(super) fn push(&self, line: &[u8], urgency: Urgency) {
        let mut state = self.state();
        if urgency == Urgency::Ordinary && state.waiting.len() + line.len() > CAPACITY {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.queued += line.len() as u64;
        self.arrived.notify_one();
    }

    /// How many lines were dropped since this was asked before.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.state().dropped)
    }

    /// Writes what waits, or returns after `patience` if nothing comes. For one thread alone.
    ///
    /// What cannot be written is lost: the terminal is closed, or the disk of a log file is full.
    pub(super) fn write_next(&self, out: &mut impl Write, patience: Duration) {
        let batch = {
            let state = self.state();
            let idle = |state: &mut State| state.waiting.is_empty();
            let waited = self.arrived.wait_timeout_while(state, patience, idle);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut state.waiting)
        };
        if batch.is_empty() {
            return;
        }
        // Without a reader there is nobody to tell.
        let _ = write_all(out, &batch);
        self.state().done += batch.len() as u64;
        self.written.notify_all();
    }

    /// Waits until all that was queued before is written, for this long at most. Whether it is.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let state = self.state();
        let wanted = state.queued;
        let pending = |state: &mut State| state.done < wanted;
        let waited = self.written.wait_timeout_while(state, limit, pending);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.done >= wanted
    }

    /// No code that holds this lock can panic halfway through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`Write::write_all`], also on what does not block.
fn write_all(out: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(&rest[..rest.len().min(CHUNK)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(FULL),
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

    const LIMIT: Duration = Duration::from_secs(60);
    const LINE: &[u8; 100] = &[b'x'; 100];

    /// A queue whose thread writes into a pipe.
    fn running() -> (Arc<Queue>, PipeReader) {
        let queue = Arc::new(Queue::default());
        let (reader, mut writer) = pipe().unwrap();
        let queued = queue.clone();
        std::thread::spawn(move || {
            loop {
                queued.write_next(&mut writer, LIMIT);
            }
        });
        (queue, reader)
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (queue, reader) = running();
        for number in 0..1000 {
            queue.push(format!("{number}\n").as_bytes(), Urgency::Ordinary);
        }
        assert!(queue.flush(LIMIT));
        let lines = BufReader::new(reader).lines().take(1000);
        let numbers = lines.map(|line| line.unwrap().parse::<u32>().unwrap());
        assert!(numbers.eq(0..1000));
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn without_a_reader_lines_are_dropped_and_counted_and_nobody_waits() {
        let (queue, _reader) = running();
        let start = Instant::now();
        let lines = 5 * CAPACITY / LINE.len();
        for _ in 0..lines {
            queue.push(LINE, Urgency::Ordinary);
        }
        assert!(!queue.flush(Duration::from_millis(10)), "somebody reads");
        assert!(start.elapsed() < LIMIT);
        let dropped = usize::try_from(queue.take_dropped()).unwrap();
        // One batch is on its way out, another waits, and the pipe holds some.
        assert!(dropped >= lines - 3 * CAPACITY / LINE.len(), "{dropped}");
        assert!(queue.state().waiting.len() <= CAPACITY);
        queue.push(LINE, Urgency::Needed);
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_later_ones_are_not_waited_for() {
        let (queue, reader) = running();
        drop(reader);
        queue.push(LINE, Urgency::Ordinary);
        assert!(queue.flush(LIMIT));
    }
}
