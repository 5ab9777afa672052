//! A fair division of a limit over the cgroup tree.
//!
//! Each inner cgroup divides its share among its children so that none gets less than a sibling,
//! unless it needs no more. So a subtree with ten thousand cgroups takes nothing from one with ten,
//! at any depth, and no names are needed to tell whose subtree it is.

/// The needs of one cgroup, in the order of the tree: parents first, each subtree in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// One past the last of its subtree.
    pub end: usize,
    /// Children that are not followed. Their own children are not known.
    pub left_out: usize,
}

/// The assumed size of a subtree that is not followed: a pod's.
const LEFT_OUT_CGROUPS: usize = 8;

/// The share of each cgroup's subtree: the number of cgroups in it that may be followed, itself
/// included. All of them together are at most `limit`. `None` if everything fits.
pub(super) fn divide(limit: usize, needs: &[Need]) -> Option<Vec<usize>> {
    let mut wanted = vec![0; needs.len()];
    for at in (0..needs.len()).rev() {
        let below: usize = children(needs, at).map(|child| wanted[child]).sum();
        wanted[at] = 1 + below + needs[at].left_out * LEFT_OUT_CGROUPS;
    }
    if wanted.first().is_none_or(|all| *all <= limit) {
        return None;
    }
    let mut shares = vec![0; needs.len()];
    shares[0] = limit;
    for at in 0..needs.len() {
        let rest = shares[at].saturating_sub(1);
        let left_out = needs[at].left_out;
        let given = |level: usize| {
            let to_known = children(needs, at).map(|child| wanted[child].min(level)).sum::<usize>();
            to_known + left_out * LEFT_OUT_CGROUPS.min(level)
        };
        let level = highest(rest, |level| given(level) <= rest);
        // The first ones get what cannot be divided.
        let mut over = rest - given(level);
        for child in children(needs, at) {
            let more = usize::from(wanted[child] > level && over > 0);
            shares[child] = wanted[child].min(level) + more;
            over -= more;
        }
    }
    Some(shares)
}

/// The direct children of the cgroup at `at`.
fn children(needs: &[Need], at: usize) -> impl Iterator<Item = usize> {
    let end = needs[at].end;
    let next = move |child: &usize| Some(needs[*child].end).filter(|next| *next < end);
    std::iter::successors(Some(at + 1).filter(|first| *first < end), next)
}

/// The highest number up to `max` that `fits`; 0 always does.
fn highest(max: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, max);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root over subtrees of one cgroup each with so many children.
    fn subtrees(children: &[usize]) -> Vec<Need> {
        let all = 1 + children.iter().map(|children| 1 + children).sum::<usize>();
        let mut needs = vec![Need { end: all, left_out: 0 }];
        for children in children {
            let top = needs.len();
            needs.push(Need { end: top + 1 + children, left_out: 0 });
            needs.extend((0..*children).map(|child| Need { end: top + 2 + child, left_out: 0 }));
        }
        needs
    }

    /// The shares of the root's children.
    fn of_tops(limit: usize, needs: &[Need]) -> Vec<usize> {
        let shares = divide(limit, needs).unwrap();
        children(needs, 0).map(|top| shares[top]).collect()
    }

    #[test]
    fn nothing_is_divided_where_everything_fits() {
        assert_eq!(divide(8, &subtrees(&[3, 2])), None);
        assert_eq!(divide(7, &subtrees(&[3, 2])).unwrap()[0], 7);
    }

    #[test]
    fn a_large_subtree_takes_nothing_from_small_ones() {
        // 100 less the root, 4 and 3: the rest is the large one's.
        assert_eq!(of_tops(100, &subtrees(&[3, 5000, 2])), [4, 92, 3]);
        // Two large ones halve what the small one leaves; the first gets the odd one.
        assert_eq!(of_tops(101, &subtrees(&[800, 3, 900])), [48, 4, 48]);
        assert_eq!(of_tops(102, &subtrees(&[800, 3, 900])), [49, 4, 48]);
    }

    #[test]
    fn shares_are_divided_again_below() {
        // Root, slice, and in the slice an honest pod of 3 and one with 1000 below it.
        let mut needs = vec![Need { end: 1007, left_out: 0 }, Need { end: 1006, left_out: 0 }];
        needs.push(Need { end: 5, left_out: 0 });
        needs.extend([Need { end: 4, left_out: 0 }, Need { end: 5, left_out: 0 }]);
        needs.push(Need { end: 1006, left_out: 0 });
        needs.extend((6..1006).map(|at| Need { end: at + 1, left_out: 0 }));
        needs.push(Need { end: 1007, left_out: 0 });
        let shares = divide(50, &needs).unwrap();
        assert_eq!(shares[1], 48, "all but the root and its other child");
        assert_eq!(shares[2..5], [3, 1, 1]);
        assert_eq!(shares[5], 44);
        assert_eq!(shares[6..1006].iter().sum::<usize>(), 43);
        assert_eq!(shares[1006], 1);
    }

    #[test]
    fn unknown_children_have_a_claim_too() {
        let mut needs = subtrees(&[5000]);
        needs[0].left_out = 2;
        // 16 for the two that are not followed.
        assert_eq!(of_tops(100, &needs), [99 - 16]);
    }
}
