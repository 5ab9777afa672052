//! Memory of the vectors that are filled anew for each sample.

/// Makes room for one element more, and for an eighth of those that are there. These vectors live as long as
/// the agent and are as long as the node has cgroups, which changes little: room for twice as many would stay
/// unused.
pub(super) fn make_room<T>(vec: &mut Vec<T>) {
    if vec.len() == vec.capacity() {
        vec.reserve_exact((vec.len() / 8).max(8));
    }
}

/// Appends an element, with room as of [`make_room`].
pub(super) fn push<T>(vec: &mut Vec<T>, element: T) {
    make_room(vec);
    vec.push(element);
}

#[cfg(test)]
mod tests {
    use super::push;

    #[test]
    fn what_is_not_used_is_at_most_an_eighth() {
        let (mut vec, mut moved) = (Vec::new(), 0);
        for at in 0..10_000_usize {
            let before = vec.capacity();
            push(&mut vec, at);
            moved += usize::from(vec.capacity() != before);
            assert!(
                vec.capacity() <= vec.len() + (vec.len() / 8).max(8),
                "{} for {}",
                vec.capacity(),
                vec.len()
            );
        }
        assert!(moved < 60, "{moved}");
    }
}
