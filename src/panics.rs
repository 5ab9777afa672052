//! Panics: which of them end the process, and which only the task that they are in.
//!
//! Data from outside passes through libraries that may panic on it. The tasks of identity and of
//! endpoints catch such a panic and start again, so that sampling goes on. A panic anywhere else ends
//! the process, since a part must not be missing in silence: whoever watches over the agent starts it
//! again, and it resumes from its counters.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tracing::error;

/// The longest panic message that is logged, in characters.
const MESSAGE_CHARS_MAX: usize = 160;

/// A task that has run so long is started again without delay.
pub(crate) const STEADY: Duration = Duration::from_secs(600);

/// The waits before a task is started again.
pub(crate) const RESTART_WAIT_MIN: Duration = Duration::from_secs(1);
pub(crate) const RESTART_WAIT_MAX: Duration = Duration::from_secs(60);

/// A future has panicked. The log has the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// The value of a future, or its panic. The future is dropped with the panic: what it owned is lost,
/// and what it borrowed is as the panic left it.
pub(crate) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Spawns a task that cannot be started again: its panic ends the process.
pub(crate) fn spawn_essential<F>(name: &'static str, future: F) -> tokio::task::JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        if catch(future).await.is_err() {
            error!("{name}: its task panicked and cannot be started again; the agent ends");
            std::process::abort();
        }
    })
}

/// Logs each panic in one line, and ends the process unless the panic is in a task. To be called once
/// by a program that runs for long.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let is_in_task = tokio::task::try_id().is_some();
        let current = std::thread::current();
        error!("{}", line(panic, current.name().unwrap_or("unnamed"), is_in_task));
        if !is_in_task {
            std::process::abort();
        }
    }));
}

fn line(panic: &PanicHookInfo<'_>, thread: &str, is_in_task: bool) -> String {
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    let message = panic.payload_as_str().unwrap_or_default();
    let follows = if is_in_task {
        "only its task ends; this is a fault of the program, please report it"
    } else {
        "the agent ends; this is a fault of the program, please report it"
    };
    format!("a panic{place} in the thread {thread}: {}: {follows}", without_value(message))
}

/// A panic's message without the value that it may quote: that may be from outside, and secret.
fn without_value(message: &str) -> String {
    let text = message.split([':', '\n', '`', '"', '\'']).next().unwrap_or_default();
    text.trim().chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_a_future_and_leaves_what_it_borrowed() {
        let mut borrowed = vec![1];
        let future = async {
            tokio::task::yield_now().await;
            borrowed.push(2);
            assert!(borrowed.is_empty(), "a panic that the test wants");
        };
        assert_eq!(catch(future).await, Err(Panicked));
        assert_eq!(borrowed, [1, 2]);
        assert_eq!(catch(async { 7 }).await, Ok(7));
    }

    #[test]
    fn a_message_is_logged_without_values() {
        for (message, logged) in [
            ("called `Result::unwrap()` on an `Err` value: \"hunter2\"", "called"),
            ("token is not valid header: InvalidHeaderValue(hunter2)", "token is not valid header"),
            ("index out of bounds", "index out of bounds"),
            ("", ""),
        ] {
            assert_eq!(without_value(message), logged);
        }
    }

    #[tokio::test]
    async fn only_what_runs_in_a_task_counts_as_one() {
        assert!(tokio::spawn(async { tokio::task::try_id().is_some() }).await.unwrap());
        let blocking = tokio::task::spawn_blocking(|| tokio::task::try_id().is_some());
        assert!(blocking.await.unwrap());
        assert!(tokio::task::try_id().is_none(), "the main task of a runtime is none");
    }
}
