//! The socket monitor, over whatever sockets the machine has.

use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use nodetally::quantity::BootTime;
use nodetally::snapshot::ReadCounts;
use nodetally::snapshot::gaps::Gaps;
use nodetally::snapshot::read_context::ReadContext;
use nodetally::snapshot::sockets::{SocketReader, SocketsReading};
use nodetally::source::root::Buffer;

use crate::counting::allocations_in;

/// The sockets of other programs that may come, and end, between two rounds. A reader that has never had as
/// many takes memory for them, which says nothing of a steady state.
const OTHERS: usize = 1000;

/// A reader with room for [`OTHERS`].
struct Monitor {
    reader: SocketReader,
    reading: SocketsReading,
    buffer: Buffer,
    gaps: Gaps,
    work: ReadCounts,
}

impl Monitor {
    fn with_room() -> Self {
        let reader = SocketReader::open(true).expect("the kernel's socket monitor");
        let reading = SocketsReading { rows: Vec::with_capacity(OTHERS), ..Default::default() };
        let (buffer, gaps, work) = (Buffer::default(), Gaps::default(), ReadCounts::default());
        let mut new = Self { reader, reading, buffer, gaps, work };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        for _ in 0..OTHERS / 2 {
            let ends = (TcpStream::connect(address), listener.accept());
            assert!(ends.0.is_ok() && ends.1.is_ok(), "{ends:?}");
            drop(ends);
            // Before the kernel's queue is full.
            new.reader.drain_events(&new.reading);
        }
        // The kernel tells of the last ones a moment later.
        sleep(Duration::from_millis(100));
        new.round();
        let ended = new.reading.ended.len();
        assert!(ended > OTHERS / 2, "room for {ended} ends");
        new
    }

    /// One sample; the number of allocations and frees in it.
    fn round(&mut self) -> u64 {
        let Self { reader, reading, buffer, gaps, work } = self;
        let clock = BootTime::default;
        let mut context = ReadContext { buffer, gaps, counts: work, clock: &clock, tick: 0 };
        allocations_in(|| {
            reader.read(reading, &mut context);
            reader.drain_events(reading);
            reader.finish(reading, &mut context);
        })
    }
}

#[test]
fn asking_for_sockets_takes_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let ends: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    let mut monitor = Monitor::with_room();
    monitor.round();
    let mut taken = 0;
    let mut steady = 0;
    while steady < 100 {
        monitor.gaps.current.clear();
        let allocations = monitor.round();
        // Where the machine ends sockets faster than they can be noted, that is a gap, which has a text.
        if monitor.gaps.current.is_empty() {
            taken += allocations;
            steady += 1;
        }
    }
    assert_eq!(taken, 0);
    drop(ends);
    assert!(monitor.reading.readable && monitor.reading.complete);
}
