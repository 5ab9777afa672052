//! Identities, cgroups' paths and the patterns that name them, label selectors, quantities: short
//! texts in which the form has a meaning. The first line is a pattern, a selector and a
//! quantity; each is a name. The whole is the subject of a certificate, a token of a list and a header.

use nodetally::attribution::{Owner, Position, guest_name, says_more};
use nodetally::directory::catalog::CgroupPattern;
use nodetally::directory::node::StatedQuantity;
use nodetally::directory::pod::Phase;
use nodetally::directory::resource_quantity::ResourceQuantity;
use nodetally::identity::{BootId, ContainerId, PodUid};
use nodetally::payload::metrics_k8s_io::{AggregatedDiscovery, ListPosition};
use nodetally::payload::pod_lifecycle::list_path;
use nodetally::payload::resource_api::check_name;
use nodetally::payload::selector::Selector;
use nodetally::receiver::decode_common_name;

/// Reads one input.
pub fn run(text: &[u8]) {
    if let Some(name) = decode_common_name(text) {
        assert!(name.len() < text.len());
    }
    if let Ok(text) = std::str::from_utf8(text) {
        if let Ok(position) = ListPosition::parse(text, "/api/v1/pods") {
            let again = ListPosition::parse(&position.token("/api/v1/pods"), "/api/v1/pods");
            assert_eq!(again, Ok(position));
        }
        let _ = AggregatedDiscovery::of_accept(text);
    }
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    if let Ok(first) = std::str::from_utf8(first) {
        selector(first);
        quantity(first);
        name(first);
        let pattern = CgroupPattern::new(first);
        for path in lines.clone() {
            if let Ok(pattern) = &pattern {
                assert_eq!(pattern.fits(path), fits_slowly(first.as_bytes(), path));
            }
        }
        if let Ok(pattern) = pattern {
            assert!(pattern.fits(first.as_bytes()), "a star stands for itself too");
        }
    }
    for line in lines {
        identities(line);
        owner(line);
        line.split(|byte| *byte == b'/').for_each(identities);
    }
}

fn identities(text: &[u8]) {
    if let Some(uid) = PodUid::of_text(text) {
        assert_eq!(PodUid::of_text(uid.to_string().as_bytes()), Some(uid));
        assert_eq!(uid.to_string().len(), text.len());
    }
    if let Some(uid) = PodUid::parse(text) {
        assert_eq!(PodUid::of_text(text), Some(uid));
    }
    if let Some(id) = ContainerId::parse(text) {
        assert_eq!(id.to_string().as_bytes(), text);
    }
    if let Some(boot) = BootId::parse(text) {
        assert!(boot.as_str().len() == 36 && text.starts_with(boot.as_str().as_bytes()));
    }
}

/// A whole path comes to what its steps come to.
fn owner(path: &[u8]) {
    let located = Owner::locate(path);
    assert!(path.starts_with(located.starts_at));
    assert_eq!(Owner::of_path(path), located.owner);
    let mut position = Position::ROOT;
    for component in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        let step = position.step(component);
        if !step.starts {
            assert_eq!(step.position.owner, position.owner);
        }
        position = step.position;
    }
    assert_eq!(position.owner, located.owner);
    assert!(!says_more(path, path));
    assert!(!guest_name(path).is_empty() || path.is_empty());
}

/// Which beginnings of the path the beginning of the pattern fits, sign by sign.
fn fits_slowly(pattern: &[u8], path: &[u8]) -> bool {
    let mut fits = vec![false; path.len() + 1];
    fits[0] = true;
    for wanted in pattern {
        let mut next = vec![false; path.len() + 1];
        for at in 0..=path.len() {
            next[at] = match wanted {
                b'*' => fits[at] || (at > 0 && next[at - 1] && path[at - 1] != b'/'),
                byte => at > 0 && fits[at - 1] && path[at - 1] == *byte,
            };
        }
        fits = next;
    }
    fits[path.len()]
}

fn selector(text: &str) {
    let Ok(selector) = Selector::parse(text) else { return };
    let written = selector.to_string();
    // What was spread over `in ( , )` may be written longer than it may be read.
    if let Ok(again) = Selector::parse(&written) {
        assert_eq!(again, selector, "{written}");
    } else {
        assert!(written.len() > text.len(), "{written}");
    }
    let labels = vec![("a".into(), "b".into())];
    assert_eq!(selector.fits(&labels), selector.fits_values(|key| (key == "a").then_some("b")));
    assert!(!selector.is_empty() || selector.fits(&Vec::new()));
}

fn quantity(text: &str) {
    let Some(quantity) = ResourceQuantity::parse(text) else { return };
    let stated = StatedQuantity::parse(text).expect("a quantity");
    assert!(stated.as_str() == text && stated.value() == quantity);
    let (units, millis) = (quantity.units(), quantity.milli_units());
    // Both are rounded up.
    if units < u64::MAX / 1000 {
        assert!(units * 1000 >= millis && (units == 0 || millis > (units - 1) * 1000), "{text}");
    }
    let number = quantity.as_f64();
    assert!(number.is_finite() && (number > 0.0) == (quantity > ResourceQuantity::ZERO));
    let negative = match text.strip_prefix('-') {
        Some(rest) => ResourceQuantity::parse(rest),
        None => ResourceQuantity::parse(&format!("-{}", text.strip_prefix('+').unwrap_or(text))),
    };
    // One sign more may be one too many.
    if let Some(negative) = negative {
        assert_eq!(quantity.plus(negative), ResourceQuantity::ZERO, "{text}");
    }
    assert!(quantity.plus(quantity) >= quantity || quantity < ResourceQuantity::ZERO);
}

/// A name that may stand in a path stays one segment of it.
fn name(text: &str) {
    let _ = Phase::parse(text).as_str();
    if check_name(text).is_ok() {
        let path = list_path(text);
        let segment = path.strip_prefix("/pod/list/").unwrap_or_default();
        assert!(segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#".contains(&byte)));
    }
}
