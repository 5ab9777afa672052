//! A scraper, and the reading of its text.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use flate2::read::GzDecoder;

/// The answer to a request.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, text)| text)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn unpacked(&self) -> String {
        let mut text = String::new();
        GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
        text
    }
}

/// Asks as HTTP/1.0, so that the answer ends with the connection.
pub fn ask_over(
    mut stream: impl Read + Write,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Answer> {
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET {target} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n")?;
    stream.flush()?;
    let mut bytes = Vec::new();
    // A server need not say that TLS ends.
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("no answer"))?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

pub fn ask(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    ask_over(TcpStream::connect(address)?, target, headers)
}

pub const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// The series of a text, by name and labels.
pub struct Series(pub BTreeMap<String, f64>);

impl Series {
    pub fn of(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut all = BTreeMap::new();
        for line in lines {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(all.insert(series.to_owned(), value), None, "twice: {series}");
        }
        Self(all)
    }

    /// The one series of the name with these labels among its own; `None`: there is none.
    #[track_caller]
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &&String| {
            let has = |(label, value): &(&str, &str)| {
                let pair = format!("{label}=\"{value}\"");
                series.contains(&format!("{{{pair}")) || series.contains(&format!(",{pair}"))
            };
            series.split('{').next() == Some(name) && labels.iter().all(has)
        };
        let found: Vec<&String> = self.0.keys().filter(has).collect();
        assert!(found.len() <= 1, "{name} {labels:?}: {found:?}");
        found.first().map(|series| self.0[*series])
    }

    #[track_caller]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| {
            let like: Vec<_> = self.0.keys().filter(|series| series.starts_with(name)).collect();
            panic!("no {name} {labels:?} in {like:#?}")
        })
    }
}
