//! The exit status of a run, from its verdicts alone.

use super::types::Verdict;
use crate::event::ScenarioEnd;

/// Wrong command line, or nothing selected.
pub const USAGE: i32 = 2;
/// Something was not judged.
pub const NOT_JUDGED: i32 = 3;
/// What stops `git bisect run`: a wrong command line or a missing tool must not count as bad.
pub const STOP_BISECTION: i32 = 128;

/// Whom the status is for (`--exit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// 0, 1, 2, 3
    #[default]
    Normal,
    /// kselftest's: all skipped is 4
    Kselftest,
    /// git bisect's: 0 good, 1 bad, 125 not judged, 128 and above stop
    Bisect,
}

/// What ended a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// 130
    Interrupt,
    /// 143
    Terminate,
}

impl Signal {
    /// As in [`crate::event::Kind::RunEnd`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// What else the status depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitOptions {
    /// `--exit`
    pub mode: Mode,
    /// `--require`: a SKIP counts as an ERROR
    pub require: bool,
    /// `--verify-forks` did not show that restored guests can be trusted: verdicts of such guests are in doubt
    pub forks_in_doubt: bool,
    /// the run was ended
    pub signal: Option<Signal>,
}

/// Status of a wrong command line or a missing tool.
pub const fn usage_status(mode: Mode) -> i32 {
    match mode {
        Mode::Bisect => STOP_BISECTION,
        Mode::Normal | Mode::Kselftest => USAGE,
    }
}

/// Status of a run with these ends: one for each planned scenario, those that were not judged as MISS.
pub fn exit_status<'a>(ends: impl IntoIterator<Item = &'a ScenarioEnd>, options: ExitOptions) -> i32 {
    if let Some(signal) = options.signal {
        return match signal {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        };
    }
    let ends: Vec<&ScenarioEnd> = ends.into_iter().collect();
    if ends.is_empty() {
        return usage_status(options.mode);
    }
    let any = |verdict| ends.iter().any(|e| e.verdict == verdict);
    let not_judged = any(Verdict::Error)
        || any(Verdict::Miss)
        || (options.require && any(Verdict::Skip))
        || options.forks_in_doubt;
    let all_skipped = ends.iter().all(|e| e.verdict == Verdict::Skip);
    match options.mode {
        Mode::Bisect if any(Verdict::Fail) => 1,
        Mode::Bisect if not_judged || !any(Verdict::Pass) => 125,
        Mode::Bisect => 0,
        _ if ends.iter().any(|e| e.verdict == Verdict::Fail && e.known.is_none()) => 1,
        _ if not_judged => NOT_JUDGED,
        Mode::Kselftest if all_skipped => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    fn end(verdict: Verdict, known: Option<&str>) -> ScenarioEnd {
        let (title, known) = (String::new(), known.map(str::to_string));
        let (boot, facts, console) = (None, Default::default(), Vec::new());
        ScenarioEnd { verdict, title, known, duration_ns: 1, boot_ns: None, boot, facts, console }
    }

    fn status(verdicts: &[Verdict], mode: Mode, require: bool) -> i32 {
        let ends: Vec<_> = verdicts.iter().map(|v| end(*v, None)).collect();
        exit_status(&ends, ExitOptions { mode, require, ..Default::default() })
    }

    #[test]
    fn normal() {
        for (verdicts, plain, required) in [
            (&[Pass][..], 0, 0),
            (&[Pass, Done, Skip], 0, 3),
            (&[Skip, Skip], 0, 3),
            (&[Pass, Miss], 3, 3),
            (&[Error, Skip], 3, 3),
            (&[Error, Miss, Fail, Pass], 1, 1),
            (&[], 2, 2),
        ] {
            assert_eq!(status(verdicts, Mode::Normal, false), plain, "{verdicts:?}");
            assert_eq!(status(verdicts, Mode::Normal, true), required, "{verdicts:?}");
        }
    }

    #[test]
    fn known_issues_are_no_failures_but_for_a_bisection() {
        let known = [end(Fail, Some("id")), end(Pass, None)];
        let both = [end(Fail, Some("id")), end(Fail, None)];
        let of = |ends: &[ScenarioEnd], mode| exit_status(ends, ExitOptions { mode, ..Default::default() });
        assert_eq!((of(&known, Mode::Normal), of(&both, Mode::Normal)), (0, 1));
        assert_eq!(of(&known, Mode::Bisect), 1);
    }

    #[test]
    fn kselftest() {
        assert_eq!(status(&[Skip, Skip], Mode::Kselftest, false), 4);
        assert_eq!(status(&[Skip, Skip], Mode::Kselftest, true), 3);
        assert_eq!(status(&[Skip, Pass], Mode::Kselftest, false), 0);
        assert_eq!(status(&[Fail, Skip], Mode::Kselftest, false), 1);
        assert_eq!(status(&[], Mode::Kselftest, false), 2);
    }

    #[test]
    fn bisect() {
        for (verdicts, expected) in [
            (&[Pass, Skip][..], 0),
            (&[Pass, Fail, Error], 1),
            (&[Pass, Error], 125),
            (&[Pass, Miss], 125),
            (&[Skip], 125),
            (&[Done], 125),
            (&[], 128),
        ] {
            assert_eq!(status(verdicts, Mode::Bisect, false), expected, "{verdicts:?}");
        }
        assert_eq!(usage_status(Mode::Bisect), 128);
    }

    #[test]
    fn forks_in_doubt_are_not_judged_and_a_failure_stays_one() {
        let of = |verdict, mode| {
            let options = ExitOptions { mode, forks_in_doubt: true, ..Default::default() };
            exit_status(&[end(verdict, None)], options)
        };
        assert_eq!((of(Pass, Mode::Normal), of(Fail, Mode::Normal)), (3, 1));
        assert_eq!((of(Pass, Mode::Kselftest), of(Fail, Mode::Kselftest)), (3, 1));
        assert_eq!((of(Pass, Mode::Bisect), of(Fail, Mode::Bisect)), (125, 1));
        let signal = Some(Signal::Interrupt);
        let options = ExitOptions { forks_in_doubt: true, signal, ..Default::default() };
        assert_eq!(exit_status(&[end(Pass, None)], options), 130);
    }

    #[test]
    fn signals() {
        let of = |signal| {
            exit_status(&[end(Fail, None)], ExitOptions { signal: Some(signal), ..Default::default() })
        };
        assert_eq!((of(Signal::Interrupt), of(Signal::Terminate)), (130, 143));
    }
}
