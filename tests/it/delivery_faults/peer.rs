//! A server that answers by a script, byte by byte if need be, and writes down what it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nodetally::delivery::BaseUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

/// The peer's action on one request.
#[derive(Debug, Clone)]
pub enum Act {
    /// A status line without its version, with further header lines behind it if need be.
    Answer(&'static str),
    /// The same after a while.
    After(Duration, &'static str),
    /// These bytes, as they are.
    Bytes(&'static [u8], Then),
    /// These bytes one at a time, with a wait before each.
    Drip(&'static [u8], Duration),
    /// These bytes, and then the others again and again, until nobody takes them.
    Endless(&'static [u8], &'static [u8]),
    /// A reset while the request's body is being sent.
    ResetMidRequest,
    /// Whatever is to be answered, the peer has taken the post, and says so.
    Taken(Box<Self>),
}

#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Waits for the next request.
    GoOn,
    Close,
    Reset,
    /// Sends nothing any more, and reads on.
    HalfClose,
    /// Neither sends nor reads.
    Stall,
}

impl Act {
    /// Tells if it may be ended by a time limit alone: an answer that does not come, or not to its end.
    pub fn keeps_waiting(&self) -> bool {
        match self {
            Self::Answer(_) | Self::ResetMidRequest => false,
            Self::Bytes(_, Then::Close | Then::Reset | Then::GoOn) => false,
            Self::Taken(act) => act.keeps_waiting(),
            Self::After(..) | Self::Bytes(..) | Self::Drip(..) | Self::Endless(..) => true,
        }
    }
}

pub const CREATED: Act = Act::Answer("201 Created");

#[derive(Debug, Clone)]
pub struct Request {
    /// The number of requests before this one.
    pub nth: usize,
    pub path: String,
    pub key: String,
    pub body_bytes: usize,
}

type Script = Arc<dyn Fn(&Request) -> Act + Send + Sync>;

#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub path: String,
    pub key: String,
    pub body: String,
    /// The peer took it: it answered 2xx, or acted as one whose 2xx was lost.
    pub taken: bool,
    /// It was told so in full.
    pub told: bool,
}

#[derive(Debug, Default)]
pub struct Log {
    /// In the order in which they were answered.
    pub seen: Vec<Seen>,
    pub heads: usize,
    pub connections: usize,
    pub under_way: usize,
    pub under_way_max: usize,
}

#[derive(Debug)]
pub struct Peer {
    pub addr: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: JoinHandle<()>,
}

/// A port of which connections are refused as long as nobody starts a peer there.
pub fn unused_addr() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

impl Peer {
    pub fn start(script: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    pub fn start_at(
        addr: SocketAddr,
        script: impl Fn(&Request) -> Act + Send + Sync + 'static,
    ) -> Self {
        // An earlier peer's connections may still linger on the port.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(addr).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let addr = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let script: Script = Arc::new(script);
        let shared = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                connections.spawn(talk(stream, Arc::clone(&script), Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { addr, log, task }
    }

    /// Closes the port and every connection.
    pub async fn stop(self) -> Vec<Seen> {
        self.task.abort();
        let _ = self.task.await;
        std::mem::take(&mut self.log.lock().unwrap().seen)
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    /// Bodies in the order in which they were taken.
    pub fn taken(&self) -> Vec<String> {
        let log = self.log();
        log.seen.iter().filter(|seen| seen.taken).map(|seen| seen.body.clone()).collect()
    }

    pub fn url(&self) -> BaseUrl {
        url(self.addr)
    }
}

pub fn url(addr: SocketAddr) -> BaseUrl {
    BaseUrl::parse(&format!("http://{addr}")).unwrap()
}

async fn talk(mut stream: TcpStream, script: Script, log: Arc<Mutex<Log>>) {
    let mut bytes = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut bytes).await else { return };
        let nth = {
            let mut log = log.lock().unwrap();
            log.heads += 1;
            log.under_way += 1;
            log.under_way_max = log.under_way_max.max(log.under_way);
            log.heads - 1
        };
        let under_way = UnderWay(Arc::clone(&log));
        let body_bytes = field(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let key = field(&head, "idempotency-key").unwrap_or_default().to_owned();
        let request = Request { nth, path, key, body_bytes };
        let act = script(&request);
        let at = Instant::now();
        if matches!(act, Act::ResetMidRequest) {
            reset(&stream);
            return;
        }
        while bytes.len() < body_bytes {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = String::from_utf8(bytes.drain(..body_bytes).collect()).unwrap();
        let Request { path, key, .. } = request;
        let note = Note { log: &log, under_way, seen: (at, path, key, body) };
        if !answer(&mut stream, act, note).await {
            return;
        }
    }
}

/// Answers one request. True if the connection can take another.
async fn answer(stream: &mut TcpStream, act: Act, note: Note<'_>) -> bool {
    let (act, taken) = match act {
        Act::Taken(act) => (*act, true),
        act => (act, false),
    };
    match act {
        Act::Answer(status) => say(stream, status, note).await,
        Act::After(time, status) => {
            sleep(time).await;
            say(stream, status, note).await
        }
        Act::Bytes(bytes, then) => {
            note.down(taken, false);
            if stream.write_all(bytes).await.is_err() {
                return false;
            }
            match then {
                Then::GoOn => return true,
                Then::Close => {}
                Then::Reset => {
                    // What was written is to be on its way.
                    sleep(Duration::from_millis(5)).await;
                    reset(stream);
                }
                Then::HalfClose => {
                    let _ = stream.shutdown().await;
                    let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
                }
                Then::Stall => std::future::pending().await,
            }
            false
        }
        Act::Drip(bytes, wait) => {
            note.down(taken, false);
            for byte in bytes {
                sleep(wait).await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return false;
                }
            }
            true
        }
        Act::Endless(bytes, others) => {
            note.down(taken, false);
            let mut written = stream.write_all(bytes).await;
            while written.is_ok() {
                written = stream.write_all(others).await;
            }
            false
        }
        Act::ResetMidRequest | Act::Taken(_) => panic!("an act that cannot stand here"),
    }
}

async fn say(stream: &mut TcpStream, status: &str, note: Note<'_>) -> bool {
    note.down(status.starts_with('2'), true);
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 3\r\n\r\nwhy");
    stream.write_all(answer.as_bytes()).await.is_ok()
}

/// The record of a request, written just before its answer is sent.
struct Note<'a> {
    log: &'a Arc<Mutex<Log>>,
    under_way: UnderWay,
    seen: (Instant, String, String, String),
}

impl Note<'_> {
    fn down(self, taken: bool, told: bool) {
        drop(self.under_way);
        let (at, path, key, body) = self.seen;
        let seen = Seen { at, path, key, body, taken, told: told && taken };
        self.log.lock().unwrap().seen.push(seen);
    }
}

/// Counts a request as under way until it is answered or given up.
struct UnderWay(Arc<Mutex<Log>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

async fn read_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = bytes.drain(..end + 4).collect();
            return Some(String::from_utf8(head).unwrap());
        }
        if stream.read_buf(bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// The number of acceptances, by key.
pub fn takes(seen: &[Seen]) -> BTreeMap<String, usize> {
    let mut takes = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.taken) {
        *takes.entry(seen.key.clone()).or_default() += 1;
    }
    takes
}
