//! A server that answers as a script says, and keeps what it was sent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use super::wire::{Series, request_1_0, request_2_0, unsnappy};
use crate::support::agent::any_port;

#[derive(Debug)]
pub struct Received {
    /// `POST /path HTTP/1.1`
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    series: OnceLock<Vec<Series>>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn is_2_0(&self) -> bool {
        self.header("x-prometheus-remote-write-version") == Some("2.0.0")
    }

    /// Read once, since tests ask until something has come.
    pub fn series(&self) -> &[Series] {
        self.series.get_or_init(|| {
            let message = unsnappy(&self.body);
            if self.is_2_0() { request_2_0(&message) } else { request_1_0(&message) }
        })
    }
}

/// The head of an answer without its first `HTTP/1.1 ` and last line break, and the body.
pub type Answer = (String, &'static str);

pub struct Server {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Arc<Received>>>>,
}

impl Server {
    /// The script sees the number of the request and the request.
    pub fn start(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(any_port()).unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Arc<Received>>>> = Arc::default();
        let (kept, script) = (Arc::clone(&received), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                thread::spawn(move || talk(stream, &kept, &*script));
            }
        });
        Self { address, received }
    }

    pub fn received(&self) -> Vec<Arc<Received>> {
        self.received.lock().unwrap().clone()
    }
}

fn talk(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Arc<Received>>>,
    script: &dyn Fn(usize, &Received) -> Answer,
) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !read_more(&mut stream, &mut bytes) {
                return;
            }
        };
        let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request = Received { line, headers, body: Vec::new(), series: OnceLock::new() };
        let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
        while bytes.len() < length {
            if !read_more(&mut stream, &mut bytes) {
                return;
            }
        }
        request.body = bytes.drain(..length).collect();
        let mut kept = kept.lock().unwrap();
        let (head, body) = script(kept.len(), &request);
        kept.push(Arc::new(request));
        drop(kept);
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 65536];
    let count = stream.read(&mut chunk).unwrap_or(0);
    bytes.extend_from_slice(&chunk[..count]);
    count > 0
}
