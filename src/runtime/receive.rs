//! `nodetally receive`: a receiver that other nodes' agents send to. It samples nothing.

use std::io::Write;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use super::error::AgentError;
use super::{embedded, host, notify, receiver_access};
use crate::config::{ReceiverSettings, Settings};
use crate::receiver::Receiver;

/// Serves at `receiver.listen` until SIGTERM or SIGINT, within the bounds of a cluster. Prints to `out`
/// where it answers.
///
/// # Errors
/// The address cannot be bound or is open to strangers, a file cannot be used, or the system has no runtime or signal handler.
pub fn run(settings: &Settings, out: &mut dyn Write) -> Result<(), AgentError> {
    let system = |what| move |source| AgentError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("no runtime"))?;
    runtime.block_on(async {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(system("no SIGTERM handler"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("no SIGINT handler"))?;
        let address = settings.receiver.listen;
        // Before the store: nothing is opened for a receiver that is not to answer.
        let access = receiver_access::open(settings)?;
        let state = embedded::open(settings)?;
        state.set_access(access);
        let bound = Receiver::bind_with(address, &state).await;
        let receiver = bound.map_err(|source| AgentError::Listen { address, source })?;
        let receiver = receiver.with_tls_of(&state, receiver_access::on_failed_handshake());
        announce(&settings.receiver, receiver.local_addr(), out);
        notify::ready();
        let stopped = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notify::stopping();
        };
        receiver.serve(stopped).await;
        Ok(())
    })
}

fn announce(settings: &ReceiverSettings, address: SocketAddr, out: &mut dyn Write) {
    let url = receiver_access::url(settings, host::reached_at(address));
    let mut text = format!("the receiver answers on {url}\n");
    if let Some(line) = receiver_access::exposure(settings) {
        text.push_str(line);
        text.push('\n');
    }
    // A closed output is no reason to stop.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
