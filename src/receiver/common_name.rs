//! The common name in the subject of a certificate.
//!
//! ```text
//! 31 0b                     a set
//!   30 09                   a name and its value
//!     06 03 55 04 03        2.5.4.3, the common name
//!     0c 02 68 69           "hi"
//! ```

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// `UTF8String`, `PrintableString` and `IA5String`. What is in the last two is ASCII, and so UTF-8 too.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// Reads the common name of a subject: DER, without the sequence around it.
///
/// `None`: it has none, more than one, or cannot be read.
#[must_use]
pub fn decode_common_name(subject: &[u8]) -> Option<&str> {
    let mut found = None;
    let mut rest = subject;
    while !rest.is_empty() {
        let set = contents(SET, &mut rest)?;
        let mut attributes = set;
        while !attributes.is_empty() {
            let mut attribute = contents(SEQUENCE, &mut attributes)?;
            let kind = contents(OBJECT_IDENTIFIER, &mut attribute)?;
            let (tag, value) = next_value(&mut attribute)?;
            if kind != COMMON_NAME {
                continue;
            }
            if found.is_some() || !TEXTS.contains(&tag) {
                return None;
            }
            found = Some(std::str::from_utf8(value).ok()?);
        }
    }
    found
}

/// Takes a value of this tag off the front.
fn contents<'a>(tag: u8, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    next_value(rest).filter(|(found, _)| *found == tag).map(|(_, contents)| contents)
}

/// Takes a value off the front: its tag and contents.
fn next_value<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, length], behind) = rest.split_first_chunk()?;
    let (length, behind) = match length {
        0..=0x7f => (usize::from(length), behind),
        0x81 => {
            let (&[length], behind) = behind.split_first_chunk()?;
            (usize::from(length), behind)
        }
        0x82 => {
            let (&length, behind) = behind.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(length)), behind)
        }
        // No subject is that long.
        _ => return None,
    };
    let (contents, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some((tag, contents))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
        let mut der = vec![tag];
        match u8::try_from(contents.len()) {
            Ok(length @ 0..=0x7f) => der.push(length),
            Ok(length) => der.extend([0x81, length]),
            Err(_) => {
                der.push(0x82);
                der.extend(u16::try_from(contents.len()).unwrap().to_be_bytes());
            }
        }
        [&der, contents].concat()
    }

    fn attribute(kind: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let both = [value(OBJECT_IDENTIFIER, kind), value(tag, text)].concat();
        value(SET, &value(SEQUENCE, &both))
    }

    #[test]
    fn the_only_common_name_is_found() {
        let organisation = attribute(&[0x55, 0x04, 0x0a], 0x0c, b"system:masters");
        let name = attribute(COMMON_NAME, 0x0c, "front-proxy-client".as_bytes());
        let both = [&organisation[..], &name].concat();
        assert_eq!(decode_common_name(&both), Some("front-proxy-client"));
        assert_eq!(decode_common_name(&organisation), None);
        assert_eq!(decode_common_name(&[&name[..], &name].concat()), None, "which of the two?");
        assert_eq!(decode_common_name(b""), None);
        assert_eq!(decode_common_name(&both[..both.len() - 1]), None);
        let wide = attribute(COMMON_NAME, 0x1e, b"\0h\0i");
        assert_eq!(decode_common_name(&wide), None, "UTF-16");
        for length in [127, 128, 255, 256, 300] {
            let long = "n".repeat(length);
            let name = attribute(COMMON_NAME, 0x13, long.as_bytes());
            assert_eq!(decode_common_name(&name), Some(&*long));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in any::<Vec<u8>>(), cut in 0..40_usize) {
            let _ = decode_common_name(&bytes);
            let name = attribute(COMMON_NAME, 0x0c, b"front-proxy-client");
            let _ = decode_common_name(&name[..cut.min(name.len())]);
        }
    }
}
