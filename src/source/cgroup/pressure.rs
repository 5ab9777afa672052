//! `cpu.pressure`, `memory.pressure`, `io.pressure`, and the node's `/proc/pressure/*`
//! (Documentation/accounting/psi.rst).

use crate::quantity::CpuTime;
use crate::source::Malformed;
use crate::source::text::{fields, figure, hundredths, lines};

/// Time that was lost to waiting for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited at once; `None` for cpu on kernels before 5.13.
    pub full: Option<Stall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stall {
    /// Share of the last ten seconds, in hundredths of a percent.
    pub avg10_basis_points: u64,
    /// Cumulative.
    pub total: CpuTime,
}

// some avg10=69.21 avg60=45.88 avg300=14.56 total=50304023
// full avg10=0.00 avg60=0.00 avg300=0.00 total=0
pub fn parse(text: &[u8]) -> Result<Pressure, Malformed> {
    let (some, full) = stalls(text)?;
    let some = some.ok_or(Malformed::expected("a line that starts with some"))?;
    Ok(Pressure { some, full })
}

/// `irq.pressure` and `/proc/pressure/irq` (Linux 6.1, CONFIG_IRQ_TIME_ACCOUNTING): tasks of a CPU
/// wait for its interrupts all at once or not at all, so there is no line for some.
pub fn parse_irq(text: &[u8]) -> Result<Stall, Malformed> {
    let (_, full) = stalls(text)?;
    full.ok_or(Malformed::expected("a line that starts with full"))
}

/// Some and full.
fn stalls(text: &[u8]) -> Result<(Option<Stall>, Option<Stall>), Malformed> {
    let (mut some, mut full) = (None, None);
    for line in lines(text)? {
        let mut line = fields(line);
        let slot = match line.next() {
            Some(b"some") => &mut some,
            Some(b"full") => &mut full,
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
            _ => return Err(Malformed::expected("avg10= and total= in each line")),
        }
    }
    Ok((some, full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_may_be_missing_but_is_then_not_zero() {
        let line = "some avg10=69.21 avg60=45.88 avg300=14.56 total=50304023\n";
        let pressure = parse(line.as_bytes()).unwrap();
        assert_eq!(pressure.some.avg10_basis_points, 6921);
        assert_eq!(pressure.some.total.as_usec(), 50_304_023);
        assert_eq!(pressure.full, None);
        let both = format!("{line}full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
        assert_eq!(parse(both.as_bytes()).unwrap().full.unwrap().total.as_usec(), 5);
        let irq = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse_irq(irq.as_bytes()).unwrap().total.as_usec(), 7);
        assert!(parse(irq.as_bytes()).is_err() && parse_irq(line.as_bytes()).is_err());
    }
}
