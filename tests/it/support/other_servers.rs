//! Servers that speak something else than HTTP, as those do that stand at a wrong port.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::agent::any_port;

fn serve(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let talk = Arc::clone(&talk);
            thread::spawn(move || talk(stream));
        }
    });
    address
}

/// TLS, which answers anything else with an alert.
pub fn tls() -> SocketAddr {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    serve(move |mut stream| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        // Ends with an error, whose alert is sent.
        let _ = tls.complete_io(&mut stream);
        while tls.wants_write() && tls.write_tls(&mut stream).is_ok() {}
    })
}

/// HTTP/2 without TLS, as gRPC has it: a frame of settings comes first (RFC 9113, 3.4).
pub fn grpc() -> SocketAddr {
    serve(|mut stream| {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let _ = stream.read(&mut [0; 4096]);
    })
}

/// HTTP without TLS, which does not know what a client of TLS begins with.
pub fn plain() -> SocketAddr {
    serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    })
}

/// Each of them by its URL, with the words of the log about it.
pub fn all() -> [(&'static str, String, &'static str); 3] {
    [
        (
            "tls",
            format!("http://{}", tls()),
            "its answer is no HTTP: something else is at that port, such as TLS, whose URL begins with \
             https://, or gRPC",
        ),
        (
            "grpc",
            format!("http://{}", grpc()),
            "its answer is no HTTP: something else is at that port",
        ),
        (
            "plain",
            format!("https://{}", plain()),
            "its answer is no TLS: something else is at that port; the URL of plain HTTP begins with \
             http://",
        ),
    ]
}
