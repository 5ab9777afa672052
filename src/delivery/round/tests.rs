use bytes::Bytes;

use super::*;
use crate::clock;
use crate::identity::BootId;
use crate::quantity::{BootTime, WallTime};

/// A sample with posts of these paths.
fn sample(number: u64, partially_accepted: bool, paths: &[&str]) -> QueuedBatch {
    let sampled_at = Moment {
        boot: BootId::from_bits(1),
        since_boot: BootTime::from_nanos(number),
        wall: WallTime::from_unix_millis(number),
    };
    let posts = paths.iter().map(|path| ((*path).to_owned(), Bytes::from_static(b"b")));
    QueuedBatch {
        partially_accepted,
        ..QueuedBatch::new(Batch::new(sampled_at, posts), clock::timer_now())
    }
}

/// Sample and path of each post in the order in which they are let out.
fn line(round: &mut Round) -> Vec<(usize, String)> {
    let mut line = Vec::new();
    while let Some(at) = round.unsent.pop_front() {
        let slot = round.slots[at].as_ref().unwrap();
        line.push((slot.entry, slot.waiting.post.path.clone()));
    }
    line
}

fn expected(line: &[(usize, &str)]) -> Vec<(usize, String)> {
    line.iter().map(|(entry, path)| (*entry, (*path).to_owned())).collect()
}

fn entries() -> Vec<QueuedBatch> {
    vec![
        sample(1, true, &["/ill"]),
        sample(2, true, &["/ill", "/bad"]),
        sample(3, false, &["/ill", "/a", "/b", "/c", "/a"]),
    ]
}

#[test]
fn what_was_left_takes_turns_with_what_is_whole() {
    let whole = [(0, "/ill"), (2, "/a"), (1, "/ill"), (2, "/b"), (1, "/bad"), (2, "/c"), (2, "/a")];
    for in_order in [false, true] {
        let mut round = Round::new(entries(), in_order, None);
        let mut all = expected(&whole);
        all.push((2, "/ill".to_owned()));
        assert_eq!(line(&mut round), all);
    }
}

/// A whole post comes first on a path on which the endpoint fails, then the oldest; without an answer no
/// third one is let out, and no sample is cut short by it.
#[test]
fn of_an_ill_path_what_is_fresh_asks_and_the_oldest() {
    let failing_paths = |number: u64, partly| {
        let mut entry = sample(number, partly, &["/ill"]);
        if partly {
            entry.posts[0].fail_while_others_pass(BootTime::from_nanos(1));
        }
        entry
    };
    let round = || {
        let entries = vec![
            failing_paths(1, true),
            failing_paths(2, true),
            failing_paths(3, true),
            failing_paths(4, false),
        ];
        Round::new(entries, false, None)
    };
    assert_eq!(line(&mut round()), expected(&[(3, "/ill"), (0, "/ill"), (1, "/ill"), (2, "/ill")]));
    let start_tries =
        |round: &mut Round| std::iter::from_fn(|| round.next_unsent()).collect::<Vec<_>>();
    let mut in_vain = round();
    assert_eq!(start_tries(&mut in_vain), [3, 0]);
    assert!(in_vain.cut_short().is_empty());
    in_vain.path_is_answered("/other");
    assert!(start_tries(&mut in_vain).is_empty());
    in_vain.path_is_answered("/ill");
    assert_eq!(start_tries(&mut in_vain), [1, 2]);
    // The oldest asks however many there are of the fresh one.
    let fresh = sample(4, false, &["/ill", "/ill", "/ill"]);
    let mut of_several =
        Round::new(vec![failing_paths(1, true), failing_paths(2, true), fresh], false, None);
    assert_eq!(start_tries(&mut of_several), [2, 0]);
    // Where order is meaning, the oldest alone is let out.
    let mut in_order =
        Round::new(vec![failing_paths(1, true), failing_paths(2, false)], true, None);
    assert_eq!(in_order.next_unsent(), Some(0));
}

#[test]
fn which_post_asks_goes_round_among_those_that_may_and_comes_first() {
    let asks = |in_order, nth, entries| {
        let mut round = Round::new(entries, in_order, Some(nth));
        let choices = round.probes().unwrap();
        let line = line(&mut round);
        (choices, line[0].clone(), line.len())
    };
    let probe_candidates =
        |in_order| (0..6).map(|nth| asks(in_order, nth, entries()).1).collect::<Vec<_>>();
    let any = [(2, "/a"), (2, "/b"), (2, "/c"), (2, "/a"), (2, "/ill"), (2, "/a")];
    assert_eq!(probe_candidates(false), expected(&any));
    let first_of_a_path = [(2, "/a"), (2, "/b"), (2, "/c"), (2, "/a"), (2, "/b"), (2, "/c")];
    assert_eq!(probe_candidates(true), expected(&first_of_a_path));
    let one_path = || vec![sample(1, true, &["/x"]), sample(2, false, &["/x", "/x"])];
    assert_eq!(asks(true, 7, one_path()), (1, (0, "/x".to_owned()), 3));
    assert_eq!(asks(false, 7, one_path()), (2, (1, "/x".to_owned()), 3));
    assert_eq!(line(&mut Round::new(Vec::new(), false, Some(3))), []);
}

#[tokio::test]
async fn a_try_that_panics_is_one_without_an_answer() {
    let mut round = Round::new(vec![sample(1, false, &["/a", "/b"])], false, None);
    round.begin(1, async { panic!("as a test wants it") });
    let answered = round.answered().await.unwrap();
    assert_eq!(answered.waiting.post.path, "/b");
    assert!(matches!(answered.answer, PostOutcome::Unanswered { .. }), "{answered:?}");
    assert!(round.is_over());
}
