//! With real git in temporary repositories.

use super::*;

/// A repository with a commit for each text, `file` holding it; the commits' names.
fn repository(dir: &Path, texts: &[&str]) -> Vec<String> {
    let set = |args: &[&str]| git(dir, args).unwrap();
    set(&["init", "--quiet", "--initial-branch=main"]);
    set(&["config", "user.name", "t"]);
    set(&["config", "user.email", "t@example.org"]);
    fs::write(dir.join("same"), "same\n").unwrap();
    let one = |text: &&str| {
        fs::write(dir.join("file"), text).unwrap();
        set(&["add", "-A"]);
        set(&["commit", "--quiet", "-m", &format!("change to {text}")]);
        set(&["rev-parse", "HEAD"]).trim().to_string()
    };
    texts.iter().map(one).collect()
}

const TEXTS: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];

/// Walks to the end; files decide: `bad` from this number on, `skip` cannot be judged.
fn walk((worktree, steps): &mut (Worktree, Walk), bad: u32, skip: &[u32]) -> (Next, u32) {
    let mut judged = 0;
    loop {
        let revision = match steps.next().unwrap() {
            Next::Judge(revision) => revision,
            end => return (end, judged),
        };
        judged += 1;
        worktree.checkout(&revision).unwrap();
        let n: u32 = fs::read_to_string(worktree.dir().join("file")).unwrap().parse().unwrap();
        let mark = match n {
            n if skip.contains(&n) => Mark::Skip,
            n if n >= bad => Mark::Bad,
            _ => Mark::Good,
        };
        steps.mark(&revision, mark).unwrap();
    }
}

fn started(tree: &Path, dir: &Path, good: &str, bad: &str) -> (Worktree, Walk) {
    let worktree = Worktree::add(tree, dir, bad, false).unwrap();
    let steps = worktree.start(good, bad).unwrap();
    (worktree, steps)
}

#[test]
fn the_first_bad_commit_is_found_and_the_users_tree_is_as_it_was() {
    let base = tempfile::tempdir().unwrap();
    let (tree, dir) = (base.path().join("tree"), base.path().join("work"));
    fs::create_dir(&tree).unwrap();
    let commits = repository(&tree, &TEXTS);
    fs::write(tree.join("file"), "being edited").unwrap();
    fs::write(tree.join("new"), "not added").unwrap();
    fs::write(tree.join("same"), "added").unwrap();
    git(&tree, &["add", "same"]).unwrap();
    let state = || {
        let all = [&["status", "--porcelain"][..], &["rev-parse", "HEAD"], &["for-each-ref"], &["diff"]];
        all.map(|args| git(&tree, args).unwrap())
    };
    let before = state();
    for bad in 1..=8u32 {
        let mut worktree = started(&tree, &dir, &commits[0], &commits[8]);
        assert_eq!(worktree.1.steps(), 3);
        assert_eq!(walk(&mut worktree, bad, &[]), (Next::Found(commits[bad as usize].clone()), 3));
        assert_eq!(state(), before);
        drop(worktree);
        assert!(!dir.exists());
        assert_eq!(git(&tree, &["worktree", "list"]).unwrap().lines().count(), 1);
        assert_eq!(state(), before);
    }
}

#[test]
fn what_cannot_be_judged_is_gone_around_and_what_is_left_is_named() {
    let base = tempfile::tempdir().unwrap();
    let (tree, dir) = (base.path().join("tree"), base.path().join("work"));
    fs::create_dir(&tree).unwrap();
    let commits = repository(&tree, &TEXTS);
    let mut worktree = started(&tree, &dir, &commits[0], &commits[8]);
    assert_eq!(walk(&mut worktree, 6, &[3, 4]).0, Next::Found(commits[6].clone()));
    drop(worktree);
    let mut worktree = started(&tree, &dir, &commits[0], &commits[8]);
    let left = vec![commits[6].clone(), commits[5].clone()];
    assert_eq!(walk(&mut worktree, 6, &[5]).0, Next::OneOf(left));
}

#[test]
fn a_merged_branch_is_searched_too() {
    let base = tempfile::tempdir().unwrap();
    let (tree, dir) = (base.path().join("tree"), base.path().join("work"));
    fs::create_dir(&tree).unwrap();
    let commits = repository(&tree, &["0", "1"]);
    git(&tree, &["checkout", "--quiet", "-b", "side", &commits[0]]).unwrap();
    let mut side = Vec::new();
    for n in 0..4 {
        fs::write(tree.join(format!("side{n}")), "x").unwrap();
        git(&tree, &["add", "-A"]).unwrap();
        git(&tree, &["commit", "--quiet", "-m", "side"]).unwrap();
        side.push(git(&tree, &["rev-parse", "HEAD"]).unwrap().trim().to_string());
    }
    git(&tree, &["checkout", "--quiet", "main"]).unwrap();
    git(&tree, &["merge", "--quiet", "--no-ff", "--no-edit", "side"]).unwrap();
    let tip = git(&tree, &["rev-parse", "HEAD"]).unwrap().trim().to_string();
    let (worktree, mut steps) = started(&tree, &dir, &commits[0], &tip);
    let end = loop {
        match steps.next().unwrap() {
            Next::Judge(revision) => {
                worktree.checkout(&revision).unwrap();
                let bad = worktree.dir().join("side2").exists();
                steps.mark(&revision, if bad { Mark::Bad } else { Mark::Good }).unwrap();
            }
            end => break end,
        }
    };
    assert_eq!(end, Next::Found(side[2].clone()));
}

#[test]
fn a_worktree_of_a_killed_search_is_taken_over() {
    let base = tempfile::tempdir().unwrap();
    let (tree, dir) = (base.path().join("tree"), base.path().join("work"));
    fs::create_dir(&tree).unwrap();
    let commits = repository(&tree, &TEXTS);
    std::mem::forget(started(&tree, &dir, &commits[0], &commits[8]));
    let mut worktree = started(&tree, &dir, &commits[0], &commits[4]);
    assert_eq!(walk(&mut worktree, 2, &[]).0, Next::Found(commits[2].clone()));
}

#[test]
fn files_that_were_built_stay_older_than_what_was_built() {
    let base = tempfile::tempdir().unwrap();
    let (tree, dir) = (base.path().join("tree"), base.path().join("work"));
    fs::create_dir(&tree).unwrap();
    let commits = repository(&tree, &TEXTS);
    let worktree = Worktree::add(&tree, &dir, &commits[3], true).unwrap();
    let time = |name: &str| fs::metadata(dir.join(name)).unwrap().modified().unwrap();
    let old = SystemTime::UNIX_EPOCH + OLD;
    assert_eq!((time("same"), time("file")), (old, old));
    worktree.checkout(&commits[5]).unwrap();
    assert_eq!(time("same"), old);
    assert!(time("file") > old);
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "5");
}

#[test]
fn a_revision_that_is_none_is_named() {
    let base = tempfile::tempdir().unwrap();
    let commits = repository(base.path(), &["0"]);
    let found = commit(base.path(), "main").unwrap();
    assert_eq!((found.sha, found.subject), (commits[0].clone(), "change to 0".to_string()));
    for wrong in ["nothing", "--all", "main:file"] {
        assert!(commit(base.path(), wrong).is_err(), "{wrong}");
    }
}
