//! A server over real TCP whose mood a test sets, and that remembers what it was sent by key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Takes what it is sent, and answers this much later.
    Slow(Duration),
    /// Nobody listens.
    Refusing,
    Unavailable,
    /// Takes what it is sent, and closes the connection without an answer.
    Silent,
}

/// A post that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub path: String,
    pub body: String,
}

#[derive(Debug, Default)]
pub struct Memory {
    /// By idempotency key.
    pub posts: BTreeMap<String, Taken>,
    /// Bodies in the order in which they came for the first time.
    pub order: Vec<String>,
    /// Posts that came once more, as they had come before.
    pub repeats: u64,
    /// Keys under which something else had come before.
    pub contradictions: Vec<String>,
    pub turned_away: u64,
}

pub struct Peer {
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    memory: Arc<Mutex<Memory>>,
}

impl Peer {
    /// On a thread of its own, until the test ends.
    pub fn start(mood: Mood) -> Self {
        let (mood, moods) = watch::channel(mood);
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let (told, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&memory);
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let held = bind(SocketAddr::from(([127, 0, 0, 1], 0)));
                let address = held.local_addr().unwrap();
                // Before its address is known, since a connection to nobody is refused.
                let listener = bind(address).listen(256).unwrap();
                told.send(address).unwrap();
                serve(address, listener, moods, shared).await;
            });
        });
        Self { address: address.recv().unwrap(), mood, memory }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

/// One that is not listened on keeps the port from everybody else.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn serve(
    address: SocketAddr,
    mut listener: TcpListener,
    mut moods: watch::Receiver<Mood>,
    memory: Arc<Mutex<Memory>>,
) {
    loop {
        let mut connections = JoinSet::new();
        let refusing = moods.clone();
        let refuses = async {
            let mut refusing = refusing;
            refusing.wait_for(|mood| *mood == Mood::Refusing).await.is_err()
        };
        tokio::pin!(refuses);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(talk(stream, moods.clone(), Arc::clone(&memory)));
                }
                gone = &mut refuses => {
                    // Its test has ended; other tests share the process.
                    if gone {
                        return;
                    }
                    break;
                }
                Some(_) = connections.join_next() => {}
            }
        }
        // Every connection is closed with it.
        drop((listener, connections));
        if moods.wait_for(|mood| *mood != Mood::Refusing).await.is_err() {
            return;
        }
        listener = bind(address).listen(256).unwrap();
    }
}

async fn talk(mut stream: TcpStream, moods: watch::Receiver<Mood>, memory: Arc<Mutex<Memory>>) {
    let mut bytes = Vec::new();
    loop {
        let (head, body) = loop {
            if let Some(request) = cut_request(&mut bytes) {
                break request;
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let mood = *moods.borrow();
        let status = match mood {
            Mood::Unavailable | Mood::Refusing => {
                memory.lock().unwrap().turned_away += 1;
                "503 Service Unavailable"
            }
            Mood::Well | Mood::Slow(_) | Mood::Silent => {
                memory.lock().unwrap().take(&head, body);
                "201 Created"
            }
        };
        match mood {
            Mood::Slow(time) => sleep(time).await,
            Mood::Silent => return,
            _ => {}
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Memory {
    fn take(&mut self, head: &str, body: String) {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let key = field(head, "idempotency-key").unwrap_or_default().to_owned();
        let taken = Taken { path, body };
        match self.posts.get(&key) {
            None => {
                self.order.push(taken.body.clone());
                self.posts.insert(key, taken);
            }
            Some(before) if *before == taken => self.repeats += 1,
            Some(_) => self.contradictions.push(key),
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn cut_request(bytes: &mut Vec<u8>) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    // A GET has none.
    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    if bytes.len() < end + length {
        return None;
    }
    let body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    bytes.drain(..end + length);
    Some((head, body))
}
