//! The socket monitor, over whatever sockets the machine has.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use nodetally::quantity::BootTime;
use nodetally::snapshot::ReadCounts;
use nodetally::snapshot::gaps::Gaps;
use nodetally::snapshot::read_context::ReadContext;
use nodetally::snapshot::socket_reader::SocketReader;
use nodetally::snapshot::sockets::SocketsReading;
use nodetally::source::root::{Buffer, Dir};

use crate::counting::allocations_in;

/// The sockets of other programs that may come between two rounds. A reader that has never had as many
/// takes memory for them, which says nothing of a steady state.
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
        let procfs = Dir::open(Path::new("/proc")).expect("/proc");
        let reader = SocketReader::open(&procfs, true).expect("the kernel's socket monitor");
        let reading = SocketsReading { rows: Vec::with_capacity(OTHERS), ..Default::default() };
        let (buffer, gaps, work) = (Buffer::default(), Gaps::default(), ReadCounts::default());
        let mut new = Self { reader, reading, buffer, gaps, work };
        new.round();
        new
    }

    /// One sample; the number of allocations and frees in it.
    fn round(&mut self) -> u64 {
        let Self { reader, reading, buffer, gaps, work } = self;
        let clock = BootTime::default;
        let mut context = ReadContext { buffer, gaps, counts: work, clock: &clock, tick: 0 };
        allocations_in(|| {
            reader.drain_events();
            reader.look(context.buffer, &clock);
            reader.read(reading, &mut context);
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
    ends.iter().for_each(|_| drop(listener.accept().expect("its other end")));
    let mut monitor = Monitor::with_room();
    monitor.round();
    let mut taken = 0;
    let mut steady = 0;
    while steady < 100 {
        // So that there is something to look at, and an end.
        let both = (TcpStream::connect(address), listener.accept());
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
        drop(both);
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
