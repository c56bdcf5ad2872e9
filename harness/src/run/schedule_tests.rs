use super::*;

/// Scenarios by their templates (`None`: it boots), each of which needs one byte.
fn left(keys: &[Option<&str>], in_order: bool) -> Left {
    let key = |name: &&str| Key::of_name(name);
    let todo: Vec<_> = keys.iter().enumerate().map(|(i, k)| (i, k.as_ref().map(key))).collect();
    let slots = todo.iter().filter_map(|(_, key)| Some((key.clone()?, Slot::Wanted))).collect();
    let (needs, booting) = (vec![1; keys.len()], BTreeSet::new());
    Left { todo, slots, in_order, spread: false, beside: false, booting, needs, room: 100, taken: 0 }
}

/// A template that is ready: what becomes of its scenarios does not matter here.
fn ready(left: &mut Left, name: &str, made_by: usize) {
    left.slots.insert(Key::of_name(name), Slot::Made(Start::Missed("of a test".into())));
    left.booting.remove(&made_by);
}

fn take(left: &mut Left) -> Option<(usize, &'static str)> {
    let task = left.take(false)?;
    let how = match task.how {
        How::Start(Start::Cold) => "cold",
        How::Start(_) => "fork",
        How::Make(_) => "make",
    };
    Some((task.index, how))
}

#[test]
fn a_scenario_whose_template_is_ready_comes_first_and_one_that_boots_last() {
    let mut left = left(&[None, Some("a"), Some("b"), Some("a")], false);
    assert_eq!(take(&mut left), Some((1, "make")));
    assert_eq!(take(&mut left), Some((2, "make")));
    ready(&mut left, "a", 1);
    assert_eq!(take(&mut left), Some((3, "fork")));
    assert!(!left.slots.contains_key(&Key::of_name("a")), "the last user lets go");
    assert_eq!(take(&mut left), Some((0, "cold")));
    assert_eq!(take(&mut left), None);
}

#[test]
fn of_several_workers_one_boots_beside_those_that_restore() {
    let mut left = left(&[Some("a"), None, Some("a"), None, Some("a"), Some("a")], false);
    left.beside = true;
    // Nothing is ready yet: all boot, what took longest first.
    assert_eq!(take(&mut left), Some((0, "make")));
    assert_eq!(take(&mut left), Some((1, "cold")));
    ready(&mut left, "a", 0);
    assert_eq!(take(&mut left), Some((2, "fork")), "another one boots");
    left.booting.remove(&1);
    assert_eq!(take(&mut left), Some((3, "cold")), "nobody boots");
    assert_eq!(take(&mut left), Some((4, "fork")));
    left.booting.remove(&3);
    assert_eq!(take(&mut left), Some((5, "fork")), "nothing is left to boot");
    assert_eq!(take(&mut left), None);
}

#[test]
fn templates_are_made_ahead_but_only_a_few() {
    let mut left = left(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c"), None], false);
    left.beside = true;
    assert_eq!(take(&mut left), Some((0, "make")));
    ready(&mut left, "a", 0);
    assert_eq!(take(&mut left), Some((2, "make")), "the next one is made before it is needed");
    ready(&mut left, "b", 2);
    assert_eq!(take(&mut left), Some((6, "cold")), "two are ready");
    left.booting.remove(&6);
    assert_eq!(take(&mut left), Some((1, "fork")));
    assert_eq!(take(&mut left), Some((4, "make")));
    assert_eq!(take(&mut left), Some((3, "fork")));
}

#[test]
fn a_scenario_without_the_template_it_wanted_boots_and_counts_as_one_that_does() {
    let mut left = left(&[Some("a"), Some("a"), Some("b"), Some("b")], false);
    left.beside = true;
    assert_eq!(take(&mut left), Some((0, "make")));
    assert_eq!(take(&mut left), Some((2, "make")));
    left.slots.insert(Key::of_name("a"), Slot::Made(Start::Cold));
    ready(&mut left, "b", 2);
    assert_eq!(take(&mut left), Some((3, "fork")), "the first one boots itself");
    left.booting.remove(&0);
    assert_eq!(take(&mut left), Some((1, "cold")));
    assert_eq!(left.booting, BTreeSet::from([1]));
}

#[test]
fn spread_runs_make_every_template_first() {
    let mut left = left(&[None, Some("a"), Some("a"), Some("b")], false);
    (left.beside, left.spread) = (true, true);
    assert_eq!(take(&mut left), Some((1, "make")));
    ready(&mut left, "a", 1);
    assert_eq!(take(&mut left), Some((3, "make")));
    assert_eq!(take(&mut left), Some((2, "fork")));
    assert_eq!(take(&mut left), Some((0, "cold")));
}

#[test]
fn under_fail_fast_the_order_holds_whatever_boots() {
    let mut left = left(&[None, Some("a"), Some("a"), None], true);
    left.beside = true;
    let order: Vec<_> = std::iter::from_fn(|| take(&mut left)).collect();
    assert_eq!(order, [(0, "cold"), (1, "make"), (3, "cold")]);
    ready(&mut left, "a", 1);
    assert_eq!(take(&mut left), Some((2, "fork")));
}

#[test]
fn a_template_that_does_not_come_is_waited_for_with_patience_only() {
    let mut left = left(&[Some("a"), Some("a")], false);
    assert_eq!(take(&mut left), Some((0, "make")));
    assert_eq!(take(&mut left), None);
    let task = left.take(true).unwrap();
    assert!(task.index == 1 && matches!(task.how, How::Start(Start::Cold)));
}

#[test]
fn what_does_not_fit_waits_and_smaller_ones_pass() {
    let mut left = left(&[None, None, None], false);
    left.needs = vec![80, 30, 20];
    assert_eq!(take(&mut left).map(|t| t.0), Some(0));
    assert_eq!(take(&mut left).map(|t| t.0), Some(2));
    assert_eq!(take(&mut left), None);
    left.taken -= 80;
    assert_eq!(take(&mut left).map(|t| t.0), Some(1));
}

#[test]
fn a_guest_that_is_larger_than_the_host_runs_alone() {
    let mut left = left(&[None, None], false);
    left.needs = vec![500, 1];
    assert_eq!(take(&mut left).map(|t| t.0), Some(0));
    assert_eq!(take(&mut left), None);
    left.taken -= 500;
    assert_eq!(take(&mut left).map(|t| t.0), Some(1));
}
