//! `cpu.pressure`, `memory.pressure`, `io.pressure`, and the node's `/proc/pressure/*`
//! (Documentation/accounting/psi.rst).

use crate::quantity::CpuTime;
use crate::source::text::{Odd, fields, figure, hundredths, lines};
use crate::source::{Malformed, Parsed};

/// Time that was lost to waiting for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Option<Stall>,
    /// All tasks waited at once; `None` for cpu on kernels before 5.13.
    pub full: Option<Stall>,
    pub odd: Option<Malformed>,
}

impl Parsed for Pressure {
    fn odd(&self) -> Option<Malformed> {
        self.odd
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stall {
    /// Share of the last ten seconds, in hundredths of a percent.
    pub avg10_basis_points: u64,
    /// Cumulative.
    pub total: CpuTime,
}

impl Parsed for Stall {}

// some avg10=69.21 avg60=45.88 avg300=14.56 total=50304023
// full avg10=0.00 avg60=0.00 avg300=0.00 total=0
pub fn parse(text: &[u8]) -> Result<Pressure, Malformed> {
    let pressure = stalls(text)?;
    if pressure.some.is_none() && pressure.full.is_none() {
        return Err(Malformed::expected("a line that starts with some or full"));
    }
    Ok(pressure)
}

/// `irq.pressure` and `/proc/pressure/irq` (Linux 6.1, CONFIG_IRQ_TIME_ACCOUNTING): tasks of a CPU
/// wait for its interrupts all at once or not at all, so there is no line for some.
pub fn parse_irq(text: &[u8]) -> Result<Stall, Malformed> {
    stalls(text)?.full.ok_or(Malformed::expected("a line that starts with full"))
}

fn stalls(text: &[u8]) -> Result<Pressure, Malformed> {
    let mut pressure = Pressure::default();
    let mut odd = Odd::default();
    for line in lines(text)? {
        let mut line = fields(line);
        let slot = match line.next() {
            Some(b"some") => &mut pressure.some,
            Some(b"full") => &mut pressure.full,
            _ => continue,
        };
        let (mut avg10, mut total) = (None, None);
        for field in line {
            if let Some(value) = field.strip_prefix(b"avg10=") {
                avg10 = hundredths(value);
            } else if let Some(value) = field.strip_prefix(b"total=") {
                total = figure(value).map(CpuTime::from_usec);
            }
        }
        match (avg10, total) {
            (Some(avg10_basis_points), Some(total)) => {
                *slot = Some(Stall { avg10_basis_points, total });
            }
            _ => odd.note("avg10= and total= in each line"),
        }
    }
    pressure.odd = odd.0;
    Ok(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_may_be_missing_but_is_then_not_zero() {
        let line = "some avg10=69.21 avg60=45.88 avg300=14.56 total=50304023\n";
        let pressure = parse(line.as_bytes()).unwrap();
        assert_eq!(pressure.some.unwrap().avg10_basis_points, 6921);
        assert_eq!(pressure.some.unwrap().total.as_usec(), 50_304_023);
        assert_eq!(pressure.full, None);
        let both = format!("{line}full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
        assert_eq!(parse(both.as_bytes()).unwrap().full.unwrap().total.as_usec(), 5);
        let irq = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse_irq(irq.as_bytes()).unwrap().total.as_usec(), 7);
        assert_eq!(parse(irq.as_bytes()).unwrap().some, None);
        assert!(parse(b"avg10=0.00\n").is_err() && parse_irq(line.as_bytes()).is_err());
    }
}
