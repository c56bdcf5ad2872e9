//! Loading and recognising.

use super::*;

const TEXT: &str = r#"
- id: eject-flips-zone
  scenario: "unplug/refused*"
  kernels: ">=5.10, <7.4"
  title: "block.zone: expected Movable, seen Normal"
  facts:
    - { fact: block.zone, expected: Movable, seen: Normal }
    - { fact: console, expected: "", seen: WARNING in add_pages }
  reproduces: always
  reason: a refused eject puts blocks back into the default zone
  link: https://example.org/1
  no_patch_because: nobody wrote one
- id: torn-policy
  scenario: "policy/torn[*]@debian-6.12"
  kernels: ">=6.12"
  title: 'f: expected e, seen s'
  facts: [{ fact: f, expected: e, seen: s }]
  reproduces: sometimes
  reason: r
  link: l
  fixed_by: 0123456789ab
  patch: torn-policy.patch
"#;

const TITLE: &str = "block.zone: expected Movable, seen Normal";

fn known() -> Known {
    Known::parse(Path::new("k.yaml"), TEXT).unwrap()
}

fn error(text: &str) -> String {
    Known::parse(Path::new("k.yaml"), text).unwrap_err().to_string()
}

fn findings() -> Vec<Finding> {
    let console = Complaint {
        title: "WARNING in add_pages".into(),
        class: crate::verdict::Class::Warning,
        fatal: false,
        excerpt: vec![],
        line: 1,
        heads: vec![],
    };
    vec![
        Finding::new("block.zone", "memory33", "Movable", "Normal", "r"),
        Finding::new("block.zone", "memory34", "Movable", "Normal", "r"),
        console_finding(&console),
    ]
}

fn id(scenario: &str, version: &str, title: &str, findings: &[Finding]) -> Option<String> {
    known().matches(scenario, version.parse().unwrap(), title, findings).map(|e| e.id.clone())
}

#[test]
fn the_whole_signature_and_nothing_less() {
    let found = Some("eject-flips-zone".to_string());
    assert_eq!(id("unplug/refused@debian-6.12", "6.12.117+deb12", TITLE, &findings()), found);
    assert_eq!(id("unplug/refused[a=b]@x", "5.10.0-46", TITLE, &findings()), found);
    assert_eq!(id("unplug/other@x", "6.12", TITLE, &findings()), None);
    assert_eq!(id("unplug/refused@x", "7.4", TITLE, &findings()), None);
    assert_eq!(id("unplug/refused@x", "6.12", "block.zone: expected Movable, seen none", &findings()), None);
    assert_eq!(id("unplug/refused@x", "6.12", TITLE, &findings()[..2]), None, "a fact less");
    let mut more = findings();
    more.push(Finding::new("block.state", "memory33", "online", "offline", "r"));
    assert_eq!(id("unplug/refused@x", "6.12", TITLE, &more), None, "a fact more");
    let mut other = findings();
    other[0].seen = "DMA32".into();
    assert_eq!(id("unplug/refused@x", "6.12", TITLE, &other), None, "another value");
    assert_eq!(id("unplug/refused@x", "6.12", TITLE, &[]), None);
}

#[test]
fn two_issues_together_must_say_all_that_was_found() {
    let leak = "
- id: leak
  scenario: '*'
  kernels: '>=5.10'
  title: 'leak: expected N, seen N more'
  facts: [{ fact: leak, expected: '0', seen: N more }]
  reproduces: sometimes
  reason: r
  link: l
  no_patch_because: n
";
    let known = Known::parse(Path::new("k.yaml"), &format!("{TEXT}{leak}")).unwrap();
    let id = |title: &str, findings: &[Finding]| {
        known.matches("unplug/refused@x", "6.12".parse().unwrap(), title, findings).map(|e| e.id.as_str())
    };
    let leak = Finding::new("leak", "", "0", "512 more", "r");
    let both = [findings(), vec![leak.clone()]].concat();
    assert_eq!(id(TITLE, &both), Some("eject-flips-zone"));
    assert_eq!(id("leak: expected N, seen N more", &both), Some("leak"));
    assert_eq!(id("block.state: expected online, seen offline", &both), None, "nobody's title");
    assert_eq!(id(TITLE, &[both[0].clone(), leak]), None, "one of the two is not whole");
    let more = [both, vec![Finding::new("block.state", "memory33", "online", "offline", "r")]].concat();
    assert_eq!(id(TITLE, &more), None, "a fact more");
    let others = known.others("unplug/refused@x", "6.12".parse().unwrap(), &more);
    assert_eq!(others.map(|f| f.fact.as_str()).collect::<Vec<_>>(), ["block.state"]);
}

#[test]
fn a_subject_is_part_of_the_signature_where_it_is_given() {
    let text = TEXT.replace("fact: block.zone, expected", "fact: block.zone, subject: memory33, expected");
    let known = Known::parse(Path::new("k.yaml"), &text).unwrap();
    let version: Version = "6.12".parse().unwrap();
    let one = [findings()[0].clone(), findings()[2].clone()];
    assert!(known.matches("unplug/refused@x", version, TITLE, &one).is_some());
    assert!(known.matches("unplug/refused@x", version, TITLE, &findings()).is_none(), "memory34 too");
    assert!(
        known.matches("unplug/refused@x", version, TITLE, &findings()[1..]).is_none(),
        "memory34 instead"
    );
}

#[test]
fn fixed_is_said_only_of_what_always_reproduces() {
    let v = Version::series(6, 12);
    let known = known();
    let ran = [
        ("unplug/refused@a", v, Verdict::Pass),
        ("unplug/refused@b", v, Verdict::Fail),
        ("unplug/refused@c", v, Verdict::Miss),
        ("unplug/refused@d", Version::series(7, 4), Verdict::Pass),
        ("policy/torn[x=y]@debian-6.12", v, Verdict::Pass),
    ];
    let fixed: Vec<_> = known.fixed(ran).into_iter().map(|(e, ids)| (e.id.as_str(), ids)).collect();
    assert_eq!(fixed, [("eject-flips-zone", vec!["unplug/refused@a"])]);
    assert!(known.get("torn-policy").is_some() && known.entries().len() == 2);
}

#[test]
fn a_pattern_with_brackets_and_a_kernel() {
    let facts = [Finding::new("f", "", "e", "s", "")];
    assert_eq!(
        id("policy/torn[x=y]@debian-6.12", "6.12", "f: expected e, seen s", &facts),
        Some("torn-policy".into())
    );
    assert_eq!(id("policy/torn[x=y]@debian-6.18", "6.18", "f: expected e, seen s", &facts), None);
}

/// `(from, to)` is one mistake made in the text.
#[test]
fn an_entry_may_be_about_several_patterns() {
    let text = TEXT.replace("unplug/refused*", "oom/* unplug/refused*");
    let known = Known::parse(Path::new("k.yaml"), &text).unwrap();
    let applies = |scenario: &str| known.entries()[0].applies(scenario, "6.12".parse().unwrap());
    assert_eq!(["oom/a@k", "unplug/refused-x@k", "load/a@k", "a@k"].map(applies), [true, true, false, false]);
}

#[test]
fn mistakes_have_their_place() {
    for (from, to, place, what) in [
        ("  reproduces: always\n", "", "k.yaml:11:3", "missing field `reproduces`"),
        ("reproduces: always", "reproduces: often", "k.yaml:9:15", "unknown variant `often`"),
        ("  link: l\n", "  link: l\n  colour: red\n", "k.yaml:21:3", "unknown field `colour`"),
        ("  link: l\n", "  link: l\n  link: l\n", "k.yaml:21:3", "duplicate"),
        ("  link: l\n", "  link:\n", "k.yaml:20:7", "null is no value"),
        ("  link: l\n", "  link: \"\"\n", "k.yaml:20:9", "must not be empty"),
        (
            "kernels: \">=6.12\"",
            "kernels: \">=linux\"",
            "k.yaml:15:12",
            "not a comparison with a kernel version",
        ),
        ("id: torn-policy", "id: eject-flips-zone", "k.yaml:13:7", "eject-flips-zone comes twice"),
        (
            "seen: s }]",
            "seen: other }]",
            "k.yaml:16:10",
            "no fact has this title, but: f: expected e, seen other",
        ),
        ("facts: [{ fact: f, expected: e, seen: s }]", "facts: []", "k.yaml:17:10", "without facts"),
        ("seen: s }]", "seen: s }, { fact: f, expected: e, seen: s }]", "k.yaml:17:10", "a fact comes twice"),
        ("  patch: torn-policy.patch\n", "", "k.yaml:13:7", "needs `patch`, or `no_patch_because`"),
        (
            "patch: torn-policy.patch\n",
            "patch: p\n  no_patch_because: n\n",
            "k.yaml:23:21",
            "there is a `patch`",
        ),
    ] {
        assert!(TEXT.contains(from), "{from:?}");
        let error = error(&TEXT.replacen(from, to, 1));
        assert!(error.starts_with(place) && error.contains(what), "{to:?} gives {error}");
    }
}

#[test]
fn no_list_is_an_empty_list_but_an_unreadable_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Known::from_dir(dir.path()).unwrap(), Known::default());
    std::fs::write(dir.path().join(FILE), "[]").unwrap();
    assert_eq!(Known::from_dir(dir.path()).unwrap().entries(), []);
    std::fs::remove_file(dir.path().join(FILE)).unwrap();
    std::fs::create_dir(dir.path().join(FILE)).unwrap();
    assert!(Known::from_dir(dir.path()).unwrap_err().to_string().starts_with("read "));
    Known::embedded().unwrap();
}
